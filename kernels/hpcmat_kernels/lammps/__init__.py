"""Fitted models in LAMMPS: as a plugin at the speed of the kernel (`plugin`, `build`), or as a .yace file (`yace`)."""
