"""Potentials for the dynamics: the cluster expansion, pair styles, and sums of two.

A repulsive core joins a cluster expansion that has a `core` so: `Sum(Ace(model, coefficients), Pair(zbl(...)))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hpcmat_kernels.ace import OPEN, AceModel, Coefficients, kernel_of
from hpcmat_kernels.md.ace_forces import AceArrays
from hpcmat_kernels.md.pair_forces import EmbeddedAtomArrays, LennardJonesArrays, SumArrays, ZBLArrays
from hpcmat_kernels.pair.eam import EmbeddedAtom
from hpcmat_kernels.pair.lj import LennardJones
from hpcmat_kernels.pair.repulsion import ZBL


class Potential(Protocol):
    """What `driver.run` asks of a potential."""

    @property
    def cutoff(self) -> float:
        """Range of the forces, Å."""

    @property
    def n_species(self) -> int:
        """Species are numbered 0 .. n_species - 1."""

    @property
    def knows_uncertainty(self) -> bool:
        """Whether `settings.UncertaintyStop` has something to ask."""

    def arrays(self) -> Any:
        """Named tuple for the compiled loop, of a class that `forces` is overloaded for."""


@dataclass(frozen=True, slots=True, eq=False)
class Ace:
    """Cluster expansion, with a committee where uncertainties are wanted.

    Energy and forces are those of `coefficients`, not a mean over the committee. Draws from the posterior of a fit
    make a committee whose spread is the deviation of the forces. The committee is evaluated without the core: where
    the expansion is silent, its members would agree, and nothing would tell that no label reaches there.
    """

    model: AceModel
    coefficients: Coefficients
    committee: Sequence[Coefficients] = ()

    @property
    def cutoff(self) -> float:
        """Range of the forces, Å."""
        return self.model.cutoff

    @property
    def n_species(self) -> int:
        """That of the model."""
        return self.model.n_species

    @property
    def knows_uncertainty(self) -> bool:
        """With a committee of two or more."""
        return len(self.committee) > 1

    def arrays(self) -> AceArrays:
        """Parameters for the compiled loop."""
        shape, (radii, parameters, lone) = kernel_of(self.model, (self.coefficients, *self.committee))
        rows, n_species = parameters.reshape(-1, parameters.shape[2]), self.n_species
        places = shape.scratch.blocks, shape.block.size, shape.scratch.virial
        without_core = *radii[:2], np.full_like(radii[2], OPEN)
        mean, others = (radii, rows[:n_species], lone[:1]), (without_core, rows[n_species:], lone[1:])
        return AceArrays(shape, places, mean, others)


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A pair style."""

    style: LennardJones | EmbeddedAtom | ZBL

    @property
    def cutoff(self) -> float:
        """Range of the forces, Å."""
        return self.style.cutoff

    @property
    def n_species(self) -> int:
        """That of the style."""
        return self.style.n_species

    @property
    def knows_uncertainty(self) -> bool:
        """Never."""
        return False

    def arrays(self) -> LennardJonesArrays | EmbeddedAtomArrays | ZBLArrays:
        """Tables for the compiled loop."""
        style = self.style
        if isinstance(style, LennardJones):
            return LennardJonesArrays(style.parameters)
        return ZBLArrays(style.parameters) if isinstance(style, ZBL) else EmbeddedAtomArrays(style.parameters)


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """Sum of two potentials for the same species; the uncertainty is that of the first."""

    first: Potential
    second: Potential

    @property
    def cutoff(self) -> float:
        """The longer of both, Å."""
        return max(self.first.cutoff, self.second.cutoff)

    @property
    def n_species(self) -> int:
        """The smaller of both."""
        return min(self.first.n_species, self.second.n_species)

    @property
    def knows_uncertainty(self) -> bool:
        """That of the first."""
        return self.first.knows_uncertainty

    def arrays(self) -> SumArrays:
        """Those of both."""
        return SumArrays(self.first.arrays(), self.second.arrays())
