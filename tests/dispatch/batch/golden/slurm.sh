#!/bin/bash
#SBATCH --job-name=si
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --time=1:30:00
#SBATCH --account=hp1
#SBATCH --no-kill
#SBATCH --output=/vol0003/hp1/si/si.%j.out
#SBATCH --exclusive
#SBATCH --open-mode=append

cd /vol0003/hp1/si || exit 1
export HPCMAT_DRAIN_AT=$(( $(date +%s) + 4860 ))
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
python -m hpcmat run si.toml --out .
