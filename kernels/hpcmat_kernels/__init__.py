"""Numerical kernels: neighbour lists, radial functions, harmonics and the atomic cluster expansion.

They need numpy and numba alone; `hpcmat_kernels.jax` holds the same energy in JAX, `hpcmat_kernels.reference`
a slow and obvious one. Importing costs no compilation: each kernel compiles on first use and is cached on disk.
Lengths are Å and energies eV throughout.
"""
