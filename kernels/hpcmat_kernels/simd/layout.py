"""Where things lie in the scratch vector of an atom and in the parameter vector of a species.

Rows are padded with zeros to whole vectors. K' is the padded number of radial functions, Q' = species * K' the padded
length of a density row, C' the padded number of channels. Neighbours come in blocks of eight, all of one species.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numba.core import types
from numba.core.datamodel.models import OpaqueModel
from numba.extending import NativeValue, register_jitable, register_model, typeof_impl, unbox
from numpy.typing import NDArray

from hpcmat_kernels.simd.emitter import LANES
from hpcmat_kernels.simd.plan import PathDegrees, weights_in_order

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class KernelShape:
    """What the compiled code depends on; all other numbers of a model are arguments."""

    n_species: int
    n_radial: int
    l_max: int
    n_channels: int
    paths: tuple[PathDegrees, ...]
    core: bool = False
    """Whether the radial functions are switched off at small distances."""

    @property
    def n_lm(self) -> int:
        """Number of harmonics."""
        return (self.l_max + 1) ** 2

    @property
    def n_density(self) -> int:
        """Q."""
        return self.n_species * self.n_radial

    @property
    def radial_row(self) -> int:
        """K'."""
        return padded(self.n_radial)

    @property
    def density_row(self) -> int:
        """Q'."""
        return self.n_species * self.radial_row

    @property
    def channel_row(self) -> int:
        """C'."""
        return padded(self.n_channels)

    @cached_property
    def scratch(self) -> Scratch:
        """Places in the scratch vector."""
        return Scratch.of(self)

    @cached_property
    def block(self) -> Block:
        """Places in a block of neighbours."""
        return Block.of(self)

    @cached_property
    def parameters(self) -> Parameters:
        """Places in the parameter vector."""
        return Parameters.of(self)


@register_jitable
def padded(count: int) -> int:
    """`count` rounded up to whole vectors."""
    return -(-count // LANES) * LANES


def _places(*lengths: int) -> list[int]:
    """Start of each of consecutive pieces, and the end of the last."""
    return [0, *np.cumsum(lengths).tolist()]


@dataclass(frozen=True)
class Scratch:
    """Scratch vector of one atom; the blocks of its neighbours follow."""

    density: int
    """A (lm, Q')"""
    adjoint: int
    """dE/dA (lm, Q')"""
    channels: int
    """A_c (lm, C')"""
    channel_adjoint: int
    """dE/dA_c (lm, C')"""
    energy: int
    """(8) partial sums over channels"""
    virial: int
    """(6, 8) partial sums over neighbours"""
    across: int
    """Q (lm, 8) of the block at hand: what the harmonics of its neighbours are multiplied by"""
    blocks: int

    @classmethod
    def of(cls, shape: KernelShape) -> Scratch:
        """Places for one shape."""
        density, channels = shape.n_lm * shape.density_row, shape.n_lm * shape.channel_row
        return cls(*_places(density, density, channels, channels, LANES, 6 * LANES, LANES * shape.n_lm))


@dataclass(frozen=True)
class Block:
    """Block of eight neighbours: rows with one lane per neighbour, but `by_neighbour` has one row per neighbour."""

    vector: int
    """(3, 8): first r_ij, then its direction"""
    gradient: int
    """(3, 8): dE_i/dr_ij"""
    distance: int
    inverse: int
    radial: int
    """g (K, 8)"""
    slopes: int
    """dg/dr (K, 8)"""
    harmonics: int
    """Y (lm, 8)"""
    by_neighbour: int
    """g (8, K')"""
    size: int

    @classmethod
    def of(cls, shape: KernelShape) -> Block:
        """Places for one shape."""
        k, lm = shape.n_radial, shape.n_lm
        return cls(*(LANES * place for place in _places(3, 3, 1, 1, k, k, lm, shape.radial_row)))


@dataclass(frozen=True)
class Parameters:
    """Parameters of one central species."""

    mixing: int
    """W (l, Q', C')"""
    unmixing: int
    """Transpose of W (l, C', Q')"""
    pair: int
    """2 theta_2 (l, Q', Q')"""
    linear: int
    """theta_1 (Q')"""
    product: int
    """theta (P, C')"""
    weights: int
    """`plan.weights_in_order`"""
    size: int

    @classmethod
    def of(cls, shape: KernelShape) -> Parameters:
        """Places for one shape."""
        q, c, n_l = shape.density_row, shape.channel_row, shape.l_max + 1
        n_weights = len(weights_in_order(shape.paths))
        return cls(*_places(n_l * q * c, n_l * c * q, n_l * q * q, q, len(shape.paths) * c, padded(n_weights)))


def pack_parameters(
    shape: KernelShape, mixing: Floats, coefficients: tuple[Floats, Floats, Floats], packed: Floats
) -> None:
    """Write parameter vectors (species, size) from W (z, l, Q, C) and theta_1 (z, Q), theta_2 (z, l, Q, Q), theta."""
    linear, pair, product = coefficients
    w = _pad_channels(shape, _pad_density(shape, mixing, 2))
    two = 2.0 * _pad_density(shape, _pad_density(shape, pair, 2), 3)
    weights = weights_in_order(shape.paths)
    weights = np.pad(weights, (0, padded(len(weights)) - len(weights)))
    everywhere = np.tile(weights, (shape.n_species, 1))
    pieces = (w, w.swapaxes(2, 3), two, _pad_density(shape, linear, 1), _pad_channels(shape, product), everywhere)
    np.concatenate([piece.reshape(shape.n_species, -1) for piece in pieces], axis=1, out=packed)


def _pad_density(shape: KernelShape, array: Floats, axis: int) -> Floats:
    """Pad an axis of length Q to Q', species by species."""
    split = array.reshape(*array.shape[:axis], shape.n_species, shape.n_radial, *array.shape[axis + 1 :])
    widths = [(0, 0)] * split.ndim
    widths[axis + 1] = (0, shape.radial_row - shape.n_radial)
    return np.pad(split, widths).reshape(*array.shape[:axis], shape.density_row, *array.shape[axis + 1 :])


def _pad_channels(shape: KernelShape, array: Floats) -> Floats:
    widths = [(0, 0)] * (array.ndim - 1)
    return np.pad(array, [*widths, (0, shape.channel_row - shape.n_channels)])


def aligned(size: tuple[int, ...]) -> Floats:
    """Zeros that start on a cache line, so that no vector straddles two."""
    count = int(np.prod(size))
    raw = np.zeros(count + LANES)
    start = (-raw.ctypes.data // raw.itemsize) % LANES
    return raw[start : start + count].reshape(size)


class ShapeType(types.Opaque):
    """Numba's type of a shape: each shape has code of its own, kept on disk by the name of this type."""

    def __init__(self, shape: KernelShape) -> None:
        self.shape = shape
        super().__init__(f"KernelShape({shape!r}, {_source_digest()})")


@lru_cache(maxsize=1)
def _source_digest() -> str:
    """Digest of all modules that emit code: Numba itself sees changes only in the file of the compiled function."""
    folder = Path(__file__).parent
    sources = [folder / f"{name}.py" for name in ("emitter", "layout", "plan", "products", "stages")]
    sources += [folder.parent / f"{name}.py" for name in ("harmonics", "couplings")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


register_model(ShapeType)(OpaqueModel)


@lru_cache(maxsize=64)
def shape_type(shape: KernelShape) -> ShapeType:
    """Numba's type of `shape`."""
    return ShapeType(shape)


@typeof_impl.register(KernelShape)
def _typeof_shape(shape: KernelShape, _context: Any) -> ShapeType:
    return shape_type(shape)


@unbox(ShapeType)
def _unbox_shape(_type: ShapeType, _object: Any, context: Any) -> Any:
    return NativeValue(context.context.get_dummy_value())
