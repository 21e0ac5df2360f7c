"""Energies of atoms with K places for neighbours; see `hpcmat_kernels.ace` for the formulas.

Species enter as vectors of zeros and a one, all zeros for a place without an atom: then padding contributes nothing
to energies or derivatives, and no derivative by a parameter scatters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hpcmat_kernels.ace import AceModel
from hpcmat_kernels.harmonics import lm_index, recursion
from hpcmat_kernels.jax.products import product_energies
from hpcmat_kernels.radial import NO_CORE
from hpcmat_kernels.simd.plan import PathDegrees

EXACT = jax.lax.Precision.HIGHEST
"""Else an accelerator multiplies float32 matrices in 10 bits."""


@dataclass(frozen=True)
class AceShape:
    """What the compiled code depends on, besides the shape of a batch."""

    n_species: int
    n_radial: int
    l_max: int
    n_channels: int
    cutoff: float
    """Å"""
    inner: float
    """Å"""
    core: tuple[float, float]
    """Å, of all pairs of species"""
    paths: tuple[PathDegrees, ...]

    @classmethod
    def of(cls, model: AceModel) -> AceShape:
        """Shape of a model; raises ValueError where its pairs of species have different cores."""
        core = model.core[0, 0]
        if (model.core != core).any():
            raise ValueError("All pairs of species need one core here: give the model one, or none.")
        paths = tuple((path.degrees, path.intermediate) for path in model.paths)
        sizes = (model.n_species, model.n_radial, model.l_max, model.n_channels)
        return cls(*sizes, model.cutoff, model.inner, (float(core[0]), float(core[1])), paths)


class Weights(NamedTuple):
    """Mixing and coefficients, as `hpcmat_kernels.ace.Coefficients` cuts them."""

    mixing: jax.Array
    """(n_species, l_max + 1, Q, C)"""
    constant: jax.Array
    """(n_species,) eV"""
    linear: jax.Array
    """(n_species, Q)"""
    pair: jax.Array
    """(n_species, l_max + 1, Q, Q), symmetric"""
    product: jax.Array
    """(n_species, P, C)"""


def site_energies(
    weights: Weights, shape: AceShape, vectors: jax.Array, kinds: jax.Array, species: jax.Array
) -> jax.Array:
    """Energies (n,) eV of atoms with neighbours at `vectors` (n, K, 3) Å of species `kinds` (n, K)."""
    centre = jax.nn.one_hot(species, shape.n_species, dtype=vectors.dtype)
    density = _density(shape, vectors, kinds)
    # (lm, n, species, Q): one product of matrices then mixes with the weights of each atom's own species.
    own = density[:, :, None, :] * centre[:, :, None]
    energies = centre @ weights.constant
    energies += jnp.einsum("nzq,zq->n", own[0], weights.linear, precision=EXACT)
    channels = []
    for degree in range(shape.l_max + 1):
        rows = slice(degree**2, (degree + 1) ** 2)
        channels.append(jnp.einsum("anzq,zqc->anc", own[rows], weights.mixing[:, degree], precision=EXACT))
        other = jnp.einsum("anzq,zqp->anp", own[rows], weights.pair[:, degree], precision=EXACT)
        energies += (other * density[rows]).sum(axis=(0, 2))
    if not shape.paths:
        return energies
    theta = jnp.einsum("nz,zpc->pnc", centre, weights.product, precision=EXACT)
    return energies + product_energies(shape.paths, jnp.concatenate(channels), theta)


def _density(shape: AceShape, vectors: jax.Array, kinds: jax.Array) -> jax.Array:
    """A_{(zk),lm}, (lm, n, Q)."""
    # A vector of length zero has no direction, and NaN times zero is NaN.
    present = jnp.where(kinds[:, :, None] < 0, jnp.asarray([1, 0, 0], vectors.dtype), vectors)
    distance = jnp.sqrt((present**2).sum(axis=2))
    x, y, z = (present[:, :, a] / distance for a in range(3))
    angular = jnp.stack(_harmonics(shape.l_max, x, y, z), axis=1)
    radial = jnp.stack(_radial(shape, distance), axis=2)
    kind = jax.nn.one_hot(kinds, shape.n_species, dtype=vectors.dtype)
    split = (kind[:, :, :, None] * radial[:, :, None, :]).reshape(*kinds.shape, -1)
    return jnp.matmul(angular, split, precision=EXACT).transpose(1, 0, 2)


def _radial(shape: AceShape, distance: jax.Array) -> list[jax.Array]:
    s = (2 * distance - (shape.cutoff + shape.inner)) / (shape.cutoff - shape.inner)
    polynomials = [jnp.ones_like(s), s]
    for _ in range(2, shape.n_radial):
        polynomials.append(2 * s * polynomials[-1] - polynomials[-2])
    envelope = jnp.maximum(0, 1 - distance / shape.cutoff) ** 3
    if shape.core != NO_CORE:
        start, end = shape.core
        t = jnp.clip((distance - start) / (end - start), 0, 1)
        envelope *= t**3 * (10 + t * (6 * t - 15))
    return [polynomial * envelope for polynomial in polynomials]


def _harmonics(l_max: int, x: jax.Array, y: jax.Array, z: jax.Array) -> list[jax.Array]:
    """Y_lm in the order of `lm_index`, by the recursion of `harmonics.recursion`."""
    up, down, _ = recursion(l_max).tolist()
    cosine, sine = jnp.ones_like(x), jnp.zeros_like(x)
    values: dict[int, jax.Array] = {}
    for m in range(l_max + 1):
        before, legendre = jnp.zeros_like(z), jnp.full_like(z, up[m][m])
        for degree in range(m, l_max + 1):
            if degree > m:
                before, legendre = legendre, up[degree][m] * z * legendre - down[degree][m] * before
            values[lm_index(degree, -m)] = legendre * sine
            values[lm_index(degree, m)] = legendre * cosine
        cosine, sine = x * cosine - y * sine, x * sine + y * cosine
    return [values[lm] for lm in sorted(values)]
