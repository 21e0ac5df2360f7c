#!/bin/bash
#PJM --name si
#PJM -L "node=2"
#PJM -L "rscgrp=small"
#PJM -L "elapse=1:30:00"
#PJM -g hp1
#PJM --mpi "proc=8,max-proc-per-node=4"
#PJM -j
#PJM -S
#PJM -x PJM_LLIO_GFSCACHE=/vol0003:/vol0004

cd /vol0003/hp1/si || exit 1
export HPCMAT_DRAIN_AT=$(( $(date +%s) + 4860 ))
export OMP_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export NUMBA_NUM_THREADS=1
export NUMBA_CACHE_DIR=/tmp/hpcmat-numba
export LD_LIBRARY_PATH=/lib64:$LD_LIBRARY_PATH
python -m hpcmat run si.toml --out .
