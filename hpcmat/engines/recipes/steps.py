"""Recipes as generators: how one is run as far as the labels known allow, and several side by side."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat.records import Label, Structure

Floats = NDArray[np.float64]
Property = Literal[
    "bulk_modulus_gpa",
    "lattice_constant_ang",
    "volume_ang3",
    "energy_ev",
    "density_g_cm3",
    "shear_modulus_gpa",
    "young_modulus_gpa",
    "poisson_ratio",
    "c11_gpa",
    "c12_gpa",
    "c44_gpa",
    "formation_energy_ev",
    "vacancy_energy_ev",
    "surface_energy_j_m2",
]
Properties = tuple[tuple[Property, float], ...]
Result = TypeVar("Result")
Work = Generator[tuple[Structure, ...], tuple[Label, ...], Result]
"""Yields structures, is sent their labels in the same order, and returns what follows from them."""
Steps = Work[Properties]


@dataclass(frozen=True, slots=True)
class Need:
    """Structures whose labels a recipe waits for."""

    structures: tuple[Structure, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a recipe has no result, though all its labels are there."""

    reason: str


Standing = Need | Refusal | Properties


def advance(work: Work[Result], known: Callable[[Structure], Label | None]) -> Need | Refusal | Result:
    """Run a recipe, or a part of one, as far as the labels known allow.

    Returns
    -------
    Need
        The structures of the present round that have no label.
    Refusal
        The labels tell that the candidate has no such property: no minimum, say.
    Result
        What the recipe gives: for a whole one, the properties.
    """
    try:
        wanted = next(work)
        while True:
            labels = [known(structure) for structure in wanted]
            missing = tuple(s for s, label in zip(wanted, labels, strict=True) if label is None)
            if missing:
                return Need(missing)
            wanted = work.send(tuple(label for label in labels if label is not None))
    except StopIteration as end:
        result: Result = end.value
        return result
    except InputError as error:
        return Refusal(str(error))


def together(works: Sequence[Work[Result]]) -> Work[tuple[Result, ...]]:
    """Several works side by side: each round has the next structures of all that have not ended."""
    results: dict[int, Result] = {}
    wanted: dict[int, tuple[Structure, ...]] = {}

    def step(number: int, labels: tuple[Label, ...] | None) -> None:
        try:
            wanted[number] = next(works[number]) if labels is None else works[number].send(labels)
        except StopIteration as end:
            wanted.pop(number, None)
            results[number] = end.value

    for number in range(len(works)):
        step(number, None)
    while wanted:
        labels = iter((yield tuple(structure for structures in wanted.values() for structure in structures)))
        for number, structures in list(wanted.items()):
            step(number, tuple(next(labels) for _ in structures))
    return tuple(results[number] for number in range(len(works)))


def label_of(structure: Structure) -> Work[Label]:
    """One label."""
    (label,) = yield (structure,)
    return label
