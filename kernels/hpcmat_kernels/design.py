r"""Design-matrix rows of the cluster expansion: derivatives of every feature, for fitting and exact uncertainties.

The energy is linear in the coefficients, E = Σ_f x_f θ_f. One structure gives rows for its energy, its 3n forces and
its virial; multiplied by the coefficients they are what `ace.evaluate` returns. Costs about (3 F) operations per pair
and degree, hence it is for fitting and selection, not for dynamics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.ace import (
    FAST,
    AceModel,
    add_density,
    check_species,
    mix,
    neighbour_basis,
    pairs_of,
    shape_of,
    tables_of,
)
from hpcmat_kernels.harmonics import scratch
from hpcmat_kernels.neighbors import NeighborList

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DesignRows:
    """Rows of one structure; columns are ordered as in `ace.split_coefficients`."""

    site: Floats
    """(n, F) features of each atom"""
    forces: Floats
    """(3n, F) 1/Å; row 3i + a is component a of atom i"""
    virial: Floats
    """(6, F), order xx yy zz yz xz xy"""


def design_rows(model: AceModel, neighbors: NeighborList, species: ArrayLike) -> DesignRows:
    """Rows for one structure; errors as `ace.evaluate`."""
    z = check_species(model, neighbors, species)
    used = (model.table.used_starts, model.table.used)
    site, forces, virial = _rows(pairs_of(neighbors), z, shape_of(model), tables_of(model), used)
    return DesignRows(site, forces.reshape(-1, model.n_features), virial)


@njit(cache=True, fastmath=FAST)
def _pair_features(density: Any, degree: Any, features: Any) -> None:
    """(Σ_m A_q A_q') for q <= q', off-diagonal ones twice, l-major."""
    features[:] = 0.0
    n_q = density.shape[1]
    n_pairs = n_q * (n_q + 1) // 2
    for lm in range(len(density)):
        f = degree[lm] * n_pairs
        for q in range(n_q):
            features[f] += density[lm, q] * density[lm, q]
            for other in range(q + 1, n_q):
                features[f + other - q] += 2.0 * density[lm, q] * density[lm, other]
            f += n_q - q


@njit(cache=True, fastmath=FAST)
def _product_features(channels: Any, starts: Any, factors: Any, weights: Any, features: Any, gradient: Any) -> None:
    """B_p(A_c) into features[p, c] and dB_p/dA_lm into gradient[p, lm, c]."""
    features[:] = 0.0
    gradient[:] = 0.0
    for p in range(len(starts) - 1):
        for m in range(starts[p], starts[p + 1]):
            n_factors = 3 if factors[m, 3] < 0 else 4
            for c in range(channels.shape[1]):
                for left_out in range(n_factors):
                    rest = weights[m]
                    for other in range(n_factors):
                        if other != left_out:
                            rest *= channels[factors[m, other], c]
                    gradient[p, factors[m, left_out], c] += rest
                    if left_out == 0:
                        features[p, c] += rest * channels[factors[m, 0], c]


@njit(cache=True, fastmath=FAST)
def _density_gradient(distance: Any, row: Any, gradient: Any) -> None:
    """d(g_k Y_lm)/dr_a into gradient[a, lm, k]."""
    values, slopes, angular, angular_gradient, direction = row
    for lm in range(len(angular)):
        along = 0.0
        for a in range(3):
            along += direction[a] * angular_gradient[lm, a]
        for a in range(3):
            across = (angular_gradient[lm, a] - direction[a] * along) / distance
            for k in range(len(values)):
                gradient[a, lm, k] = slopes[k] * direction[a] * angular[lm] + values[k] * across


@njit(cache=True, fastmath=FAST)
def _pair_slopes(density: Any, change: Any, start: Any, degree: Any, features: Any) -> None:
    """Change of the pair features when the columns `start` .. of the density change by `change`[lm, k]."""
    features[:] = 0.0
    n_q, n_k = density.shape[1], change.shape[1]
    n_pairs = n_q * (n_q + 1) // 2
    for lm in range(len(density)):
        base = degree[lm] * n_pairs
        for k in range(n_k):
            q = start + k
            d = 2.0 * change[lm, k]
            # Pairs (other, q) with other < q lie one per row of the triangle, those with other >= q in one row.
            for other in range(q):
                features[base + other * n_q - other * (other - 1) // 2 + q - other] += d * density[lm, other]
            f = base + q * n_q - q * (q - 1) // 2
            for other in range(q, n_q):
                features[f + other - q] += d * density[lm, other]


@njit(cache=True, fastmath=FAST)
def _product_slopes(gradient: Any, change: Any, mixing: Any, start: Any, indices: Any, work: Any) -> None:
    """Change of B_p(A_c) into work[0][p, c]; work[1] is scratch for the change of the channels."""
    features, channel_change = work
    degree, used_starts, used = indices
    channel_change[:] = 0.0
    for lm in range(len(change)):
        for k in range(change.shape[1]):
            for c in range(channel_change.shape[1]):
                channel_change[lm, c] += mixing[degree[lm], start + k, c] * change[lm, k]
    features[:] = 0.0
    for p in range(len(used_starts) - 1):
        for u in range(used_starts[p], used_starts[p + 1]):
            lm = used[u]
            for c in range(features.shape[1]):
                features[p, c] += gradient[p, lm, c] * channel_change[lm, c]


@njit(cache=True, fastmath=FAST)
def _scatter(slopes: Any, vector: Any, a: Any, forces: Any, virial: Any) -> None:
    """Add dx/dr_a of one pair to the rows `forces` = (of i, of j) and to the virial."""
    of_i, of_j = forces
    x, y, z = vector[0], vector[1], vector[2]
    for f in range(len(slopes)):
        s = slopes[f]
        of_i[f] += s
        of_j[f] -= s
        virial[a, f] += vector[a] * s
        # Voigt yz xz xy are the symmetrised products of the two other axes.
        if a == 0:
            virial[4, f] += 0.5 * z * s
            virial[5, f] += 0.5 * y * s
        elif a == 1:
            virial[3, f] += 0.5 * z * s
            virial[5, f] += 0.5 * x * s
        else:
            virial[3, f] += 0.5 * y * s
            virial[4, f] += 0.5 * x * s


@njit(cache=True, fastmath=FAST, nogil=True)
def _rows(pairs: Any, species: Any, shape: Any, tables: Any, used: Any) -> Any:
    offsets, second, vectors = pairs
    n_species, n_radial, radii = shape
    legendre, degree, mixing, starts, factors, weights = tables
    n_lm, n_q, n_c, n_p = len(degree), n_species * n_radial, mixing.shape[3], len(starts) - 1
    end_pairs = 1 + n_q + legendre.shape[1] * (n_q * (n_q + 1) // 2)
    block = end_pairs + n_p * n_c
    site = np.zeros((len(species), n_species * block))
    forces, virial = np.zeros((len(species), 3, n_species * block)), np.zeros((6, n_species * block))
    table = scratch(legendre)
    basis = (
        np.empty(n_radial), np.empty(n_radial), np.empty(n_lm), np.empty((n_lm, 3)), np.empty(3),
    )  # fmt: skip
    density, channels, change = np.empty((n_lm, n_q)), np.empty((n_lm, n_c)), np.empty((3, n_lm, n_radial))
    product, channel_change = np.empty((n_p, n_c)), np.empty((n_lm, n_c))
    product_gradient, slopes = np.empty((n_p, n_lm, n_c)), np.zeros(block)
    for i in range(len(species)):
        z = species[i]
        column = z * block
        density[:] = 0.0
        for p in range(offsets[i], offsets[i + 1]):
            neighbour_basis(vectors[p], radii, legendre, table, basis)
            add_density(density, species[second[p]] * n_radial, basis[0], basis[2])
        mix(density, mixing[z], degree, channels)
        site[i, column] = 1.0
        site[i, column + 1 : column + 1 + n_q] = density[0]
        _pair_features(density, degree, site[i, column + 1 + n_q : column + end_pairs])
        _product_features(channels, starts, factors, weights, product, product_gradient)
        site[i, column + end_pairs : column + block] = product.ravel()
        for p in range(offsets[i], offsets[i + 1]):
            distance = neighbour_basis(vectors[p], radii, legendre, table, basis)
            if distance >= radii[0]:
                continue
            start = species[second[p]] * n_radial
            _density_gradient(distance, basis, change)
            for a in range(3):
                slopes[1 : 1 + n_q] = 0.0
                slopes[1 + start : 1 + start + n_radial] = change[a, 0]
                _pair_slopes(density, change[a], start, degree, slopes[1 + n_q : end_pairs])
                _product_slopes(
                    product_gradient, change[a], mixing[z], start, (degree, used[0], used[1]), (product, channel_change)
                )
                slopes[end_pairs:] = product.ravel()
                rows = (forces[i, a, column : column + block], forces[second[p], a, column : column + block])
                _scatter(slopes, vectors[p], a, rows, virial[:, column : column + block])
    return site, forces, virial
