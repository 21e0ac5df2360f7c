r"""Linear atomic cluster expansion with coupled channels: site energies, forces and virial.

With neighbours j of atom i, species z, radial functions g_k, harmonics Y_lm and W the channel mixing:

    A_{(zk),lm} = Σ_{j of species z} g_k(r_ij) Y_lm(r̂_ij)                                  density
    A_{c,lm}    = Σ_{zk} W^{z_i}_{l,(zk),c} A_{(zk),lm}                                      channels
    E_i = θ0 + Σ θ1_{zk} A_{(zk),00} + Σ_l Σ θ2_{l,(zk),(z'k')} Σ_m A A + Σ_p Σ_c θ_{pc} B_p(A_c)

where all θ belong to the species of atom i and B_p are the products of `couplings`. Forces come from the adjoint of
these steps, so one evaluation costs about two of the energy. Drautz, Phys. Rev. B 99 (2019) 014104; Darby et al.,
Phys. Rev. Lett. 131 (2023) 028001 (coupled channels).

With an inner core every g_k is switched off towards small distances (`radial`), and a site's energy tends to its θ0
there: add a repulsive pair potential.

Arrays: q = z K + k counts species and radial function together (Q of them), lm = l² + l + m.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.couplings import MonomialTable, ProductPath, monomial_table, product_paths
from hpcmat_kernels.harmonics import harmonics_into, recursion, scratch
from hpcmat_kernels.neighbors import NeighborList
from hpcmat_kernels.radial import NO_CORE, check_core, check_radial, core_into, radial_into
from hpcmat_kernels.simd.evaluation import Constants, Pairs, Radii, evaluate_arrays
from hpcmat_kernels.simd.layout import KernelShape, aligned, pack_parameters

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OPEN = (-1.0, 0.0)
"""A core that leaves all distances alone, for compiled loops that divide by its width."""
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
    core: Floats
    """(n_species, n_species, 2) Å: of two species, the radial functions vanish below the first radius and are whole
    beyond the second (`radial`); `NO_CORE` where they reach down to zero."""

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


def ace_model(
    mixing: ArrayLike, cutoff: float, inner: float, degrees: tuple[int, int], core: ArrayLike = NO_CORE
) -> AceModel:
    """Model with channel mixing W (n_species, l_max + 1, Q, C) and products up to `degrees` (ν = 3, ν = 4).

    `core` = (r_0, r_1) Å switches the model off towards small distances: one for all pairs of species, or
    (n_species, n_species, 2), symmetric.

    Raises
    ------
    ValueError
        Where the shape of the mixing, the cutoffs, the core or the degrees do not fit together.
    """
    w = np.array(mixing, dtype=np.float64, order="C")
    w.setflags(write=False)
    if w.ndim != 4 or w.shape[2] % w.shape[0] or not np.isfinite(w).all():
        raise ValueError(f"The mixing must be finite and (species, l + 1, species K, C), not {w.shape}: check it.")
    n_species, l_max, n_radial = w.shape[0], w.shape[1] - 1, w.shape[2] // w.shape[0]
    check_radial(n_radial, cutoff, inner)
    if max(degrees) > l_max:
        raise ValueError(f"Products up to degrees {degrees} need densities of that degree, not {l_max}: lower them.")
    paths = product_paths(*degrees)
    table = _core_table(core, n_species, cutoff)
    return AceModel(n_species, n_radial, l_max, float(cutoff), float(inner), w, paths, monomial_table(paths), table)


def _core_table(core: ArrayLike, n_species: int, cutoff: float) -> Floats:
    radii = np.asarray(core, dtype=np.float64)
    for pair in radii.reshape(-1, radii.shape[-1] if radii.ndim else 1):
        check_core(pair.tolist(), cutoff)
    table: Floats = np.broadcast_to(radii, (n_species, n_species, 2)).copy()
    if not np.array_equal(table, table.swapaxes(0, 1)):
        raise ValueError("The core of two species must be the same either way round: make the table symmetric.")
    table.setflags(write=False)
    return table


@dataclass(frozen=True, slots=True, eq=False)
class Coefficients:
    """The coefficient vector, cut into the arrays of the kernel; not to be changed in place."""

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
    arrays = blocks[:, 0].copy(), blocks[:, 1 : 1 + n_q].copy(), pair, product.copy()
    for array in arrays:
        array.setflags(write=False)
    return Coefficients(*arrays)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Energies and their derivatives for one structure."""

    site_energies: Floats
    """(n,) eV"""
    forces: Floats
    """(n, 3) eV/Å"""
    virial: Floats
    """(6,) eV, dE/dε in the order xx yy zz yz xz xy: divided by the volume it is the stress, positive in tension."""


def evaluate(
    model: AceModel, coefficients: Coefficients, neighbors: NeighborList, species: ArrayLike, threads: int = 1
) -> Evaluation:
    """Site energies, forces and virial.

    The first call for a shape of model compiles (seconds); the code is kept on disk for later processes.

    Parameters
    ----------
    neighbors : pairs within `model.cutoff` (pairs beyond it contribute nothing).
    species : (n,) index of the species of each atom, 0 <= index < n_species.
    threads : share the atoms among so many threads; the result is the same to the last bit.

    Raises
    ------
    ValueError
        Where a species index is out of range, the number of atoms differs, or threads < 1.
    """
    energies, forces, virials = evaluate_committee(model, (coefficients,), neighbors, species, threads)
    return Evaluation(energies[0], forces[0], virials[0])


def evaluate_committee(
    model: AceModel, committee: Sequence[Coefficients], neighbors: NeighborList, species: ArrayLike, threads: int = 1
) -> tuple[Floats, Floats, Floats]:
    """Site energies (M, n) eV, forces (M, n, 3) eV/Å and virials (M, 6) eV for M vectors of coefficients.

    The members share basis, densities and mixing; each has the very bits that `evaluate` gives. Keeps M times the
    gradients of all pairs, 24 M bytes a pair. Arguments as `evaluate`.

    Raises
    ------
    ValueError
        As `evaluate`, or where the committee is empty.
    """
    z = check_species(model, neighbors, species)
    if threads < 1:
        raise ValueError(f"At least one thread is needed, not {threads}: correct the argument.")
    shape, constants = kernel_of(model, tuple(committee))
    return evaluate_arrays(shape, pairs_of(neighbors), z, constants, threads)


@lru_cache(maxsize=8)
def kernel_of(model: AceModel, committee: tuple[Coefficients, ...]) -> tuple[KernelShape, Constants]:
    """Shape of the compiled code and the numbers it takes, kept for the models in use."""
    if not committee:
        raise ValueError("A committee needs at least one member: give its coefficients.")
    paths = tuple((path.degrees, path.intermediate) for path in model.paths)
    with_core = bool(model.core.any())
    shape = KernelShape(model.n_species, model.n_radial, model.l_max, model.n_channels, paths, with_core)
    parameters = aligned((len(committee), model.n_species, shape.parameters.size))
    for member, c in zip(parameters, committee, strict=True):
        pack_parameters(shape, model.mixing, (c.linear, c.pair, c.product), member)
    return shape, (radii_of(model), parameters, np.array([member.constant for member in committee]))


def densities(model: AceModel, neighbors: NeighborList, species: ArrayLike) -> Floats:
    """Densities A (n, lm, Q) of every atom; errors as `evaluate`."""
    z = check_species(model, neighbors, species)
    result: Floats = _all_densities(pairs_of(neighbors), z, shape_of(model), recursion(model.l_max))
    return result


def check_species(model: AceModel, neighbors: NeighborList, species: ArrayLike) -> Ints:
    """Species as contiguous integers, checked."""
    z = np.ascontiguousarray(species, dtype=np.int64)
    if z.shape != (len(neighbors.offsets) - 1,):
        raise ValueError(f"{len(neighbors.offsets) - 1} atoms but species of shape {z.shape}: give one per atom.")
    if z.min() < 0 or z.max() >= model.n_species:
        raise ValueError(f"Species must be 0 .. {model.n_species - 1}, not {z.min()} .. {z.max()}: map them first.")
    return z


def pairs_of(neighbors: NeighborList) -> Pairs:
    """Arrays of a neighbour list in the order of the compiled loops."""
    return neighbors.offsets, neighbors.second, neighbors.vectors


def radii_of(model: AceModel) -> Radii:
    """Cutoff, inner radius and cores (species, species, 2), Å, as the compiled loops take them."""
    return model.cutoff, model.inner, np.where(model.core.any(axis=2, keepdims=True), model.core, OPEN)


def shape_of(model: AceModel) -> tuple[int, int, Radii]:
    """Numbers of a model in the order of the compiled loops."""
    return model.n_species, model.n_radial, radii_of(model)


@njit(cache=True, nogil=True)
def pair_radii(radii: Any, centre: Any, other: Any) -> Any:
    """Cutoff, inner radius, start and end of the core of two species."""
    cutoff, inner, core = radii
    return cutoff, inner, core[centre, other, 0], core[centre, other, 1]


@njit(cache=True, nogil=True, fastmath=FAST)
def neighbour_basis(vector: Any, radii: Any, legendre: Any, table: Any, row: Any) -> Any:
    """Write radial functions and harmonics of one neighbour into `row` = (g, dg, Y, dY, direction); returns r.

    `radii` = (cutoff, inner radius, start and end of the core of the pair).
    """
    values, slopes, angular, gradient, direction = row
    distance = np.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
    for a in range(3):
        direction[a] = vector[a] / distance
    cutoff, inner, start, end = radii
    radial_into(distance, cutoff, inner, values, slopes)
    core_into(distance, (start, end), values, slopes)
    harmonics_into(direction, legendre, table, angular, gradient)
    return distance


@njit(cache=True, nogil=True, fastmath=FAST)
def add_density(density: Any, start: Any, radial: Any, angular: Any) -> None:
    """density[lm, start + k] += Y_lm g_k."""
    for lm in range(len(angular)):
        for k in range(len(radial)):
            density[lm, start + k] += angular[lm] * radial[k]


@njit(cache=True, nogil=True, fastmath=FAST)
def _all_densities(pairs: Any, species: Any, shape: Any, legendre: Any) -> Any:
    offsets, second, vectors = pairs
    n_species, n_radial, radii = shape
    table, n_lm = scratch(legendre), legendre.shape[1] ** 2
    g, dg, y = np.empty(n_radial), np.empty(n_radial), np.empty(n_lm)
    dy, direction = np.empty((n_lm, 3)), np.empty(3)
    result = np.zeros((len(species), n_lm, n_species * n_radial))
    for i in range(len(species)):
        for p in range(offsets[i], offsets[i + 1]):
            of_pair = pair_radii(radii, species[i], species[second[p]])
            neighbour_basis(vectors[p], of_pair, legendre, table, (g, dg, y, dy, direction))
            add_density(result[i], species[second[p]] * n_radial, g, y)
    return result
