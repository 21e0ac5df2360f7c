#!/bin/bash
#PBS -N si
#PBS -q rt_HF
#PBS -l select=2:mpiprocs=4
#PBS -l walltime=1:30:00
#PBS -P hp1
#PBS -j oe
#PBS -k oe

cd /vol0003/hp1/si || exit 1
export HPCMAT_DRAIN_AT=$(( $(date +%s) + 4860 ))
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
source /etc/profile.d/modules.sh
module load hpcx
python -m hpcmat run si.toml --out .
