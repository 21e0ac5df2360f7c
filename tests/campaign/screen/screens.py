"""Screening campaigns of metals and alloys, labelled by effective-medium theory."""

import tomllib
from functools import lru_cache
from pathlib import Path

from hpcmat.campaign.screen.candidates import candidates_of, references_of
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.specification import load_specification
from hpcmat.engines.recipes.formation import References
from hpcmat.engines.recipes.steps import advance
from hpcmat.engines.recipes.whole import recipe
from hpcmat.engines.structures import to_atoms
from hpcmat.engines.teacher import make_calculator
from hpcmat.records import Label, Method
from hpcmat.toml_input import parse_model

METALS = '["Al", "Cu", "Ag", "Pt", "Au"]'
TEXT = """\
kind = "screen"
name = "alloys"
{top}
candidates = [{{ prototype = "fcc", sites = [{metals}] }}, {{ prototype = "L1_2", sites = [{metals}, {metals}] }}]
objectives = [{objectives}]
[engine]
name = "teacher"
calculator = "emt"
{engine}
{cheap}
[search]
{search}
[budget]
{budget}
"""
CHEAP = """\
[cheap_engine]
name = "teacher"
calculator = "emt"
noise_ev_per_ang = 1e-6
"""
"""The same potential, with what makes its labels others."""
STIFFEST = '{ property = "bulk_modulus_gpa", goal = "maximise" }'
LIGHTEST = '{ property = "density_g_cm3", goal = "minimise" }'


def screen_text(**changes: str) -> str:
    """The campaign file."""
    values = {
        "top": "",
        "metals": METALS,
        "objectives": STIFFEST,
        "engine": "",
        "cheap": "",
        "search": "first = 4\ntop = 3",
        "budget": "",
    }
    return TEXT.format(**(values | changes))


def screen_of(**changes: str) -> ScreenCampaign:
    """The campaign, without the checks that a file undergoes."""
    return parse_model(ScreenCampaign, tomllib.loads(screen_text(**changes)), Path("alloys.toml"))


def checked(folder: Path, **changes: str) -> ScreenCampaign:
    """The campaign as a command reads it."""
    file = folder / "alloys.toml"
    file.write_text(screen_text(**changes))
    return load_specification(file)


def label_of(structure) -> Label:
    """What the engine gives."""
    atoms = to_atoms(structure)
    atoms.calc = make_calculator("emt")
    method = Method("emt", "1", "{}", "")
    return Label(structure, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(), method)


@lru_cache(maxsize=1)
def truth() -> dict[str, dict[str, float]]:
    """Properties of all candidates, from their recipes alone."""
    return properties_alone(screen_of())


def properties_alone(campaign: ScreenCampaign) -> dict[str, dict[str, float]]:
    """Properties of all candidates of a campaign, from their recipes alone."""
    references = References(tuple(reference.structure for reference in references_of(campaign)))
    return {
        c.name: dict(advance(recipe(c.structure, campaign.recipe, campaign.asked, references), label_of))
        for c in candidates_of(campaign)
    }
