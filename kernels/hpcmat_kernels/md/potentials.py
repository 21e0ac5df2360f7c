"""Potentials for the dynamics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hpcmat_kernels.ace import AceModel, Coefficients, kernel_of
from hpcmat_kernels.md.ace_forces import AceArrays


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
    make a committee whose spread is the deviation of the forces.
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
        mean, others = (rows[:n_species], lone[:1]), (rows[n_species:], lone[1:])
        return AceArrays(shape, radii, places, mean, others)
