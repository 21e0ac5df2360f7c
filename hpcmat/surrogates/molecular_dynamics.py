"""A fitted potential in the compiled dynamics of the kernels, which ends where the potential no longer knows."""

from __future__ import annotations

import math

from hpcmat.errors import InputError
from hpcmat.surrogates.potential import Potential
from hpcmat_kernels.md.potentials import Ace, Pair, Sum
from hpcmat_kernels.md.settings import UncertaintyStop

MARGIN = 2.0
"""Deviations may be this many times those that 95 % of structures like the training structures do not exceed: the
largest of many atoms, each estimated from a small committee, passes the limit itself now and then."""


def kernel_potential(potential: Potential) -> Ace | Sum:
    """The potential for `hpcmat_kernels.md.driver.run`, with a committee from its posterior."""
    expansion = Ace(potential.model, potential.kernel_coefficients, potential.committee)
    return expansion if potential.repulsion is None else Sum(expansion, Pair(potential.repulsion))


def stop_at_limits(potential: Potential, every: int, margin: float = MARGIN) -> UncertaintyStop:
    """Check every so many steps whether forces or energy are less known than in the training structures.

    The limit of a force in the metadata is a root mean square over its components, the measure of the dynamics the root
    of their sum, √3 times as much.

    Raises
    ------
    InputError
        The potential does not say where its limits are.
    """
    limits = dict(potential.metadata.extrapolation_limits)
    try:
        force, energy = limits["force_sigma_ev_per_ang"], limits["energy_sigma_ev_per_atom"]
    except KeyError as error:
        raise InputError("the potential has no limits of extrapolation; fit it again with this version") from error
    return UncertaintyStop(every, margin * math.sqrt(3.0) * force, margin * energy)
