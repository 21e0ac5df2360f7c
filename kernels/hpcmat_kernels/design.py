r"""Design-matrix rows of the cluster expansion: derivatives of every feature, for fitting and exact uncertainties.

The energy is linear in the coefficients, E = Σ_f x_f θ_f. One structure gives rows for its energy, its 3n forces and
its virial; multiplied by the coefficients they are what `ace.evaluate` returns. Costs some 30 operations per feature
and component of a pair, hence it is for fitting and selection, not for dynamics.

Inside, rows of one central element are [linear (Q') | pairs (l, Q, Q') | products (P, C')], Q' and C' in whole vectors,
and a pair of densities stands twice, as (q, q') and (q', q): no loop then meets a triangle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.ace import FAST, AceModel, check_species, pairs_of, shape_of
from hpcmat_kernels.displacements import (
    SHIFTS,
    first_components,
    mix_changes,
    mix_density,
    most_directions,
    site_changes,
    site_workspace,
    with_whole_rows,
)
from hpcmat_kernels.harmonics import recursion
from hpcmat_kernels.neighbors import NeighborList
from hpcmat_kernels.simd.contractions import add_four, add_outer, add_three, add_weighted, spread
from hpcmat_kernels.simd.emitter import LANES
from hpcmat_kernels.simd.layout import padded

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class DesignRows:
    """Rows of one structure; columns are ordered as in `ace.split_coefficients`."""

    site: Floats
    """(n, F) features of each atom"""
    forces: Floats
    """(3n, F) 1/Å; row 3i + a is component a of atom i"""
    virial: Floats
    """(6, F), order xx yy zz yz xz xy; (0, F) where it was not asked for"""


def design_rows(model: AceModel, neighbors: NeighborList, species: ArrayLike, virial: bool = True) -> DesignRows:
    """Rows for one structure; errors as `ace.evaluate`."""
    z = check_species(model, neighbors, species)
    table = model.table
    tables = first_components(model.l_max), with_whole_rows(model.mixing)
    monomials = (
        table.starts, table.factors, table.coefficients, table.used_starts, table.used, table.slots,
        np.ones(tables[1].shape[3]),
    )  # fmt: skip
    site, rows = _rows(
        (pairs_of(neighbors), z), shape_of(model), (recursion(model.l_max), *tables), monomials,
        (model.n_channels, most_directions(model, neighbors.offsets, virial)),
    )  # fmt: skip
    return DesignRows(site, rows[: 3 * len(z)], rows[3 * len(z) :])


@njit(cache=True, nogil=True, fastmath=FAST)
def _pair_features(density: Any, first_degree: Any, n_q: Any, features: Any) -> None:
    """(Σ_m A_q A_q') for q <= q', off-diagonal ones twice, l-major."""
    features[:] = 0.0
    n_pairs = n_q * (n_q + 1) // 2
    for degree in range(len(first_degree) - 1):
        for lm in range(first_degree[degree], first_degree[degree + 1]):
            f = degree * n_pairs
            for q in range(n_q):
                features[f] += density[lm, q] * density[lm, q]
                for other in range(q + 1, n_q):
                    features[f + other - q] += 2.0 * density[lm, q] * density[lm, other]
                f += n_q - q


@njit(cache=True, nogil=True)
def _product_gradient(channels: Any, monomials: Any, gradient: Any) -> None:
    """dB_p/dA_lm (u, C'') for the densities of each product, in the order of `MonomialTable.used`."""
    starts, factors, weights, _, _, slots, ones = monomials
    n_lm, step = channels.shape
    arrays = factors, weights, channels, ones, slots, gradient
    gradient[:] = 0.0
    for p in range(len(starts) - 1):
        if factors[starts[p], 3] < 0:
            add_three(arrays, (starts[p], starts[p + 1], 0, n_lm, len(ones), step))
        else:
            add_four(arrays, (starts[p], starts[p + 1], 0, n_lm, len(ones), step))


@njit(cache=True, nogil=True, fastmath=FAST)
def _product_features(channels: Any, gradient: Any, monomials: Any, n_c: Any, features: Any) -> None:
    """B_p(A_c) by Euler's theorem, ν B = Σ A dB/dA."""
    starts, factors, _, used_starts, used, _, _ = monomials
    features[:] = 0.0
    for p in range(len(starts) - 1):
        order = 3.0 if factors[starts[p], 3] < 0 else 4.0
        for u in range(used_starts[p], used_starts[p + 1]):
            for c in range(n_c):
                features[p * n_c + c] += gradient[u, c] * channels[used[u], c] / order


@njit(cache=True, nogil=True)
def _add_pair_slopes(work: Any, count: Any, first_degree: Any, sizes: Any, out: Any) -> None:
    """Add the changes of linear and pair features of one site to the rows; `sizes` = (first column, width, Q)."""
    _, _, density, changes, rows, columns = work
    column, width, n_q = sizes
    n_lm, n_radial, radial, q_row = changes.shape[1], len(work[0][1][0]), changes.shape[2], density.shape[1]
    arrays = out, changes, density
    for d in range(count):
        place = rows[d] * width + column
        for k in range(n_radial):
            out[place + columns[d] + k] += changes[d, 0, k]
        for degree in range(len(first_degree) - 1):
            lm, m = first_degree[degree], first_degree[degree + 1] - first_degree[degree]
            add_outer(
                arrays,
                (
                    place + q_row + (degree * n_q + columns[d]) * q_row, q_row, n_radial,
                    (d * n_lm + lm) * radial, radial, 1, lm * q_row, q_row, m, q_row,
                ),
            )  # fmt: skip


@njit(cache=True, nogil=True)
def _add_product_slopes(work: Any, count: Any, mixing: Any, sizes: Any, arrays: Any) -> None:
    """Add the changes of the products of one site to the rows; `sizes` = (first column, width, Q, place of W, C')."""
    first_degree, weights = mixing
    column, width, n_q, centre, row = sizes
    out, gradient, x, places, (used_starts, used) = arrays
    n_lm, step = x.shape[1], x.shape[2]
    for d in range(len(places)):
        places[d] = work[4][d] * width + column
    weighted = out, gradient, x, places, used, used_starts
    for first in range(0, count, LANES):
        mix_changes(work, weights, first_degree, (first, centre, n_q, row), x)
        add_weighted(weighted, (0, first, len(used_starts) - 1, row, n_lm, row, step))


@njit(cache=True, nogil=True)
def _unfold(rows: Any, n_blocks: Any, sizes: Any, features: Any) -> None:
    """Features in their order from rows with padding and with both orders of a pair; `sizes` = (Q, l, P, C)."""
    n_q, n_l, n_p, n_c = sizes
    q_row, c_row = padded(n_q), padded(n_c)
    width = q_row + n_l * n_q * q_row + n_p * c_row
    for r in range(len(features)):
        f = 0
        for block in range(n_blocks):
            start = (r * n_blocks + block) * width
            features[r, f] = 0.0
            f += 1
            for q in range(n_q):
                features[r, f + q] = rows[start + q]
            f, start = f + n_q, start + q_row
            for _ in range(n_l):
                for q in range(n_q):
                    features[r, f] = 2.0 * rows[start + q * q_row + q]
                    for other in range(q + 1, n_q):
                        both = rows[start + q * q_row + other] + rows[start + other * q_row + q]
                        features[r, f + other - q] = 2.0 * both
                    f += n_q - q
                start += n_q * q_row
            for _ in range(n_p):
                for c in range(n_c):
                    features[r, f + c] = rows[start + c]
                f, start = f + n_c, start + c_row


@njit(cache=True, nogil=True)
def _rows(system: Any, shape: Any, tables: Any, monomials: Any, lengths: Any) -> Any:
    pairs, species = system
    n_species, n_radial, _ = shape
    legendre, first_degree, mixing = tables
    starts, _, _, used_starts, used, _, _ = monomials
    n_c, directions = lengths
    n, n_l, n_q, row, n_p = len(species), len(first_degree) - 1, n_species * n_radial, mixing.shape[3], len(starts) - 1
    n_lm, q_row = first_degree[n_l], padded(n_q)
    end_pairs = 1 + n_q + n_l * (n_q * (n_q + 1) // 2)
    block = end_pairs + n_p * n_c
    step, products_at = spread(row), q_row + n_l * n_q * q_row
    width = products_at + n_p * row
    strains = directions[1] - SHIFTS
    site, features = np.zeros((n, n_species * block)), np.empty((3 * n + strains, n_species * block))
    out = np.zeros((3 * n + 7) * n_species * width)
    work = site_workspace(legendre, (n_species, n_radial, q_row, n_lm), directions)
    gradient, channels = np.empty((len(used), step)), np.empty((n_lm, step))
    x, places, weights = np.empty((LANES, n_lm, step)), np.empty(directions[0], dtype=np.int64), mixing.ravel()
    for i in range(n):
        z = species[i]
        count = site_changes(pairs, i, species, shape, legendre, work)
        column, centre, at = z * width, z * n_l * n_q * row, z * block
        mix_density(work[2], weights, first_degree, (centre, n_q, row), channels)
        _product_gradient(channels, monomials, gradient)
        site[i, at] = 1.0
        site[i, at + 1 : at + 1 + n_q] = work[2][0, :n_q]
        _pair_features(work[2], first_degree, n_q, site[i, at + 1 + n_q : at + end_pairs])
        _product_features(channels, gradient, monomials, n_c, site[i, at + end_pairs : at + block])
        sizes = n_species * width, n_q
        _add_pair_slopes(work, count, first_degree, (column, *sizes), out)
        _add_product_slopes(
            work, count, (first_degree, weights), (column + products_at, *sizes, centre, row),
            (out, gradient, x, places, (used_starts, used)),
        )  # fmt: skip
    _unfold(out, n_species, (n_q, n_l, n_p, n_c), features)
    return site, features
