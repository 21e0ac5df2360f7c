"""Under which names a file holds energies, forces and stresses.

Names are a prefix (none, REF_, DFT_, ...) and a quantity, in any case. Of one quantity exactly one name may be left,
after names that hold the same numbers have become one; any other choice would be a guess about which code or which
model the numbers are from. Plain names are those that ASE moves into the results of a calculator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from hpcmat.errors import InputError
from hpcmat.surrogates.dataset.data import LabelKeys

PREFIXES = ("ref_", "", "dft_", "qm_", "vasp_", "reference_")
NAMES = {
    "energy": ("free_energy", "energy", "total_energy"),
    "forces": ("forces", "force"),
    "stress": ("stress", "virial", "virials"),
}
"""By quantity. Of one prefix the free energy goes before the energy, because forces are its gradient, and a stress
before a virial, because it needs no volume."""


def values_of(atoms: Atoms, key: str) -> Any:
    """What the frame holds under this name: in its calculator's results, its comment line or its columns; or None."""
    results = atoms.calc.results if atoms.calc is not None else {}
    for place in (results, atoms.info, atoms.arrays):
        if key in place:
            return place[key]
    return None


def find_keys(images: list[Atoms], asked: LabelKeys, name: str) -> LabelKeys:
    """The names that hold the labels: as asked, or found.

    Forces and stress are None where no frame has any.

    Raises
    ------
    InputError
        A name asked for is in no frame; there is no energy; several names could be meant; or there are columns of
        vectors, none of which is known to hold forces.
    """
    search = _Search(images, name, frozenset(_seen(images)))
    energy = search.key("energy", asked.energy, "")
    if energy is None:
        raise InputError(f"{name}: no energies were found{search.choices('energy')}")
    prefix = _prefix(energy)
    forces = search.key("forces", asked.forces, prefix)
    if forces is None and search.vector_columns():
        raise InputError(
            f"{name}: no forces were found, but columns of vectors ({', '.join(search.vector_columns())})"
            f"{search.choices('forces')}"
        )
    return LabelKeys(energy, forces, search.key("stress", asked.stress, prefix))


@dataclass(frozen=True, slots=True)
class _Search:
    images: list[Atoms]
    name: str
    seen: frozenset[str]

    def key(self, quantity: str, asked: str | None, prefix: str) -> str | None:
        if asked is not None:
            if asked not in self.seen:
                raise InputError(f"{self.name}: no frame has {asked!r}{self.choices(quantity)}")
            return asked
        found = self._candidates(quantity)
        # One file may hold the labels of several codes; forces and stress come from where the energy is from.
        related = [key for key in found if _prefix(key) == prefix]
        distinct = self._distinct(related if quantity != "energy" and related else found)
        if len(distinct) > 1:
            raise InputError(f"{self.name}: {quantity} could be {' or '.join(distinct)}{self.choices(quantity)}")
        return distinct[0] if distinct else None

    def choices(self, quantity: str) -> str:
        seen = ", ".join(sorted(self.seen)) or "nothing"
        return f"; the frames hold {seen}: name the {quantity} by --{quantity}-key KEY"

    def vector_columns(self) -> list[str]:
        found = {
            key
            for atoms in self.images
            for key, column in atoms.arrays.items()
            if key != "positions" and column.dtype.kind == "f" and column.shape[1:] == (3,)
        }
        return sorted(found)

    def _candidates(self, quantity: str) -> list[str]:
        """Names of this quantity; of one prefix only the first."""
        found = []
        for prefix in PREFIXES:
            for quantity_name in NAMES[quantity]:
                matching = sorted(key for key in self.seen if key.lower() == prefix + quantity_name)
                if matching:
                    found += matching
                    break
        return found

    def _distinct(self, keys: list[str]) -> list[str]:
        kept: list[str] = []
        for key in keys:
            if not any(self._same(key, other) for other in kept):
                kept.append(key)
        return kept

    def _same(self, key: str, other: str) -> bool:
        return all(_equal(values_of(atoms, key), values_of(atoms, other)) for atoms in self.images)


def _seen(images: list[Atoms]) -> set[str]:
    seen: set[str] = set()
    for atoms in images:
        seen.update(atoms.info, atoms.arrays, atoms.calc.results if atoms.calc is not None else ())
    return seen - {"numbers", "positions"}


def _prefix(key: str) -> str:
    lower = key.lower()
    return next((prefix for prefix in PREFIXES if prefix and lower.startswith(prefix)), "")


def _equal(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(np.ravel(np.asarray(one)), np.ravel(np.asarray(other)))
