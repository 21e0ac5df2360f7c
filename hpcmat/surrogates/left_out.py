"""Every training structure predicted by the others: residuals and epistemic variances, in the units of the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.surrogates.posterior import Observations, Posterior, leave_one_structure_out

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENERGY, FORCES = 0, 1
"""Kinds of rows."""


@dataclass(frozen=True, slots=True, eq=False)
class LeftOut:
    """Rows of the training labels under the posterior without their own structure; α and β stay as they are."""

    energy_variance: Floats
    """(S,) (eV/atom)² of each structure"""
    residuals: Floats
    """(m, 3) eV/Å, label minus prediction, of all atoms"""
    force_variance: Floats
    """(m,) (eV/Å)², mean over components"""
    structure: Ints
    """(m,) number of the structure of each atom"""


def leave_out(observations: Observations, posterior: Posterior) -> LeftOut:
    """Leave out each structure in turn, in closed form.

    Parameters
    ----------
    observations, posterior : those that belong together, with the same columns; each structure has its energy row
        first and three rows of forces per atom.
    """
    sigma = observations.sigma
    x = observations.rows / sigma[:, None]
    residual = observations.targets / sigma - x @ posterior.mean
    left_out, variance = np.empty(len(sigma)), np.empty(len(sigma))
    for rows, r, v in leave_one_structure_out(observations, x, residual, posterior.factor, posterior.beta):
        left_out[rows], variance[rows] = r, v
    energies, forces = observations.kind == ENERGY, observations.kind == FORCES
    return LeftOut(
        energy_variance=(variance * sigma**2)[energies],
        residuals=(left_out * sigma)[forces].reshape(-1, 3),
        force_variance=(variance * sigma**2)[forces].reshape(-1, 3).mean(axis=1),
        structure=observations.structure[forces][::3],
    )
