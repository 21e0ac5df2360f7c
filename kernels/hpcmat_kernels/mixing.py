r"""How energies, forces and virial change with the channel mixing W: the rows that its training needs.

The energy of a site is a polynomial of its channels A_{c,lm} = Σ_q W_{l,q,c} A_{q,lm}. With its gradient G and second
derivatives H by the channels, for fixed coefficients,

    ∂E_i/∂W_{l,q,c} = Σ_m G_{c,lm} A_{q,lm}
    ∂(∂E_i/∂W_{l,q,c})/∂r = Σ_m (Σ_{lm'} H_{c,lm,lm'} ∂A_{c,lm'}/∂r) A_{q,lm} + G_{c,lm} ∂A_{q,lm}/∂r

With several elements W^z of every central element z is moved alike, so that the columns are those of one of them.
Costs about (l_max + 1)^4 C operations per pair and direction: for fitting, not for dynamics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.ace import FAST, AceModel, Coefficients, check_species, pairs_of, shape_of
from hpcmat_kernels.displacements import (
    STRAINS,
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
from hpcmat_kernels.simd.contractions import add_four_twice, add_outer, add_three_twice, add_weighted, spread
from hpcmat_kernels.simd.emitter import LANES
from hpcmat_kernels.simd.layout import padded

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MixingRows:
    """Derivatives of one structure by a step that the W of all central elements make together.

    Columns are the W of one element, `AceModel.mixing[z]` flattened, G of them.
    """

    energy: Floats
    """(G,) eV"""
    forces: Floats
    """(3n, G) eV/Å; row 3i + a is component a of atom i"""
    virial: Floats
    """(6, G) eV, order xx yy zz yz xz xy; (0, G) where it was not asked for"""


def mixing_rows(
    model: AceModel, coefficients: Coefficients, neighbors: NeighborList, species: ArrayLike, virial: bool = True
) -> MixingRows:
    """Rows for one structure at fixed coefficients; errors as `ace.evaluate`."""
    z = check_species(model, neighbors, species)
    table, (_, n_l, n_q, n_c) = model.table, model.mixing.shape
    tables = recursion(model.l_max), first_components(model.l_max), with_whole_rows(model.mixing)
    monomials = table.starts, table.factors, table.coefficients
    energy, padded_rows = _rows(
        (pairs_of(neighbors), z), shape_of(model), tables, (*monomials, with_whole_rows(coefficients.product)),
        most_directions(model, neighbors.offsets, virial),
    )  # fmt: skip
    shape, n_rows = (n_l, n_q, tables[2].shape[3]), 3 * len(z) + (STRAINS if virial else 0)
    rows = padded_rows.reshape(-1, *shape)[:n_rows, ..., :n_c].reshape(n_rows, -1)
    return MixingRows(energy.reshape(shape)[..., :n_c].ravel(), rows[: 3 * len(z)], rows[3 * len(z) :])


@njit(cache=True, nogil=True, fastmath=FAST)
def _derivatives(channels: Any, monomials: Any, z: Any, gradient: Any, curvature: Any) -> None:
    """G (lm, C'') and H (lm, lm, C'') of Σ_pc θ_pc B_p(A_c)."""
    starts, factors, weights, theta = monomials
    (n_lm, step), row = gradient.shape, theta.shape[2]
    arrays = factors, weights, channels, theta, factors, gradient, curvature
    gradient[:], curvature[:] = 0.0, 0.0
    for p in range(len(starts) - 1):
        numbers = starts[p], starts[p + 1], (z * (len(starts) - 1) + p) * row, n_lm, row, step
        if factors[starts[p], 3] < 0:
            add_three_twice(arrays, numbers)
        else:
            add_four_twice(arrays, numbers)
    # Each pair of factors was met in one order.
    for lm in range(n_lm):
        for other in range(lm + 1):
            for c in range(row):
                both = curvature[lm, other, c] + curvature[other, lm, c]
                curvature[lm, other, c] = both
                curvature[other, lm, c] = both


@njit(cache=True, nogil=True)
def _add_energy(density: Any, gradient: Any, first_degree: Any, sizes: Any, energy: Any) -> None:
    """energy[l, q, c] += Σ_m G_{c,lm} A_{q,lm}; `sizes` = (Q, C')."""
    n_q, row = sizes
    q_row, step = density.shape[1], gradient.shape[1]
    for degree in range(len(first_degree) - 1):
        lm, m = first_degree[degree], first_degree[degree + 1] - first_degree[degree]
        add_outer(
            (energy, density, gradient),
            (degree * n_q * row, row, n_q, lm * q_row, q_row, 1, lm * step, step, m, row),
        )


@njit(cache=True, nogil=True)
def _add_slopes(work: Any, t: Any, first_degree: Any, sizes: Any, arrays: Any) -> None:
    """Add what change d means for ∂E/∂W to its row; `sizes` = (d, width, Q, C')."""
    _, _, density, changes, rows, columns = work
    d, width, n_q, row = sizes
    out, gradient, gradient_changes = arrays
    n_lm, n_radial, radial = changes.shape[1], len(work[0][1][0]), changes.shape[2]
    q_row, step = density.shape[1], gradient.shape[1]
    of_gradient, of_density = (out, density, gradient_changes), (out, changes, gradient)
    for degree in range(len(first_degree) - 1):
        lm, m = first_degree[degree], first_degree[degree + 1] - first_degree[degree]
        place = rows[d] * width + degree * n_q * row
        add_outer(of_gradient, (place, row, n_q, lm * q_row, q_row, 1, (t * n_lm + lm) * step, step, m, row))
        add_outer(
            of_density,
            (
                place + columns[d] * row, row, n_radial, (d * n_lm + lm) * radial, radial, 1, lm * step, step, m, row,
            ),
        )  # fmt: skip


@njit(cache=True, nogil=True)
def _rows(system: Any, shape: Any, tables: Any, monomials: Any, directions: Any) -> Any:
    pairs, species = system
    n_species, n_radial, _ = shape
    legendre, first_degree, mixing = tables
    n, n_l, n_q, row = len(species), len(first_degree) - 1, n_species * n_radial, mixing.shape[3]
    n_lm, q_row, width = first_degree[n_l], padded(n_q), n_l * n_q * row
    step = spread(row)
    energy, out, weights = np.zeros(width), np.zeros((3 * n + 7) * width), mixing.ravel()
    work = site_workspace(legendre, (n_species, n_radial, q_row, n_lm), directions)
    channels, gradient, curvature = np.empty((n_lm, step)), np.empty((n_lm, step)), np.empty((n_lm, n_lm, step))
    x, gradient_changes = np.empty((LANES, n_lm, step)), np.empty((LANES, n_lm, step))
    places, used, begins = np.arange(LANES) * (n_lm * step), np.arange(n_lm * n_lm) % n_lm, np.arange(n_lm + 1) * n_lm
    weighted = gradient_changes, curvature, x, places, used, begins
    for i in range(n):
        centre = species[i] * width
        count = site_changes(pairs, i, species, shape, legendre, work)
        mix_density(work[2], weights, first_degree, (centre, n_q, row), channels)
        _derivatives(channels, monomials, species[i], gradient, curvature)
        _add_energy(work[2], gradient, first_degree, (n_q, row), energy)
        for first in range(0, count, LANES):
            mix_changes(work, weights, first_degree, (first, centre, n_q, row), x)
            gradient_changes[:] = 0.0
            add_weighted(weighted, (0, 0, n_lm, step, n_lm, row, step))
            for t in range(min(LANES, count - first)):
                _add_slopes(work, t, first_degree, (first + t, width, n_q, row), (out, gradient, gradient_changes))
    return energy, out
