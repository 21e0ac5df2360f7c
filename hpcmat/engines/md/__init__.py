"""Molecular dynamics with a fitted potential by more than one code: one way in, one record of what happened.

States, settings and trajectories are those of `hpcmat_kernels.md`, whichever code moves the atoms.
"""
