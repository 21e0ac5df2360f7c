"""Descriptors of a pool of candidates, in groups that each have a length scale of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.properties.bonding import BONDING_NAMES, SHELL_NAMES, bonding_descriptors
from hpcmat.surrogates.properties.composition import composition_descriptors, composition_names

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Descriptors:
    """Descriptors of n candidates."""

    values: Floats
    """(n, D)"""
    groups: Ints
    """(D,) 0 ..: descriptors of one kind."""
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    def standardised(self) -> Floats:
        """(n, D) with zero mean and unit variance over the pool; what does not vary is 0."""
        spread = self.values.std(axis=0)
        varies = spread > 1e-9 * (1.0 + np.abs(self.values).max(axis=0))
        scaled: Floats = (self.values - self.values.mean(axis=0)) / np.where(varies, spread, 1.0)
        scaled *= varies
        return scaled


def describe_structures(structures: Sequence[Structure]) -> Descriptors:
    """Descriptors of composition, bonding and neighbour shells; errors as `bonding_descriptors`."""
    composition = [composition_descriptors(structure.symbols) for structure in structures]
    bonding = [bonding_descriptors(structure) for structure in structures]
    groups = np.repeat([0, 1, 2], [len(composition_names()), len(BONDING_NAMES), len(SHELL_NAMES)])
    values = np.hstack([composition, bonding])
    return Descriptors(values, groups, (*composition_names(), *BONDING_NAMES, *SHELL_NAMES))


def given_descriptors(values: Floats, names: Sequence[str]) -> Descriptors:
    """Descriptors (n, D) of the user's own, as one group.

    Raises
    ------
    InputError
        They are not finite, or their number does not fit that of the names.
    """
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] != len(names) or not np.isfinite(table).all():
        raise InputError(f"descriptors must be finite, one row per candidate and {len(names)} columns; mend the table")
    return Descriptors(table, np.zeros(len(names), dtype=np.int64), tuple(names))
