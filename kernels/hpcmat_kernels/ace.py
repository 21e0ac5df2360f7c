r"""Linear atomic cluster expansion with coupled channels: site energies, forces and virial.

With neighbours j of atom i, species z, radial functions g_k, harmonics Y_lm and W the channel mixing:

    A_{(zk),lm} = Σ_{j of species z} g_k(r_ij) Y_lm(r̂_ij)                                  density
    A_{c,lm}    = Σ_{zk} W^{z_i}_{l,(zk),c} A_{(zk),lm}                                      channels
    E_i = θ0 + Σ θ1_{zk} A_{(zk),00} + Σ_l Σ θ2_{l,(zk),(z'k')} Σ_m A A + Σ_p Σ_c θ_{pc} B_p(A_c)

where all θ belong to the species of atom i and B_p are the products of `couplings`. Forces come from the adjoint of
these steps, so one evaluation costs about two of the energy. Drautz, Phys. Rev. B 99 (2019) 014104; Darby et al.,
Phys. Rev. Lett. 131 (2023) 028001 (coupled channels).

Arrays: q = z K + k counts species and radial function together (Q of them), lm = l² + l + m.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.couplings import MonomialTable, ProductPath, monomial_table, product_paths
from hpcmat_kernels.harmonics import degree_of_index, harmonics_into, recursion, scratch
from hpcmat_kernels.neighbors import NeighborList
from hpcmat_kernels.radial import check_radial, radial_into

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FAST = {"contract", "reassoc", "arcp", "nsz"}
"""Floating-point freedom of the loops: reordering, yet NaN and infinity stay what they are."""


@dataclass(frozen=True, slots=True, eq=False)
class AceModel:
    """What defines the features: everything but the coefficients."""

    n_species: int
    n_radial: int
    l_max: int
    cutoff: float
    """Å"""
    inner: float
    """Å"""
    mixing: Floats
    """W, shape (n_species, l_max + 1, Q, C)."""
    paths: tuple[ProductPath, ...]
    table: MonomialTable

    @property
    def n_density(self) -> int:
        """Q, species times radial functions."""
        return self.n_species * self.n_radial

    @property
    def n_channels(self) -> int:
        """C."""
        return int(self.mixing.shape[3])

    @property
    def n_pairs(self) -> int:
        """Number of pairs q <= q'."""
        return self.n_density * (self.n_density + 1) // 2

    @property
    def n_features_per_species(self) -> int:
        """Constant, Q, (l_max + 1) pairs, P C."""
        return 1 + self.n_density + (self.l_max + 1) * self.n_pairs + len(self.paths) * self.n_channels

    @property
    def n_features(self) -> int:
        """Features of all central species together."""
        return self.n_species * self.n_features_per_species


def ace_model(mixing: ArrayLike, cutoff: float, inner: float, degrees: tuple[int, int]) -> AceModel:
    """Model with channel mixing W (n_species, l_max + 1, Q, C) and products up to `degrees` (ν = 3, ν = 4).

    Raises
    ------
    ValueError
        Where the shape of the mixing, the cutoffs or the degrees do not fit together.
    """
    w = np.ascontiguousarray(mixing, dtype=np.float64)
    if w.ndim != 4 or w.shape[2] % w.shape[0] or not np.isfinite(w).all():
        raise ValueError(f"The mixing must be finite and (species, l + 1, species K, C), not {w.shape}: check it.")
    n_species, l_max, n_radial = w.shape[0], w.shape[1] - 1, w.shape[2] // w.shape[0]
    check_radial(n_radial, cutoff, inner)
    if max(degrees) > l_max:
        raise ValueError(f"Products up to degrees {degrees} need densities of that degree, not {l_max}: lower them.")
    paths = product_paths(*degrees)
    return AceModel(n_species, n_radial, l_max, float(cutoff), float(inner), w, paths, monomial_table(paths))


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """The coefficient vector, cut into the arrays of the kernel."""

    constant: Floats
    """(n_species,) eV"""
    linear: Floats
    """(n_species, Q)"""
    pair: Floats
    """(n_species, l_max + 1, Q, Q), symmetric"""
    product: Floats
    """(n_species, P, C)"""


def split_coefficients(model: AceModel, vector: ArrayLike) -> Coefficients:
    """Cut a vector (n_features,) in eV into blocks.

    Per species: constant, linear (Q), pairs l-major over q <= q' (off-diagonal ones stand for both orders), products
    path-major.

    Raises
    ------
    ValueError
        Where the length is not that of the model, or a number is not finite.
    """
    flat = np.asarray(vector, dtype=np.float64)
    if flat.shape != (model.n_features,) or not np.isfinite(flat).all():
        raise ValueError(f"The model has {model.n_features} finite coefficients, not shape {flat.shape}: fit it again.")
    blocks = flat.reshape(model.n_species, -1)
    n_q, n_l = model.n_density, model.l_max + 1
    end_pairs = 1 + n_q + n_l * model.n_pairs
    rows, columns = np.triu_indices(n_q)
    upper = blocks[:, 1 + n_q : end_pairs].reshape(model.n_species, n_l, -1)
    pair = np.zeros((model.n_species, n_l, n_q, n_q))
    pair[:, :, rows, columns] = upper
    pair[:, :, columns, rows] = upper
    product = blocks[:, end_pairs:].reshape(model.n_species, len(model.paths), model.n_channels)
    return Coefficients(
        blocks[:, 0].copy(), np.ascontiguousarray(blocks[:, 1 : 1 + n_q]), pair, np.ascontiguousarray(product)
    )


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Energies and their derivatives for one structure."""

    site_energies: Floats
    """(n,) eV"""
    forces: Floats
    """(n, 3) eV/Å"""
    virial: Floats
    """(6,) eV, dE/dε in the order xx yy zz yz xz xy: divided by the volume it is the stress, positive in tension."""


def evaluate(model: AceModel, coefficients: Coefficients, neighbors: NeighborList, species: ArrayLike) -> Evaluation:
    """Site energies, forces and virial.

    Parameters
    ----------
    neighbors : pairs within `model.cutoff` (pairs beyond it contribute nothing).
    species : (n,) index of the species of each atom, 0 <= index < n_species.

    Raises
    ------
    ValueError
        Where a species index is out of range or the number of atoms differs.
    """
    z = check_species(model, neighbors, species)
    energies, gradients = _site_energies(
        pairs_of(neighbors), z, shape_of(model), tables_of(model),
        (coefficients.constant, coefficients.linear, coefficients.pair, coefficients.product),
    )  # fmt: skip
    forces, virial = _gather(pairs_of(neighbors), gradients)
    return Evaluation(energies, forces, virial)


def densities(model: AceModel, neighbors: NeighborList, species: ArrayLike) -> Floats:
    """Densities A (n, lm, Q) of every atom; errors as `evaluate`."""
    z = check_species(model, neighbors, species)
    result: Floats = _all_densities(pairs_of(neighbors), z, shape_of(model), tables_of(model))
    return result


def check_species(model: AceModel, neighbors: NeighborList, species: ArrayLike) -> Ints:
    """Species as contiguous integers, checked."""
    z = np.ascontiguousarray(species, dtype=np.int64)
    if z.shape != (len(neighbors.offsets) - 1,):
        raise ValueError(f"{len(neighbors.offsets) - 1} atoms but species of shape {z.shape}: give one per atom.")
    if z.min() < 0 or z.max() >= model.n_species:
        raise ValueError(f"Species must be 0 .. {model.n_species - 1}, not {z.min()} .. {z.max()}: map them first.")
    return z


def pairs_of(neighbors: NeighborList) -> tuple[Ints, Ints, Floats]:
    """Arrays of a neighbour list in the order of the compiled loops."""
    return neighbors.offsets, neighbors.second, neighbors.vectors


def shape_of(model: AceModel) -> tuple[int, int, float, float]:
    """Numbers of a model in the order of the compiled loops."""
    return model.n_species, model.n_radial, model.cutoff, model.inner


def tables_of(model: AceModel) -> tuple[Any, ...]:
    """Arrays of a model in the order of the compiled loops."""
    table = model.table
    return (
        recursion(model.l_max), degree_of_index(model.l_max), model.mixing,
        table.starts, table.factors, table.coefficients,
    )  # fmt: skip


@njit(cache=True, fastmath=FAST)
def neighbour_basis(vector: Any, cutoff: Any, inner: Any, legendre: Any, table: Any, row: Any) -> Any:
    """Write radial functions and harmonics of one neighbour into `row` = (g, dg, Y, dY, direction); returns r."""
    values, slopes, angular, gradient, direction = row
    distance = np.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
    for a in range(3):
        direction[a] = vector[a] / distance
    radial_into(distance, cutoff, inner, values, slopes)
    harmonics_into(direction, legendre, table, angular, gradient)
    return distance


@njit(cache=True, fastmath=FAST)
def add_density(density: Any, start: Any, radial: Any, angular: Any) -> None:
    """density[lm, start + k] += Y_lm g_k."""
    for lm in range(len(angular)):
        for k in range(len(radial)):
            density[lm, start + k] += angular[lm] * radial[k]


@njit(cache=True, fastmath=FAST)
def mix(density: Any, mixing: Any, degree: Any, channels: Any) -> None:
    """channels[lm, c] = Σ_q W[l, q, c] density[lm, q]."""
    channels[:] = 0.0
    for lm in range(len(density)):
        for q in range(density.shape[1]):
            for c in range(channels.shape[1]):
                channels[lm, c] += mixing[degree[lm], q, c] * density[lm, q]


@njit(cache=True, fastmath=FAST)
def _add_products(channels: Any, theta: Any, starts: Any, factors: Any, weights: Any, adjoint: Any) -> Any:
    """Energy of the products; adds dE/dA to `adjoint`."""
    energy = 0.0
    for p in range(len(starts) - 1):
        for m in range(starts[p], starts[p + 1]):
            ia, ib, ic, id_ = factors[m, 0], factors[m, 1], factors[m, 2], factors[m, 3]
            if id_ < 0:
                for c in range(channels.shape[1]):
                    t = theta[p, c] * weights[m]
                    a, b, d = channels[ia, c], channels[ib, c], channels[ic, c]
                    energy += t * a * b * d
                    adjoint[ia, c] += t * b * d
                    adjoint[ib, c] += t * a * d
                    adjoint[ic, c] += t * a * b
            else:
                for c in range(channels.shape[1]):
                    t = theta[p, c] * weights[m]
                    a, b, d, f = channels[ia, c], channels[ib, c], channels[ic, c], channels[id_, c]
                    ab, df = a * b, d * f
                    energy += t * ab * df
                    adjoint[ia, c] += t * b * df
                    adjoint[ib, c] += t * a * df
                    adjoint[ic, c] += t * ab * f
                    adjoint[id_, c] += t * ab * d
    return energy


@njit(cache=True, fastmath=FAST)
def _add_linear_and_pairs(density: Any, degree: Any, linear: Any, pair: Any, adjoint: Any) -> Any:
    """Energy of the one- and two-factor terms; adds dE/dA to `adjoint`."""
    energy = 0.0
    for q in range(len(linear)):
        energy += linear[q] * density[0, q]
        adjoint[0, q] += linear[q]
    for lm in range(len(density)):
        for q in range(density.shape[1]):
            row = 0.0
            for other in range(density.shape[1]):
                row += pair[degree[lm], q, other] * density[lm, other]
            energy += row * density[lm, q]
            adjoint[lm, q] += 2.0 * row
    return energy


@njit(cache=True, fastmath=FAST)
def _unmix(channel_adjoint: Any, mixing: Any, degree: Any, adjoint: Any) -> None:
    """adjoint[lm, q] = Σ_c W[l, q, c] channel_adjoint[lm, c]."""
    for lm in range(len(adjoint)):
        for q in range(adjoint.shape[1]):
            total = 0.0
            for c in range(channel_adjoint.shape[1]):
                total += mixing[degree[lm], q, c] * channel_adjoint[lm, c]
            adjoint[lm, q] = total


@njit(cache=True, fastmath=FAST)
def _pair_gradient(adjoint: Any, start: Any, distance: Any, row: Any, gradient: Any) -> None:
    """dE_i/dr_ij from the adjoint density: chain rule through g_k(r) and Y_lm(r / |r|)."""
    values, slopes, angular, angular_gradient, direction = row
    radial_part, vx, vy, vz = 0.0, 0.0, 0.0, 0.0
    for lm in range(len(angular)):
        along, across = 0.0, 0.0
        for k in range(len(values)):
            along += adjoint[lm, start + k] * slopes[k]
            across += adjoint[lm, start + k] * values[k]
        radial_part += along * angular[lm]
        vx += across * angular_gradient[lm, 0]
        vy += across * angular_gradient[lm, 1]
        vz += across * angular_gradient[lm, 2]
    x, y, z = direction[0], direction[1], direction[2]
    radial_part -= (x * vx + y * vy + z * vz) / distance
    gradient[0] = vx / distance + radial_part * x
    gradient[1] = vy / distance + radial_part * y
    gradient[2] = vz / distance + radial_part * z


@njit(cache=True)
def largest_count(offsets: Any) -> Any:
    """Largest number of neighbours of an atom."""
    largest = 0
    for i in range(len(offsets) - 1):
        largest = max(largest, offsets[i + 1] - offsets[i])
    return largest


@njit(cache=True, fastmath=FAST)
def _site_energies(pairs: Any, species: Any, shape: Any, tables: Any, theta: Any) -> Any:
    offsets, second, vectors = pairs
    n_species, n_radial, cutoff, inner = shape
    legendre, degree, mixing, starts, factors, weights = tables
    constant, linear, pair, product = theta
    n_lm, n_q, n_c, rows = len(degree), n_species * n_radial, mixing.shape[3], largest_count(offsets)
    g, dg, y = np.empty((rows, n_radial)), np.empty((rows, n_radial)), np.empty((rows, n_lm))
    dy, direction, distance = np.empty((rows, n_lm, 3)), np.empty((rows, 3)), np.empty(rows)
    table = scratch(legendre)
    density, adjoint = np.empty((n_lm, n_q)), np.empty((n_lm, n_q))
    channels, channel_adjoint = np.empty((n_lm, n_c)), np.empty((n_lm, n_c))
    energies, gradients = np.empty(len(species)), np.empty((len(second), 3))
    for i in range(len(species)):
        z, begin = species[i], offsets[i]
        density[:] = 0.0
        for p in range(begin, offsets[i + 1]):
            row = p - begin
            distance[row] = neighbour_basis(
                vectors[p], cutoff, inner, legendre, table, (g[row], dg[row], y[row], dy[row], direction[row])
            )
            add_density(density, species[second[p]] * n_radial, g[row], y[row])
        mix(density, mixing[z], degree, channels)
        channel_adjoint[:] = 0.0
        energy = constant[z] + _add_products(channels, product[z], starts, factors, weights, channel_adjoint)
        _unmix(channel_adjoint, mixing[z], degree, adjoint)
        energies[i] = energy + _add_linear_and_pairs(density, degree, linear[z], pair[z], adjoint)
        for p in range(begin, offsets[i + 1]):
            row = p - begin
            start = species[second[p]] * n_radial
            if distance[row] >= cutoff:
                gradients[p] = 0.0
                continue
            _pair_gradient(
                adjoint, start, distance[row], (g[row], dg[row], y[row], dy[row], direction[row]), gradients[p]
            )
    return energies, gradients


@njit(cache=True, fastmath=FAST)
def _gather(pairs: Any, gradients: Any) -> Any:
    """Forces and virial from dE_i/dr_ij."""
    offsets, second, vectors = pairs
    forces = np.zeros((len(offsets) - 1, 3))
    virial = np.zeros(6)
    for i in range(len(offsets) - 1):
        for p in range(offsets[i], offsets[i + 1]):
            r, d, j = vectors[p], gradients[p], second[p]
            for a in range(3):
                forces[i, a] += d[a]
                forces[j, a] -= d[a]
                virial[a] += r[a] * d[a]
            virial[3] += 0.5 * (r[1] * d[2] + r[2] * d[1])
            virial[4] += 0.5 * (r[0] * d[2] + r[2] * d[0])
            virial[5] += 0.5 * (r[0] * d[1] + r[1] * d[0])
    return forces, virial


@njit(cache=True, fastmath=FAST)
def _all_densities(pairs: Any, species: Any, shape: Any, tables: Any) -> Any:
    offsets, second, vectors = pairs
    n_species, n_radial, cutoff, inner = shape
    legendre, degree = tables[0], tables[1]
    table = scratch(legendre)
    g, dg, y = np.empty(n_radial), np.empty(n_radial), np.empty(len(degree))
    dy, direction = np.empty((len(degree), 3)), np.empty(3)
    result = np.zeros((len(species), len(degree), n_species * n_radial))
    for i in range(len(species)):
        for p in range(offsets[i], offsets[i + 1]):
            neighbour_basis(vectors[p], cutoff, inner, legendre, table, (g, dg, y, dy, direction))
            add_density(result[i], species[second[p]] * n_radial, g, y)
    return result
