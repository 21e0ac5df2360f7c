"""Energy of the cluster expansion as a differentiable JAX function.

Forces are minus its gradient with respect to positions; the gradient with respect to the strain ε (positions and cell
multiplied by 1 + ε from the right) divided by the volume is the stress, positive under tension.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.ace import AceModel, Coefficients, check_species
from hpcmat_kernels.harmonics import degree_of_index, normalisation
from hpcmat_kernels.neighbors import NeighborList
from hpcmat_kernels.radial import NO_CORE

EnergyFunction = Callable[[ArrayLike, ArrayLike], jax.Array]


def energy_function(
    model: AceModel, coefficients: Coefficients, neighbors: NeighborList, cell: ArrayLike, species: ArrayLike
) -> EnergyFunction:
    """Function (positions (n, 3) Å, strain (3, 3)) -> energy in eV, for the fixed pairs of `neighbors`.

    Raises
    ------
    ValueError
        Where species and neighbours do not fit the model.
    """
    z = check_species(model, neighbors, species)
    lattice = jnp.asarray(cell)

    def energy(positions: ArrayLike, strain: ArrayLike) -> jax.Array:
        r = jnp.asarray(positions)
        vectors = r[neighbors.second] + neighbors.shifts @ lattice - r[neighbors.first]
        strained = vectors @ (jnp.eye(3) + jnp.asarray(strain))
        return site_energies(model, coefficients, strained, neighbors, z).sum()

    return energy


def site_energies(
    model: AceModel, coefficients: Coefficients, vectors: jax.Array, neighbors: NeighborList, species: NDArray[np.int64]
) -> jax.Array:
    """Energies (n,) eV from pair vectors (p, 3) Å."""
    density = _density(model, vectors, neighbors, species)
    degree = degree_of_index(model.l_max)
    channels = jnp.einsum("naq,naqc->nac", density, jnp.asarray(model.mixing)[species][:, degree])
    linear = jnp.einsum("nq,nq->n", density[:, 0], coefficients.linear[species])
    pairs = jnp.einsum("naq,naqp,nap->n", density, coefficients.pair[species][:, degree], density)
    products = jnp.einsum("npc,npc->n", _products(model, channels), coefficients.product[species])
    return jnp.asarray(coefficients.constant[species]) + linear + pairs + products


def _density(model: AceModel, vectors: jax.Array, neighbors: NeighborList, species: NDArray[np.int64]) -> jax.Array:
    distance = jnp.sqrt((vectors**2).sum(axis=1))
    angular = _harmonics(vectors / distance[:, None], model.l_max)
    terms = angular[:, :, None] * _radial(model, distance)[:, None, :]
    n = len(species)
    # One segment per atom and species of the neighbour.
    segment = neighbors.first * model.n_species + species[neighbors.second]
    sums = jax.ops.segment_sum(terms, jnp.asarray(segment), num_segments=n * model.n_species)
    split = sums.reshape(n, model.n_species, angular.shape[1], model.n_radial)
    return split.transpose(0, 2, 1, 3).reshape(n, angular.shape[1], model.n_density)


def _radial(model: AceModel, distance: jax.Array) -> jax.Array:
    s = (2 * distance - model.cutoff - model.inner) / (model.cutoff - model.inner)
    polynomials = [jnp.ones_like(s), s]
    for _ in range(2, model.n_radial):
        polynomials.append(2 * s * polynomials[-1] - polynomials[-2])
    envelope = jnp.maximum(0.0, 1 - distance / model.cutoff) ** 3
    if model.core != NO_CORE:
        start, end = model.core
        t = jnp.clip((distance - start) / (end - start), 0.0, 1.0)
        envelope = envelope * t**3 * (10.0 + t * (6.0 * t - 15.0))
    return jnp.stack(polynomials, axis=1) * envelope[:, None]


def _harmonics(direction: jax.Array, l_max: int) -> jax.Array:
    x, y, z = direction.T
    norms = normalisation(l_max)
    cosine, sine = [jnp.ones_like(x)], [jnp.zeros_like(x)]
    for _ in range(l_max):
        cosine, sine = (
            [*cosine, x * cosine[-1] - y * sine[-1]],
            [*sine, x * sine[-1] + y * cosine[-1]],
        )
    columns: list[jax.Array] = [jnp.zeros_like(x)] * (l_max + 1) ** 2
    for degree in range(l_max + 1):
        for m in range(degree + 1):
            legendre = np.polynomial.Legendre.basis(degree).deriv(m).convert(kind=np.polynomial.Polynomial)
            polynomial = norms[degree, m] * jnp.polyval(jnp.asarray(legendre.coef[::-1]), z)
            columns[degree * degree + degree + m] = polynomial * cosine[m]
            if m:
                columns[degree * degree + degree - m] = polynomial * sine[m]
    return jnp.stack(columns, axis=1)


def _products(model: AceModel, channels: jax.Array) -> jax.Array:
    """B_p(A_c) (n, P, C); a component of ones stands for the missing fourth factor."""
    table = model.table
    padded = jnp.concatenate([channels, jnp.ones_like(channels[:, :1])], axis=1)
    factors = np.where(table.factors < 0, channels.shape[1], table.factors)
    monomials = table.coefficients[:, None] * jnp.prod(padded[:, factors], axis=2)
    path = np.repeat(np.arange(len(model.paths)), np.diff(table.starts))
    summed = jax.ops.segment_sum(monomials.transpose(1, 0, 2), jnp.asarray(path), num_segments=len(model.paths))
    return summed.transpose(1, 0, 2)
