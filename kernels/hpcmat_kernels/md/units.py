"""Units of the dynamics; the values are those of ASE (CODATA 2014), so that arrays can be exchanged to the last bit."""

BOLTZMANN_EV_PER_K = 8.617330337217213e-05
FEMTOSECOND = 0.09822694788464063
"""One fs in units of Å sqrt(u / eV), the unit of time in which eV, Å and u need no factors."""
