#!/bin/bash
#$ -N si
#$ -cwd
#$ -l node_f=2
#$ -l h_rt=1:30:00
#$ -j y

cd /vol0003/hp1/si || exit 1
export HPCMAT_DRAIN_AT=$(( $(date +%s) + 4860 ))
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
. /etc/profile.d/modules.sh
module purge
module load openmpi
python -m hpcmat run si.toml --out .
