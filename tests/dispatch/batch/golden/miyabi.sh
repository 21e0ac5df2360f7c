#!/bin/bash -l
#PBS -N si
#PBS -q regular-c
#PBS -l select=2:mpiprocs=4
#PBS -l walltime=1:30:00
#PBS -W group_list=hp1
#PBS -j oe

cd /vol0003/hp1/si || exit 1
export HPCMAT_DRAIN_AT=$(( $(date +%s) + 4860 ))
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export MKL_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
python -m hpcmat run si.toml --out .
