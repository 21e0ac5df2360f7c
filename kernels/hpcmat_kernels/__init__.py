"""Numerical kernels: neighbor lists, pair styles, the atomic cluster expansion, molecular dynamics.

    neighbors   lists for any cell                     verlet      lists with skin, for compiled loops
    ace         energies, forces, virial               design      rows for fitting
    uncertainty per atom, for every tenth step         pair        Lennard-Jones, embedded atom, ZBL
    md          dynamics in one compiled loop          lammps      fitted models in LAMMPS
    jax         batches with derivatives               reference   slow and obvious versions
    simd        what `ace` runs, in vector code

They need numpy and numba alone (`jax` also JAX). Importing costs no compilation: each kernel compiles on first use and
is cached on disk. Lengths are Å and energies eV throughout.
"""
