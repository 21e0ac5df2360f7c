"""Checks of parameters that belong to pairs of species."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def symmetric(name: str, value: ArrayLike, n_species: int) -> NDArray[np.float64]:
    """The parameter as (species, species), from one number or a symmetric matrix.

    Raises
    ------
    ValueError
        Where it is neither, or a number is not finite.
    """
    matrix = np.asarray(value, dtype=np.float64)
    if matrix.ndim == 0:
        matrix = np.full((n_species, n_species), float(matrix))
    fits = matrix.shape == (n_species, n_species) and np.isfinite(matrix).all() and (matrix == matrix.T).all()
    if not fits:
        raise ValueError(
            f"{name} must be one finite number or a symmetric {n_species} x {n_species} matrix, not "
            f"{np.asarray(value).tolist()}: correct the parameters."
        )
    return matrix
