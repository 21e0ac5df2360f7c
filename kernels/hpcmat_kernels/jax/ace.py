"""Energies, forces and virials of batches of structures, differentiable in every parameter.

Forces come from the gradient by the vectors of the pairs, F_i = Σ_j dE_i/dr_ij - dE_j/dr_ji, gathered from the pairs
that leave an atom and those that end at it: nothing scatters. Large batches are worked through some atoms at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from hpcmat_kernels.ace import AceModel
from hpcmat_kernels.jax.batch import Batch, check_precision
from hpcmat_kernels.jax.sites import AceShape, Weights, site_energies

CPU_ATOMS_AT_ONCE = 32
"""So that what is computed between lies in the cache: 512 atoms at once take twice as long per atom."""


class AceParameters(NamedTuple):
    """All that can be learned; a pytree."""

    mixing: jax.Array
    """W, (n_species, l_max + 1, Q, C)"""
    coefficients: jax.Array
    """θ, (n_features,) eV, ordered as in `hpcmat_kernels.ace.split_coefficients`."""


class BatchEvaluation(NamedTuple):
    """Results for one batch; places of the padding hold zero."""

    energies: jax.Array
    """(B,) eV"""
    site_energies: jax.Array
    """(M,) eV"""
    forces: jax.Array
    """(M, 3) eV/Å"""
    virials: jax.Array
    """(B, 6) eV, dE/dε in the order xx yy zz yz xz xy: divided by the volume it is the stress, positive in tension."""


def ace_parameters(model: AceModel, vector: ArrayLike, dtype: DTypeLike = np.float64) -> AceParameters:
    """Parameters from the mixing of a model and its coefficients (n_features,) in eV.

    Raises
    ------
    ValueError
        Where the length is not that of the model, a number is not finite, or float64 is switched off in JAX.
    """
    check_precision(dtype)
    theta, mixing = np.asarray(vector, dtype=dtype), model.mixing.astype(dtype)
    if theta.shape != (model.n_features,) or not np.isfinite(theta).all():
        raise ValueError(f"The model has {model.n_features} finite coefficients, not {theta.shape}: fit it again.")
    return AceParameters(jnp.asarray(mixing), jnp.asarray(theta))


def energies(parameters: AceParameters, shape: AceShape, batch: Batch, atoms_at_once: int | None = None) -> jax.Array:
    """Energies (B,) eV; arguments and errors as `energies_forces`."""
    _check(parameters, shape, batch)
    return _energies(parameters, batch, shape, _limit(atoms_at_once))


def energies_forces(
    parameters: AceParameters, shape: AceShape, batch: Batch, atoms_at_once: int | None = None
) -> BatchEvaluation:
    """Energies, forces and virials. Compiles once for each shape of model and of batch.

    Parameters
    ----------
    parameters : in float32, energies and forces agree with float64 to about 3e-6 of the largest.
    shape : `AceShape.of(model)`; a static argument where this function is compiled again.
    atoms_at_once : work on so many atoms or fewer at a time; by default 32 on a processor, all on an accelerator.

    Raises
    ------
    ValueError
        Where parameters, shape and batch do not fit together, or float64 is switched off in JAX.
    """
    _check(parameters, shape, batch)
    return _energies_forces(parameters, batch, shape, _limit(atoms_at_once))


def _check(parameters: AceParameters, shape: AceShape, batch: Batch) -> None:
    if parameters.mixing.dtype != batch.vectors.dtype or parameters.coefficients.dtype != batch.vectors.dtype:
        raise ValueError(
            f"Parameters are {parameters.mixing.dtype} and {parameters.coefficients.dtype} but the batch is "
            f"{batch.vectors.dtype}: make both of one type."
        )
    check_precision(batch.vectors.dtype)
    n_density = shape.n_species * shape.n_radial
    mixing = (shape.n_species, shape.l_max + 1, n_density, shape.n_channels)
    n_pairs = (shape.l_max + 1) * n_density * (n_density + 1) // 2
    features = shape.n_species * (1 + n_density + n_pairs + len(shape.paths) * shape.n_channels)
    if parameters.mixing.shape != mixing or parameters.coefficients.shape != (features,):
        raise ValueError(
            f"Mixing {parameters.mixing.shape} and coefficients {parameters.coefficients.shape} do not fit a model of "
            f"{mixing} and ({features},): take the parameters and the shape of one model."
        )


def _limit(atoms_at_once: int | None) -> int | None:
    if atoms_at_once is not None and atoms_at_once < 1:
        raise ValueError(f"At least one atom at a time, not {atoms_at_once}: correct the argument.")
    if atoms_at_once is None and jax.default_backend() == "cpu":
        return CPU_ATOMS_AT_ONCE
    return atoms_at_once


@partial(jax.jit, static_argnames=("shape", "limit"))
def _energies(parameters: AceParameters, batch: Batch, shape: AceShape, limit: int | None) -> jax.Array:
    sites = partial(site_energies, _weights(parameters, shape), shape)
    return _by_structure(_in_parts(sites, batch, limit), batch)


@partial(jax.jit, static_argnames=("shape", "limit"))
def _energies_forces(parameters: AceParameters, batch: Batch, shape: AceShape, limit: int | None) -> BatchEvaluation:
    weights = _weights(parameters, shape)

    def sites(vectors: jax.Array, kinds: jax.Array, species: jax.Array) -> tuple[jax.Array, jax.Array]:
        def total(moved: jax.Array) -> tuple[jax.Array, jax.Array]:
            values = site_energies(weights, shape, moved, kinds, species)
            return values.sum(), values

        gradient, values = jax.grad(total, has_aux=True)(vectors)
        return values, gradient

    values, gradient = _in_parts(sites, batch, limit)
    arriving = gradient.reshape(-1, 3).at[batch.arriving].get(mode="fill", fill_value=0)
    forces = gradient.sum(axis=1) - arriving.sum(axis=1)
    tensor = jnp.einsum("nka,nkb->nab", batch.vectors, gradient, precision=jax.lax.Precision.HIGHEST)
    symmetric = (tensor + tensor.transpose(0, 2, 1)) / 2
    voigt = jnp.stack([symmetric[:, a, b] for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))], axis=1)
    return BatchEvaluation(_by_structure(values, batch), values, forces, _by_structure(voigt, batch))


def _by_structure(values: jax.Array, batch: Batch) -> jax.Array:
    return jax.ops.segment_sum(values, batch.structure, len(batch.n_atoms), indices_are_sorted=True)


def _in_parts(work: Callable[..., Any], batch: Batch, limit: int | None) -> Any:
    """`work` (vectors, kinds, species) on equal parts of the atoms, the largest within the limit that halving gives.

    What a part computes between is computed again for a derivative, not kept: it would leave the cache.
    """
    n = part = len(batch.species)
    while limit is not None and part > limit and part % 2 == 0:
        part //= 2
    arrays = (batch.vectors, batch.kinds, batch.species)
    if part == n:
        return work(*arrays)
    parts = jax.tree.map(lambda array: array.reshape(n // part, part, *array.shape[1:]), arrays)
    results = jax.lax.map(jax.checkpoint(lambda operands: work(*operands)), parts)
    return jax.tree.map(lambda array: array.reshape(n, *array.shape[2:]), results)


def _weights(parameters: AceParameters, shape: AceShape) -> Weights:
    """Parameters in the blocks of the formulas."""
    n_density, n_degrees = shape.n_species * shape.n_radial, shape.l_max + 1
    n_pairs = n_density * (n_density + 1) // 2
    blocks = parameters.coefficients.reshape(shape.n_species, -1)
    constant, linear, pairs, product = jnp.split(
        blocks, np.cumsum([1, n_density, n_degrees * n_pairs]).tolist(), axis=1
    )
    place = np.zeros((n_density, n_density), dtype=np.int32)
    place[np.triu_indices(n_density)] = np.arange(n_pairs)
    place = np.maximum(place, place.T)
    symmetric = pairs.reshape(shape.n_species, n_degrees, n_pairs)[:, :, place]
    product = product.reshape(shape.n_species, len(shape.paths), shape.n_channels)
    return Weights(parameters.mixing, constant[:, 0], linear, symmetric, product)
