r"""How energies, forces and virial change with the channel mixing W: the rows that its training needs.

The energy of a site is a polynomial of its channels A_{c,lm} = Σ_q W_{l,q,c} A_{q,lm}. With its gradient G and second
derivatives H by the channels, for fixed coefficients,

    ∂E_i/∂W_{l,q,c} = Σ_m G_{c,lm} A_{q,lm}
    ∂(∂E_i/∂W_{l,q,c})/∂r = Σ_m (Σ_{lm'} H_{c,lm,lm'} ∂A_{c,lm'}/∂r) A_{q,lm} + G_{c,lm} ∂A_{q,lm}/∂r

Costs about (l_max + 1)^4 C operations per pair and direction: for fitting, not for dynamics.
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
    Coefficients,
    add_density,
    check_species,
    mix,
    neighbour_basis,
    pairs_of,
    shape_of,
    tables_of,
)
from hpcmat_kernels.design import density_gradient, scatter_row
from hpcmat_kernels.harmonics import scratch
from hpcmat_kernels.neighbors import NeighborList

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MixingRows:
    """Derivatives by the W of one structure; columns are `AceModel.mixing` flattened, G of them."""

    energy: Floats
    """(G,) eV"""
    forces: Floats
    """(3n, G) eV/Å; row 3i + a is component a of atom i"""
    virial: Floats
    """(6, G) eV, order xx yy zz yz xz xy"""


def mixing_rows(model: AceModel, coefficients: Coefficients, neighbors: NeighborList, species: ArrayLike) -> MixingRows:
    """Rows for one structure at fixed coefficients; errors as `ace.evaluate`."""
    z = check_species(model, neighbors, species)
    energy, forces, virial = _rows(pairs_of(neighbors), z, shape_of(model), tables_of(model), coefficients.product)
    return MixingRows(energy, forces.reshape(3 * len(z), -1), virial)


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_monomial(channels: Any, factors: Any, weights: Any, gradient: Any, curvature: Any) -> None:
    """Add the derivatives of weights[c] Π A_{c,factors} of one monomial; unused factors are -1."""
    count = 3 if factors[3] < 0 else 4
    for x in range(count):
        for c in range(len(weights)):
            rest = weights[c]
            for other in range(count):
                if other != x:
                    rest *= channels[factors[other], c]
            gradient[factors[x], c] += rest
        for y in range(count):
            if y == x:
                continue
            for c in range(len(weights)):
                rest = weights[c]
                for other in range(count):
                    if other not in (x, y):
                        rest *= channels[factors[other], c]
                curvature[factors[x], factors[y], c] += rest


@njit(cache=True, nogil=True, fastmath=FAST)
def _derivatives(channels: Any, table: Any, theta: Any, gradient: Any, curvature: Any) -> None:
    """G (lm, C) and H (lm, lm, C) of Σ_pc θ_pc B_p(A_c)."""
    starts, factors, weights = table
    gradient[:], curvature[:] = 0.0, 0.0
    for p in range(len(starts) - 1):
        for m in range(starts[p], starts[p + 1]):
            _add_monomial(channels, factors[m], weights[m] * theta[p], gradient, curvature)


@njit(cache=True, nogil=True, fastmath=FAST)
def _mix_change(change: Any, mixing: Any, start: Any, degree: Any, channel_change: Any) -> None:
    """Change of the channels when the columns `start` .. of the density change by `change` (lm, K)."""
    channel_change[:] = 0.0
    for lm in range(len(degree)):
        for k in range(change.shape[1]):
            for c in range(channel_change.shape[1]):
                channel_change[lm, c] += mixing[degree[lm], start + k, c] * change[lm, k]


@njit(cache=True, nogil=True, fastmath=FAST)
def _slopes(density: Any, moved: Any, derivatives: Any, degree: Any, work: Any) -> None:
    """Change of ∂E/∂W into work[0] (l, Q, C) for a change of the density; the rest of `work` is scratch (lm, C).

    `moved` = (change (lm, K) of the columns `start` .., start, W of the centre).
    """
    change, start, mixing = moved
    gradient, curvature = derivatives
    slopes, channel_change, gradient_change = work
    slopes[:], gradient_change[:] = 0.0, 0.0
    n_c = gradient.shape[1]
    _mix_change(change, mixing, start, degree, channel_change)
    for lm in range(len(degree)):
        for other in range(len(degree)):
            for c in range(n_c):
                gradient_change[lm, c] += curvature[lm, other, c] * channel_change[other, c]
        for q in range(density.shape[1]):
            for c in range(n_c):
                slopes[degree[lm], q, c] += gradient_change[lm, c] * density[lm, q]
        for k in range(change.shape[1]):
            for c in range(n_c):
                slopes[degree[lm], start + k, c] += gradient[lm, c] * change[lm, k]


@njit(cache=True, nogil=True, fastmath=FAST)
def _add_energy(density: Any, gradient: Any, degree: Any, energy: Any) -> None:
    """energy[l, q, c] += Σ_m G_{c,lm} A_{q,lm}."""
    for lm in range(len(degree)):
        for q in range(density.shape[1]):
            for c in range(gradient.shape[1]):
                energy[degree[lm], q, c] += gradient[lm, c] * density[lm, q]


@njit(cache=True, nogil=True, fastmath=FAST)
def _rows(pairs: Any, species: Any, shape: Any, tables: Any, product: Any) -> Any:
    offsets, second, vectors = pairs
    n_species, n_radial, radii = shape
    legendre, degree, mixing = tables[0], tables[1], tables[2]
    n_lm, n_q, n_c = len(degree), n_species * n_radial, mixing.shape[3]
    block = legendre.shape[1] * n_q * n_c
    energy = np.zeros((n_species, legendre.shape[1], n_q, n_c))
    forces, virial = np.zeros((len(species), 3, n_species * block)), np.zeros((6, n_species * block))
    table = scratch(legendre)
    basis = (
        np.empty(n_radial), np.empty(n_radial), np.empty(n_lm), np.empty((n_lm, 3)), np.empty(3),
    )  # fmt: skip
    density, channels, change = np.empty((n_lm, n_q)), np.empty((n_lm, n_c)), np.empty((3, n_lm, n_radial))
    gradient, curvature = np.empty((n_lm, n_c)), np.empty((n_lm, n_lm, n_c))
    work = (np.empty((legendre.shape[1], n_q, n_c)), np.empty((n_lm, n_c)), np.empty((n_lm, n_c)))
    for i in range(len(species)):
        z = species[i]
        column = z * block
        density[:] = 0.0
        for p in range(offsets[i], offsets[i + 1]):
            neighbour_basis(vectors[p], radii, legendre, table, basis)
            add_density(density, species[second[p]] * n_radial, basis[0], basis[2])
        mix(density, mixing[z], degree, channels)
        _derivatives(channels, tables[3:], product[z], gradient, curvature)
        _add_energy(density, gradient, degree, energy[z])
        for p in range(offsets[i], offsets[i + 1]):
            if neighbour_basis(vectors[p], radii, legendre, table, basis) >= radii[0]:
                continue
            density_gradient(np.sqrt(np.sum(vectors[p] ** 2)), basis, change)
            start = species[second[p]] * n_radial
            for a in range(3):
                _slopes(density, (change[a], start, mixing[z]), (gradient, curvature), degree, work)
                rows = (forces[i, a, column : column + block], forces[second[p], a, column : column + block])
                scatter_row(work[0].ravel(), vectors[p], a, rows, virial[:, column : column + block])
    return energy.ravel(), forces, virial
