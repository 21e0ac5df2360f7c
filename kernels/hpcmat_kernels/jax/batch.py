"""Structures of unequal sizes in arrays of few shapes, since JAX compiles once for each shape.

All atoms of a batch lie one after another on one axis, so only the end of it is padding. Atoms, neighbours per atom
and structures are rounded up to sizes 1, 2, 3, 4, 6, 8, 12, ... of a unit: at most two shapes per doubling, at most
half as much again (beyond twice the unit) is computed in vain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from hpcmat_kernels.ace import AceModel, check_species
from hpcmat_kernels.neighbors import NeighborList
from hpcmat_kernels.simd.sites import arriving_pairs

Ints = NDArray[np.int64]
Structure = tuple[NeighborList, ArrayLike]
"""Pairs and species (n,) of a structure."""

NOBODY = -1
"""Species of a place without an atom."""

UNIT = 8
"""Atoms, and neighbours per atom, come in multiples of this."""


class Batch(NamedTuple):
    """Structures b < B with M places for atoms and K for the neighbours of each; a pytree."""

    vectors: jax.Array
    """(M, K, 3) Å, from an atom to its neighbours; zero where there is none."""
    kinds: jax.Array
    """(M, K) species of the neighbours, `NOBODY` where there is none."""
    species: jax.Array
    """(M,) species of the atoms, `NOBODY` in the padding."""
    arriving: jax.Array
    """(M, K) places, counted along the flat axis (M K), of the pairs that end at the atom; M K where there is none."""
    structure: jax.Array
    """(M,) structure of each atom."""
    n_atoms: jax.Array
    """(B,) atoms of each structure, in the order of the atoms; zero in the padding."""


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Shape of a batch."""

    structures: int
    atoms: int
    neighbors: int

    def rounded(self) -> BatchSize:
        """The shape that is compiled for this one."""
        return BatchSize(bucket(self.structures), bucket(self.atoms, UNIT), bucket(self.neighbors, UNIT))

    def holds(self, other: BatchSize) -> bool:
        """Whether there is room for `other`."""
        return (
            self.structures >= other.structures and self.atoms >= other.atoms and self.neighbors >= other.neighbors
        )  # fmt: skip


def bucket(count: int, unit: int = 1) -> int:
    """Smallest of 1, 2, 3, 4, 6, 8, 12, ... units that holds `count`."""
    size = unit
    while size < count:
        # 2^k grows by half, 3 · 2^k by a third.
        units = size // unit
        size = unit * (2 if units == 1 else units * 3 // 2 if units & (units - 1) == 0 else units * 4 // 3)
    return size


def pad_batch(
    model: AceModel, structures: Sequence[Structure], dtype: DTypeLike = np.float64, size: BatchSize | None = None
) -> Batch:
    """One batch of `structures`, of the given size or of the next larger bucket.

    Parameters
    ----------
    structures : pairs within `model.cutoff` and species (n,) of each structure.
    dtype : float64 or float32, as the parameters.

    Raises
    ------
    ValueError
        Where there is no structure, a species is unknown, the size is too small, or float64 is switched off in JAX.
    """
    check_precision(dtype)
    needed, checked = _checked(model, structures)
    size = size or needed.rounded()
    if not size.holds(needed):
        raise ValueError(f"The structures need {needed}, more than {size}: enlarge it or take fewer structures.")
    counts = np.array([len(z) for _, z in checked])
    starts = np.cumsum(counts) - counts
    species = np.concatenate([z for _, z in checked])
    second = np.concatenate([pairs.second + start for (pairs, _), start in zip(checked, starts, strict=True)])
    leaving = np.concatenate([np.diff(pairs.offsets) for pairs, _ in checked])
    rows, slots = _places(leaving)
    vectors = np.zeros((size.atoms, size.neighbors, 3), dtype=dtype)
    vectors[rows, slots] = np.concatenate([pairs.vectors for pairs, _ in checked])
    kinds = np.full((size.atoms, size.neighbors), NOBODY, dtype=np.int32)
    kinds[rows, slots] = species[second]
    arriving = np.full((size.atoms, size.neighbors), size.atoms * size.neighbors, dtype=np.int32)
    ends, order = arriving_pairs(second, len(species))
    arriving[_places(np.diff(ends))] = (rows * size.neighbors + slots)[order]
    arrays = (
        vectors, kinds, _extended(species, size.atoms, NOBODY), arriving,
        _extended(np.repeat(np.arange(len(counts)), counts), size.atoms, size.structures - 1),
        _extended(counts, size.structures, 0),
    )  # fmt: skip
    return Batch(*map(jnp.asarray, arrays))


def pad_dataset(
    model: AceModel, structures: Sequence[Structure], atoms: int, dtype: DTypeLike = np.float64
) -> list[tuple[Ints, Batch]]:
    """Batches of about `atoms` atoms (or one structure, if that is larger), each with the numbers of its structures.

    Structures are sorted by neighbours per atom and all batches share one number of atoms and of structures, so that
    a dataset costs one compilation per bucket of neighbours that occurs: 1 + 2 log2(largest / smallest) at most.

    Raises
    ------
    ValueError
        As `pad_batch`.
    """
    check_precision(dtype)
    needed = [_checked(model, [structure])[0] for structure in structures]
    room = bucket(max([atoms, *(size.atoms for size in needed)]), UNIT)
    groups: dict[int, list[list[int]]] = {}
    for number, size in enumerate(needed):
        lists = groups.setdefault(bucket(size.neighbors, UNIT), [[]])
        if sum(needed[other].atoms for other in lists[-1]) + size.atoms > room:
            lists.append([])
        lists[-1].append(number)
    together = bucket(max((len(numbers) for lists in groups.values() for numbers in lists), default=1))
    return [
        (np.array(numbers), pad_batch(model, [structures[n] for n in numbers], dtype, BatchSize(together, room, k)))
        for k, lists in sorted(groups.items())
        for numbers in lists
    ]


def check_precision(dtype: DTypeLike) -> None:
    """Refuse numbers that JAX would silently round or does not have."""
    chosen = np.dtype(dtype)
    if chosen not in (np.dtype(np.float64), np.dtype(np.float32)):
        raise ValueError(f"Numbers are float64 or float32, not {chosen}: choose one of them.")
    if jax.dtypes.canonicalize_dtype(chosen) != chosen:
        raise ValueError(
            'JAX would round float64 to float32: call jax.config.update("jax_enable_x64", True) first, '
            "work within jax.enable_x64(True), or ask for float32."
        )


def _checked(model: AceModel, structures: Sequence[Structure]) -> tuple[BatchSize, list[tuple[NeighborList, Ints]]]:
    """The size that the structures need, and their species as checked integers."""
    if not structures:
        raise ValueError("A batch needs at least one structure: give some.")
    checked = [(pairs, check_species(model, pairs, species)) for pairs, species in structures]
    # Rounding may keep a pair at the cutoff in one direction alone.
    ends = [end for pairs, _ in checked for end in (pairs.first, pairs.second)]
    largest = max(int(np.bincount(end, minlength=1).max()) for end in ends)
    return BatchSize(len(checked), sum(len(z) for _, z in checked), largest), checked


def _places(counts: Ints) -> tuple[Ints, Ints]:
    """Row and position in the row of entries that fill rows with so many each."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _extended(values: Ints, length: int, filler: int) -> NDArray[np.int32]:
    result = np.full(length, filler, dtype=np.int32)
    result[: len(values)] = values
    return result
