"""Energy per atom of each element that is taken off the labels before a fit: of the isolated atom, or by least squares.

The energy of an isolated atom is a label that only one feature sees, the constant of its element. Where it is given,
the constant is held there: separated atoms have their energies, and what the fit explains is cohesion. Frames of one
composition alone determine one sum of the elements' energies; without isolated atoms the shares are a guess.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hpcmat.records import Label

Floats = NDArray[np.float64]

RIDGE = 1e-6
"""Keeps the baseline defined where all labels have one composition."""
FARTHEST_EV = 30.0
"""Per atom, from the isolated atoms: no matter is bound so strongly or squeezed so much; energies beyond have another
zero."""


def fit_baseline(counts: Floats, energies: Floats, atom_energies: Floats) -> Floats:
    """Energy per atom (species,) eV of each element.

    Parameters
    ----------
    counts : (n, species) atoms of each element in each label.
    energies : (n,) eV
    atom_energies : (species,) eV, of the isolated atoms; not a number where it is not known and least squares decide.
    """
    free = np.isnan(atom_energies)
    baseline: Floats = np.where(free, 0.0, atom_energies)
    atoms = counts[:, free].sum()
    if not atoms:
        return baseline
    rest = energies - counts @ baseline
    # The ridge pulls towards one energy per atom for all elements, not towards zero.
    mean = rest.sum() / atoms
    rest -= counts[:, free].sum(axis=1) * mean
    gram = counts[:, free].T @ counts[:, free] + RIDGE * np.eye(int(free.sum()))
    baseline[free] = mean + np.linalg.solve(gram, counts[:, free].T @ rest)
    return baseline


def composition_counts(labels: Iterable[Label], elements: tuple[str, ...]) -> Floats:
    """Atoms of each element in each label (n, species)."""
    return np.array([[label.structure.symbols.count(symbol) for symbol in elements] for label in labels], dtype=float)


def known_together(counts: Floats, elements: tuple[str, ...], isolated: Iterable[tuple[str, float]]) -> tuple[str, ...]:
    """Elements without isolated atoms whose energies the labels do not tell apart; empty where they do."""
    known = {symbol for symbol, _ in isolated}
    free = [symbol not in known for symbol in elements]
    mine = counts[:, free]
    told = int(np.linalg.matrix_rank(mine)) if mine.size else 0
    return () if told == mine.shape[1] else tuple(s for s, is_free in zip(elements, free, strict=True) if is_free)


def have_another_zero(counts: Floats, energies: Floats, atom_energies: Floats) -> bool:
    """Whether the labels' energies cannot be those of matter made of these isolated atoms."""
    rest = energies - counts @ fit_baseline(counts, energies, atom_energies)
    return bool(np.median(np.abs(rest) / counts.sum(axis=1)) > FARTHEST_EV)
