"""Relaxation of the atoms in their cell."""

from __future__ import annotations

import numpy as np

from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Floats, Work
from hpcmat.errors import InputError
from hpcmat.records import Label, Structure

_LONGEST_ANG = 0.2
_COMPLIANCE = 0.05
"""Å per eV/Å of the first step of a relaxation."""


def relaxation(structure: Structure, spec: RecipeSpec, share: float = 1.0) -> Work[Label]:
    """The label of the structure with its atoms at rest in the given cell, by BFGS (Nocedal & Wright 2006, eq. 6.17).

    Parameters
    ----------
    share : of the largest force that the recipe allows, for what depends on forces to first order.

    Raises
    ------
    InputError
        It has not come to rest after the number of steps allowed.
    """
    inverse = _COMPLIANCE * np.eye(3 * len(structure))
    before: tuple[Floats, Floats] | None = None
    for _ in range(spec.max_relaxation_steps):
        (label,) = yield (structure,)
        if np.linalg.norm(label.forces, axis=1).max() <= share * spec.max_force_ev_per_ang:
            return label
        here = structure.positions.ravel(), -label.forces.ravel()
        if before is not None:
            inverse = _updated(inverse, here[0] - before[0], here[1] - before[1])
        step = (-inverse @ here[1]).reshape(-1, 3)
        step *= min(1.0, _LONGEST_ANG / np.linalg.norm(step, axis=1).max())
        before = here
        structure = Structure(structure.symbols, structure.positions + step, structure.cell, structure.pbc)
    raise InputError(f"the atoms have not come to rest after {spec.max_relaxation_steps} steps; start nearer to it")


def _updated(inverse: Floats, step: Floats, change: Floats) -> Floats:
    """BFGS update of the inverse Hessian; left as it is where the curvature along the step is not positive."""
    curvature = float(step @ change)
    if curvature <= 1e-12:
        return inverse
    left = np.eye(len(step)) - np.outer(step, change) / curvature
    updated: Floats = left @ inverse @ left.T + np.outer(step, step) / curvature
    return updated
