"""Generic structures of given elements: the ground on which a basis is laid before any label exists.

The channel mixing and the prior scales are averages over these structures. They depend on the settings alone, so
that a basis, and every cached design row, stays the same however the training set grows.
"""

from __future__ import annotations

import numpy as np
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import NDArray

from hpcmat.records import Structure

Floats = NDArray[np.float64]

REPLICAS = 8
"""Random variants of each prototype."""
DISTANCE_RANGE = (0.85, 1.35)
"""Nearest-neighbour distance over the sum of covalent radii: from compressed bonds to close-packed metals."""
RATTLE = 0.10
"""Standard deviation of the displacements over the nearest-neighbour distance."""

_FCC = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))
_PROTOTYPES: tuple[tuple[tuple[tuple[float, float, float], ...], float, tuple[int, int, int]], ...] = (
    (((0.0, 0.0, 0.0),), 1.0, (2, 2, 2)),
    (((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)), 0.75**0.5, (2, 2, 2)),
    (_FCC, 0.5**0.5, (2, 1, 1)),
    ((*_FCC, *((x + 0.25, y + 0.25, z + 0.25) for x, y, z in _FCC)), 3**0.5 / 4, (1, 1, 1)),
)
"""Simple cubic, bcc, fcc, diamond: sites, nearest-neighbour distance over the lattice constant, repetition."""


def generic_structures(elements: tuple[str, ...], seed: int) -> tuple[Structure, ...]:
    """Rattled, strained prototypes (sc, bcc, fcc, diamond) of random composition; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    return tuple(
        _variant(elements, np.array(sites), distance, repeat, rng)
        for _ in range(REPLICAS)
        for sites, distance, repeat in _PROTOTYPES
    )


def _variant(
    elements: tuple[str, ...],
    sites: Floats,
    distance: float,
    repeat: tuple[int, int, int],
    rng: np.random.Generator,
) -> Structure:
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in repeat), indexing="ij"), axis=-1).reshape(-1, 3)
    fractional = (sites[None, :, :] + grid[:, None, :]).reshape(-1, 3)
    symbols = tuple(elements[k] for k in rng.integers(len(elements), size=len(fractional)))
    bond = 2 * float(np.mean([covalent_radii[atomic_numbers[s]] for s in symbols])) * rng.uniform(*DISTANCE_RANGE)
    strain = np.eye(3) + rng.uniform(-0.05, 0.05, size=(3, 3))
    lattice = bond / distance * (strain + strain.T) / 2
    positions = fractional @ lattice + RATTLE * bond * rng.normal(size=fractional.shape)
    return Structure(symbols, positions, np.array(repeat)[:, None] * lattice)
