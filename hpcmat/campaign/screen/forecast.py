"""Which labels a recipe will ask for, before there are any: those of a crystal that is at rest where it begins."""

from __future__ import annotations

from functools import partial

import numpy as np

from hpcmat.campaign.events import Fidelity
from hpcmat.campaign.screen.candidates import candidates_of, references_of
from hpcmat.campaign.screen.grids import on_one_grid
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.engines.labelling import label_key
from hpcmat.engines.recipes.elasticity import upright
from hpcmat.engines.recipes.formation import References
from hpcmat.engines.recipes.steps import Floats, advance
from hpcmat.engines.recipes.whole import recipe
from hpcmat.records import Label, Method, Structure, decode
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.elastic import VOIGT

_METHOD = Method("forecast", "1", "{}", "")


def expected_labels(campaign: ScreenCampaign, fidelity: Fidelity = "dear") -> dict[str, Structure]:
    """Labels of all candidates at one fidelity by content key: those of several candidates once.

    Relaxations are expected to end at once, and first guesses of volumes to be right: real recipes ask for more where
    atoms must move.
    """
    references = tuple(reference.structure for reference in references_of(campaign))
    found: dict[str, Structure] = {}
    for candidate in candidates_of(campaign):
        springs = Springs((candidate.structure, *references))
        advance(recipe(candidate.structure, campaign.recipe, campaign.asked, References(references)), springs.label)
        engine = partial(on_one_grid, campaign.engine_of(fidelity), candidate.structure)
        found |= {label_key(structure, engine(structure)): structure for structure in springs.asked}
    return found


def stored_labels(campaign: ScreenCampaign, results: ResultStore, fidelity: Fidelity = "dear") -> dict[str, Structure]:
    """Labels of one fidelity that the recipes will find in the store, by content key."""
    references = References(tuple(reference.structure for reference in references_of(campaign)))
    found: dict[str, Structure] = {}

    def known(first: Structure, structure: Structure) -> Label | None:
        key = label_key(structure, on_one_grid(campaign.engine_of(fidelity), first, structure))
        record = results.read(key)
        if record is None:
            return None
        found[key] = structure
        return decode(Label, record.outcome)

    for candidate in candidates_of(campaign):
        steps = recipe(candidate.structure, campaign.recipe, campaign.asked, references)
        advance(steps, partial(known, candidate.structure))
    return found


class Springs:
    """Labels of isotropic crystals that are at rest as they are given, with all that is asked of them."""

    def __init__(self, crystals: tuple[Structure, ...]) -> None:
        self._crystals = crystals
        self._cells = [upright(crystal).cell for crystal in crystals]
        self.asked: list[Structure] = []

    def label(self, structure: Structure) -> Label:
        """E = n/2 (ln v/v₀)² against the crystal of the same atoms and shape, no forces, stress by its strain."""
        self.asked.append(structure)
        energy, stress = 0.0, np.zeros(6)
        kin = [number for number, crystal in enumerate(self._crystals) if crystal.symbols == structure.symbols]
        if kin:
            nearest = min(kin, key=lambda number: np.abs(_shape(structure) - _shape(self._crystals[number])).max())
            expansion = np.log(np.linalg.det(structure.cell) / np.linalg.det(self._crystals[nearest].cell))
            energy, stress = 0.5 * len(structure) * float(expansion) ** 2, _stress(self._cells[nearest], structure.cell)
        return Label(structure, energy, np.zeros((len(structure), 3)), stress, _METHOD)


def _shape(structure: Structure) -> Floats:
    """Metric of the cell for a volume of 1, which no rotation changes."""
    metric = structure.cell @ structure.cell.T
    shape: Floats = metric / np.linalg.det(metric) ** (1 / 3)
    return shape


def _stress(before: Floats, after: Floats) -> Floats:
    """Of equal Lamé constants."""
    gradient = np.linalg.solve(before, after)
    strain = 0.5 * (gradient + gradient.T) - np.eye(3)
    tensor = np.trace(strain) * np.eye(3) + 2.0 * strain
    return np.array([tensor[a, b] for a, b in VOIGT])
