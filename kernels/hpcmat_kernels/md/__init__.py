"""Molecular dynamics in one compiled loop: forces, neighbours, thermostat, barostat and checks without Python per step.

`driver.run(potential, state, settings, steps)` is the way in; `state` holds what goes in and comes out, `settings` what
steers it, `potentials` the forces.

Arrays follow ASE: Å, eV, unified mass units, and velocities as `Atoms.get_velocities()` gives them, in Å per ASE's unit
of time, Å sqrt(u / eV) = 10.18 fs. Time steps are in fs, temperatures in K, pressures in eV/Å³ and positive where they
compress (`ase.units.GPa` of them are 1 GPa); virials are dE/dε, as everywhere in these kernels.
"""
