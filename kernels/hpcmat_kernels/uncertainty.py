r"""Uncertainty of each atom's energy and force, cheap enough for every tenth step of dynamics.

Two measures of atoms, both of a linear model with coefficients θ ~ N(θ_mean, S):

    s_i = sqrt(b_i^T S b_i),                   b_i the features of atom i       standard deviation of a site energy
    d_i = sqrt(Σ_m |F_i^m - mean F_i|² / M)    F^m of M draws of θ              spread of a force over a committee

A site's energy is no observable, so s_i tells how far the surroundings of an atom lie from those that were fitted
(its leverage); d_i is the root of the summed variances of the three components of the force. With the factor cut to
its first r columns, s_i is too small, never too large. A third one, of all atoms together, has a gradient at hand, so
that dynamics can be drawn to it (`energy_spread`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.ace import AceModel, check_species, kernel_of, pairs_of, split_coefficients
from hpcmat_kernels.neighbors import NeighborList
from hpcmat_kernels.simd.evaluation import features_of_sites

Floats = NDArray[np.float64]

ATOMS_PER_PRODUCT = 1024
"""Atoms whose features are multiplied by the factor at once: a few MB that stay in the cache."""


def site_features(model: AceModel, neighbors: NeighborList, species: ArrayLike, threads: int = 1) -> Floats:
    """Features b_i (n, F / n_species) of each atom, those that belong to its own species.

    They are the non-zero part of `design.DesignRows.site`, at about the cost of an energy. Arguments and errors as
    `ace.evaluate`.
    """
    z = check_species(model, neighbors, species)
    if threads < 1:
        raise ValueError(f"At least one thread is needed, not {threads}: correct the argument.")
    shape, constants = kernel_of(model, (split_coefficients(model, np.zeros(model.n_features)),))
    return features_of_sites(shape, pairs_of(neighbors), z, constants, threads)


def site_deviations(model: AceModel, features: Floats, species: ArrayLike, factor: ArrayLike) -> Floats:
    """Standard deviations s_i (n,) eV from the features of `site_features`.

    Parameters
    ----------
    factor : (F, r) eV, S = L L^T or approximately so; 2 F r / n_species operations per atom.

    Raises
    ------
    ValueError
        Where features, species and factor do not fit the model, or the factor is not finite.
    """
    root, z = np.asarray(factor, dtype=np.float64), np.asarray(species)
    if root.ndim != 2 or len(root) != model.n_features or not np.isfinite(root).all():
        raise ValueError(f"The factor must be ({model.n_features}, r) and finite, not {root.shape}: fit again.")
    if features.shape != (len(z), model.n_features_per_species):
        raise ValueError(f"Features of shape {features.shape} do not fit {len(z)} atoms: use site_features.")
    deviations = np.empty(len(z))
    for kind in range(model.n_species):
        block = root[kind * model.n_features_per_species : (kind + 1) * model.n_features_per_species]
        atoms = np.flatnonzero(z == kind)
        for start in range(0, len(atoms), ATOMS_PER_PRODUCT):
            chunk = atoms[start : start + ATOMS_PER_PRODUCT]
            deviations[chunk] = np.linalg.norm(features[chunk] @ block, axis=1)
    return deviations


def force_spread(forces: ArrayLike) -> Floats:
    """Spread d_i (n,) eV/Å of the forces (M, n, 3) of a committee, as `ace.evaluate_committee` gives them.

    Raises
    ------
    ValueError
        Where there are not at least two members.
    """
    f = np.asarray(forces, dtype=np.float64)
    if f.ndim != 3 or f.shape[2] != 3 or len(f) < 2:
        raise ValueError(f"Forces must be (M >= 2, n, 3), not {f.shape}: give those of a whole committee.")
    spread: Floats = np.sqrt(((f - f.mean(axis=0)) ** 2).sum(axis=2).mean(axis=0))
    return spread


def energy_spread(energies: ArrayLike, forces: ArrayLike) -> tuple[float, Floats]:
    r"""Spread of the energy over a committee, and the force that leads to more of it.

        s = sqrt(Σ_m (E^m - mean E)² / M),         ds/dr = -Σ_m (E^m - mean E) F^m / (M s)

    By the inequality of Cauchy and Schwarz no component of ds/dr exceeds the spread of that component of the force.
    Members that agree on the energy have no gradient; 0 stands for it.

    Parameters
    ----------
    energies : (M, n) eV of the sites, or (M,) of the whole, as `ace.evaluate_committee` gives them.
    forces : (M, n, 3) eV/Å.

    Returns
    -------
    s in eV, and ds/dr (n, 3) in eV/Å.

    Raises
    ------
    ValueError
        Where there are not at least two members, or energies and forces differ in their number.
    """
    e, f = np.asarray(energies, dtype=np.float64), np.asarray(forces, dtype=np.float64)
    if f.ndim != 3 or f.shape[2] != 3 or len(f) < 2 or len(e) != len(f):
        raise ValueError(f"Energies {e.shape} and forces {f.shape} must be (M, n) and (M > 1, n, 3): give a committee.")
    deviations = e.reshape(len(e), -1).sum(axis=1)
    deviations -= deviations.mean()
    spread = float(np.sqrt(np.mean(deviations**2)))
    if spread == 0.0:
        return 0.0, np.zeros(f.shape[1:])
    gradient: Floats = -np.tensordot(deviations, f, axes=1) / (len(f) * spread)
    return spread, gradient
