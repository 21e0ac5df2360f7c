"""Reading tabulated embedded-atom potentials: files in DYNAMO's setfl format, `*.eam.alloy`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HEADER_LINES = 3
NUMBERS_PER_ELEMENT = 4
"""Atomic number, mass, lattice constant, lattice."""


@dataclass(frozen=True, slots=True, eq=False)
class Setfl:
    """Tables of an embedded-atom potential, as in its file."""

    elements: tuple[str, ...]
    density_step: float
    """Density between two entries of `embedding`."""
    distance_step: float
    """Å between two entries of `density` and `pair`."""
    cutoff: float
    """Å"""
    embedding: Floats
    """F(ρ), (elements, n_ρ) eV"""
    density: Floats
    """ρ(r) that an element gives to its neighbours, (elements, n_r)."""
    pair: Floats
    """r φ(r), (elements, elements, n_r) eV Å, symmetric."""


def read_setfl(path: str | Path) -> Setfl:
    """Tables of a setfl file, in eV and Å.

    Raises
    ------
    ValueError
        Where the file is not in this format, ends too early or goes on too long.
    """
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        return _parse(lines)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path} is not a setfl file (eam/alloy): {error}; take another file or repair it.") from error


def _parse(lines: list[str]) -> Setfl:
    if len(lines) <= HEADER_LINES + 1:
        raise ValueError(f"it has {len(lines)} lines")
    names = lines[HEADER_LINES].split()
    n_elements = int(names[0])
    if n_elements < 1 or len(names) != n_elements + 1:
        raise ValueError(f"line 4 should name {n_elements} elements")
    n_density, density_step, n_distance, distance_step, cutoff = _grid(lines[HEADER_LINES + 1])
    words = " ".join(lines[HEADER_LINES + 2 :]).split()
    n_pairs = n_elements * (n_elements + 1) // 2
    expected = n_elements * (NUMBERS_PER_ELEMENT + n_density + n_distance) + n_pairs * n_distance
    if len(words) != expected:
        raise ValueError(f"{len(words)} words follow the header, not {expected}")
    embedding, density = np.empty((n_elements, n_density)), np.empty((n_elements, n_distance))
    place = 0
    for element in range(n_elements):
        place += NUMBERS_PER_ELEMENT
        embedding[element], density[element], place = _two(words, place, n_density, n_distance)
    pair = np.empty((n_elements, n_elements, n_distance))
    for row in range(n_elements):
        for column in range(row + 1):
            pair[row, column] = pair[column, row] = words[place : place + n_distance]
            place += n_distance
    if not all(np.isfinite(table).all() for table in (embedding, density, pair)):
        raise ValueError("a number in a table is not finite")
    return Setfl(tuple(names[1:]), density_step, distance_step, cutoff, embedding, density, pair)


def _grid(line: str) -> tuple[int, float, int, float, float]:
    words = line.split()
    if len(words) < 5:
        raise ValueError("line 5 should be: n_density, step, n_distance, step, cutoff")
    n_density, n_distance = int(words[0]), int(words[2])
    density_step, distance_step, cutoff = float(words[1]), float(words[3]), float(words[4])
    if min(n_density, n_distance) < 5 or not min(density_step, distance_step, cutoff) > 0:
        raise ValueError("line 5 should give at least 5 entries, and steps and a cutoff above zero")
    return n_density, density_step, n_distance, distance_step, cutoff


def _two(words: list[str], place: int, first: int, second: int) -> tuple[Floats, Floats, int]:
    middle, end = place + first, place + first + second
    return np.array(words[place:middle], dtype=float), np.array(words[middle:end], dtype=float), end
