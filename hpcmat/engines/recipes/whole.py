"""The whole recipe of a candidate: its equation of state, then whatever else is asked for."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from hpcmat.engines.recipes.elasticity import ELASTIC, elasticity
from hpcmat.engines.recipes.equation_of_state import equation_of_state
from hpcmat.engines.recipes.formation import Potentials, References, chemical_potentials, formation_energy
from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Properties, Property, Steps, Work, together
from hpcmat.engines.recipes.surface import surface_energy
from hpcmat.engines.recipes.vacancy import vacancy_energy
from hpcmat.records import Structure


def recipe(structure: Structure, spec: RecipeSpec, asked: AbstractSet[Property], references: References) -> Steps:
    """Properties of the crystal: those of the equation of state, and those asked for with what comes along.

    What the equation of state leads to is computed side by side, once that has ended: it does not pay to strain a
    crystal that has none.
    """
    rest = yield from equation_of_state(structure, spec)
    potentials: Potentials = {}
    if needs_references(structure, asked):
        potentials = yield from chemical_potentials(structure.symbols, references, spec)
    works: list[Work[Properties]] = []
    if asked & ELASTIC:
        works.append(elasticity(rest.crystal, spec))
    if "vacancy_energy_ev" in asked:
        works.append(vacancy_energy(rest.crystal, potentials if _compound(structure) else {}, spec))
    if "surface_energy_j_m2" in asked:
        works.append(surface_energy(rest.crystal, spec))
    more = yield from together(works)
    formed = formation_energy(rest, potentials) if "formation_energy_ev" in asked else ()
    return (*rest.properties, *formed, *(item for properties in more for item in properties))


def needs_references(structure: Structure, asked: AbstractSet[Property]) -> bool:
    """Whether these properties of a crystal depend on crystals of its elements."""
    return "formation_energy_ev" in asked or ("vacancy_energy_ev" in asked and _compound(structure))


def _compound(structure: Structure) -> bool:
    return len(set(structure.symbols)) > 1
