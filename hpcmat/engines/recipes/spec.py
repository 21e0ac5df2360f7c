"""How the properties of a candidate are computed: the table `[recipe]` of a screening."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from hpcmat.engines.recipes.steps import Property
from hpcmat.engines.settings import Positive, StrictModel


def _a_plane(value: tuple[int, int, int]) -> tuple[int, int, int]:
    if not any(value):
        raise ValueError("the indices (0, 0, 0) name no plane; write for example [1, 1, 1]")
    return value


class SlabSpec(StrictModel):
    """A slab cut from a crystal."""

    miller: Annotated[tuple[int, int, int], AfterValidator(_a_plane)] = Field(
        default=(1, 1, 1), description="Miller indices of the surface, of the conventional cell of the lattice."
    )
    slab_ang: Positive = Field(default=12.0, description="Least thickness of the slab with two surfaces, Å.")
    vacuum_ang: Positive = Field(default=10.0, description="Distance of a slab and its periodic image, Å.")


class RecipeSpec(SlabSpec):
    """How the properties of one candidate are computed; every recipe begins with its equation of state."""

    properties: tuple[Property, ...] = Field(
        default=(), description="Properties to compute beyond those that objectives and constraints need."
    )
    volume_step: Positive = Field(
        default=0.03, le=0.1, description="Relative distance of two volumes; the fit spans three on each side."
    )
    max_force_ev_per_ang: Positive = Field(
        default=0.03, description="Atoms are relaxed until no force is larger, eV/Å."
    )
    max_relaxation_steps: int = Field(default=40, ge=1, description="Labels of one relaxation at most.")
    strain: Positive = Field(
        default=0.01, le=0.05, description="Strain of each sign from which elastic constants are found."
    )
    vacancy_distance_ang: Positive = Field(
        default=8.0, description="Least distance of two planes of a vacancy and its periodic images, Å."
    )
