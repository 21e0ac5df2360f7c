r"""How the density of an atom changes when its neighbours, the atom itself or the cell move: the head of all rows.

All rows of forces and virial are linear in the changes ∂A_{q,lm}/∂r. An atom i with n neighbours has 9 + 3 n of them
with one element: the three shifts of i, six strains, and three shifts of each neighbour. With S elements the first
nine come once for each element, because a change concerns the columns of one element only. Without a virial there are
no strains: of a molecule of three elements they are a quarter of all changes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numba import int64, njit
from numpy.typing import NDArray

from hpcmat_kernels.ace import FAST, AceModel, neighbour_basis, pair_radii
from hpcmat_kernels.harmonics import scratch
from hpcmat_kernels.simd.contractions import add_outer, set_outer
from hpcmat_kernels.simd.emitter import LANES
from hpcmat_kernels.simd.layout import padded

Floats = NDArray[np.float64]

SHIFTS, STRAINS = 3, 6
"""Changes that are sums over neighbours: three shifts of the atom, six strains in the order of the virial."""
STRAIN = ((0, 5, 4), (5, 1, 3), (4, 3, 2))
"""Component xx yy zz yz xz xy of two axes."""


def with_whole_rows(array: Floats) -> Floats:
    """The array with its last axis filled up with zeros to whole vectors."""
    length = array.shape[-1]
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, padded(length) - length)])


def most_directions(model: AceModel, offsets: NDArray[np.int64], virial: bool = True) -> tuple[int, int]:
    """Length of arrays for the changes of any atom of a list, in whole vectors; changes that are sums, per element."""
    largest = int(np.diff(offsets).max()) if len(offsets) > 1 else 0
    sums = SHIFTS + STRAINS if virial else SHIFTS
    return padded(sums * model.n_species + 3 * largest), sums


@lru_cache(maxsize=16)
def first_components(l_max: int) -> NDArray[np.int64]:
    """First index lm of each degree, and the end (l_max + 2,)."""
    first = np.arange(l_max + 2) ** 2
    first.setflags(write=False)
    return first


@njit(cache=True, nogil=True)
def site_workspace(legendre: Any, sizes: Any, directions: Any) -> Any:
    """Memory for `site_changes`: (basis, products, density (lm, Q'), changes (d, lm, K'), rows (d,), columns (d,)).

    `sizes` = (S, K, Q', lm), `directions` as of `most_directions`.
    """
    (n_species, n_radial, row, n_lm), (length, sums) = sizes, directions
    radial = padded(n_radial)
    basis = (
        np.empty(n_radial), np.empty(n_radial), np.empty(n_lm), np.empty((n_lm, 3)), np.empty(3),
    )  # fmt: skip
    products = (
        np.zeros((2, radial)), np.empty((2, 3, n_lm)), np.empty((n_species, n_lm, radial)),
        np.empty((length, sums * n_species)),
    )  # fmt: skip
    rows, columns = np.zeros(length, int64), np.zeros(length, int64)
    changes, density = np.zeros((length, n_lm, radial)), np.zeros((n_lm, row))
    return (scratch(legendre), basis), products, density, changes, rows, columns


@njit(cache=True, nogil=True, fastmath=FAST)
def site_changes(pairs: Any, i: Any, species: Any, shape: Any, legendre: Any, work: Any) -> Any:
    """Density of atom i and its changes into `work`; returns their number.

    A change by a shift of atom j has the sign of a force on it and the row 3 j + a, one by a strain the row
    3 n_atoms + component. What fills up the last vector goes to row 3 n_atoms + 6, which means nothing.
    """
    offsets, second, vectors = pairs
    n_species, n_radial, radii = shape
    (table, basis), products, density, changes, rows, columns = work
    first = products[3].shape[1]
    d, sums = first, first // n_species
    for kind in range(n_species):
        for number in range(sums):
            rows[kind * sums + number] = 3 * i + number if number < 3 else 3 * len(species) + number - 3
            columns[kind * sums + number] = kind * n_radial
    products[2][:] = 0.0
    for p in range(offsets[i], offsets[i + 1]):
        kind = species[second[p]]
        distance = neighbour_basis(vectors[p], pair_radii(radii, species[i], kind), legendre, table, basis)
        if distance >= radii[0]:
            continue
        _add_pair(distance, basis, (products, changes), kind, d)
        _weigh_in_sums(vectors, p, products[3], (kind * sums, sums), d)
        for a in range(3):
            rows[d + a], columns[d + a] = 3 * second[p] + a, kind * n_radial
        d += 3
    for rest in range(d, padded(d)):
        rows[rest] = 3 * len(species) + 6
    for kind in range(n_species):
        density[:, kind * n_radial : (kind + 1) * n_radial] = products[2][kind, :, :n_radial]
    size = changes.shape[1] * changes.shape[2]
    set_outer(
        (changes, products[3], changes),
        (0, size, first, first * first, first, 1, first * size, size, d - first, size),
    )
    return d


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_pair(distance: Any, basis: Any, arrays: Any, kind: Any, d: Any) -> None:
    """Add g_k Y_lm to the density, and write -d(g_k Y_lm)/dr_a into changes[d + a, lm, k]."""
    values, slopes, angular, angular_gradient, direction = basis
    (radial, factors, density, _), changes = arrays
    n_lm, row = len(angular), radial.shape[1]
    for k in range(len(values)):
        radial[0, k], radial[1, k] = values[k], slopes[k]
    for lm in range(n_lm):
        x, y, z = angular_gradient[lm, 0], angular_gradient[lm, 1], angular_gradient[lm, 2]
        along = direction[0] * x + direction[1] * y + direction[2] * z
        for a in range(3):
            factors[0, a, lm] = (direction[a] * along - angular_gradient[lm, a]) / distance
            factors[1, a, lm] = -direction[a] * angular[lm]
    add_outer((density, angular, radial), (kind * n_lm * row, row, n_lm, 0, 0, 1, 0, 0, 1, row))
    set_outer((changes, factors, radial), (d * n_lm * row, row, 3 * n_lm, 0, 3 * n_lm, 1, 0, row, 2, row))


@njit(cache=True, nogil=True)
def _weigh_in_sums(vectors: Any, p: Any, weights: Any, place: Any, d: Any) -> None:
    """weights[d + a, sum] of the shifts of a neighbour in the shifts of the atom and in the strains.

    `place` = (first sum of the neighbour's element, number of them).
    """
    first, sums = place
    for a in range(3):
        for number in range(weights.shape[1]):
            weights[d + a, number] = 0.0
        weights[d + a, first + a] = -1.0
        for b in range(3 if sums > SHIFTS else 0):
            weights[d + a, first + SHIFTS + STRAIN[a][b]] = -vectors[p, b] if a == b else -0.5 * vectors[p, b]


@njit(cache=True, nogil=True)
def mix_density(density: Any, mixing: Any, first_degree: Any, numbers: Any, channels: Any) -> None:
    """Channels (lm, C'') of a density; `mixing` is W flattened, `numbers` = (place of W of the centre, Q, C')."""
    weights, n_q, row = numbers
    q_row, step = density.shape[1], channels.shape[1]
    for degree in range(len(first_degree) - 1):
        lm, m = first_degree[degree], first_degree[degree + 1] - first_degree[degree]
        set_outer(
            (channels, density, mixing),
            (lm * step, step, m, lm * q_row, 1, q_row, weights + degree * n_q * row, row, n_q, row),
        )


@njit(cache=True, nogil=True)
def mix_changes(work: Any, mixing: Any, first_degree: Any, numbers: Any, x: Any) -> None:
    """Changes of the channels x[t, lm, c] = Σ_k W[l, q + k, c] of eight changes, from `numbers`[0] on.

    `mixing` is W flattened, `numbers` = (first change, place of W of the central species, Q, C').
    """
    changes, columns = work[3], work[5]
    first, weights, n_q, row = numbers
    n_lm, n_radial, radial, step = changes.shape[1], len(work[0][1][0]), changes.shape[2], x.shape[2]
    arrays = (x, changes, mixing)
    start = 0
    while start < LANES:
        end = start + 1
        while end < LANES and columns[first + end] == columns[first + start]:
            end += 1
        for degree in range(len(first_degree) - 1):
            weight = weights + (degree * n_q + columns[first + start]) * row
            for lm in range(first_degree[degree], first_degree[degree + 1]):
                place, change = (start * n_lm + lm) * step, ((first + start) * n_lm + lm) * radial
                set_outer(
                    arrays,
                    (place, n_lm * step, end - start, change, 1, n_lm * radial, weight, row, n_radial, row),
                )
        start = end
