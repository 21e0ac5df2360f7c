"""Energies of formation, against crystals of the elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpcmat.engines.recipes.equation_of_state import Rest, equation_of_state
from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Properties, Work, together
from hpcmat.errors import InputError
from hpcmat.records import Structure

Potentials = Mapping[str, float]
"""Energy per atom of each element in its own crystal, eV."""


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """Crystals of the elements; of several for one element, that of the least energy counts."""

    crystals: tuple[Structure, ...] = ()

    def of(self, symbol: str) -> tuple[Structure, ...]:
        """Crystals of one element."""
        return tuple(crystal for crystal in self.crystals if crystal.symbols[0] == symbol)


def chemical_potentials(symbols: Sequence[str], references: References, spec: RecipeSpec) -> Work[Potentials]:
    """Energies per atom of the elements in their reference crystals, each by its equation of state.

    Raises
    ------
    InputError
        An element has no reference, or one of its references has no equation of state.
    """
    elements = sorted(set(symbols))
    missing = next((symbol for symbol in elements if not references.of(symbol)), None)
    if missing is not None:
        raise InputError(f"no reference crystal of {missing}; add it to `references`")
    crystals = [crystal for symbol in elements for crystal in references.of(symbol)]
    rests = yield from together([_reference(crystal, spec) for crystal in crystals])
    return {
        symbol: min(rest.state.energy for rest in rests if rest.crystal.symbols[0] == symbol) for symbol in elements
    }


def formation_energy(rest: Rest, potentials: Potentials) -> Properties:
    """Energy per atom, less that of its elements."""
    symbols = rest.crystal.symbols
    elements = sum(potentials[symbol] for symbol in symbols) / len(symbols)
    return (("formation_energy_ev", rest.state.energy - elements),)


def _reference(crystal: Structure, spec: RecipeSpec) -> Work[Rest]:
    try:
        return (yield from equation_of_state(crystal, spec))
    except InputError as error:
        raise InputError(f"reference crystal of {crystal.symbols[0]}: {error}") from None
