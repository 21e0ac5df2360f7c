"""Screenings by elastic constants and energies of formation, vacancies and surfaces; labels that candidates share."""

import json
from collections import Counter
from typing import get_args

import pytest
from campaign_events import Drive
from screens import checked, properties_alone, screen_of, screen_text

from hpcmat.campaign.screen.forecast import expected_labels
from hpcmat.campaign.screen.standing import crystal_states
from hpcmat.campaign.specification import load_specification
from hpcmat.cli.app import run
from hpcmat.engines.recipes.steps import Property
from hpcmat.errors import InputError
from hpcmat.report.screening import UNITS
from hpcmat.report.screening_html import write_screening

ELEMENTS = '["Cu", "Au"]'
BOUND = '{ property = "formation_energy_ev", goal = "minimise" }'
REFERENCES = 'references = [{ prototype = "fcc", sites = [["Cu", "Au"]] }, { prototype = "bcc", sites = [["Cu"]] }]'
EVERYTHING = """\
[recipe]
properties = ["shear_modulus_gpa", "vacancy_energy_ev", "surface_energy_j_m2"]
vacancy_distance_ang = 5.0
slab_ang = 6.0
"""


def text_of(recipe="", **changes):
    text = screen_text(metals=ELEMENTS, objectives=BOUND, search="first = 2\ntop = 1\nmissed = 0.0", **changes)
    return text.replace("[engine]", f"{REFERENCES}\n{recipe}\n[engine]")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All candidates with all properties, in a folder that holds the campaign file."""
    root = tmp_path_factory.mktemp("everything")
    (root / "alloys.toml").write_text(text_of(EVERYTHING))
    drive = Drive(root, load_specification(root / "alloys.toml"), store=root / "store")
    drive.run()
    return drive


def test_all_properties_are_those_of_the_recipes_alone(everything):
    state = everything.state
    alone = properties_alone(state.screen)
    crystals = crystal_states(state)
    assert {crystal.name for crystal in crystals} == set(alone) and len(alone) == 4
    for crystal in crystals:
        assert crystal.status == "done", crystal.reason
        assert crystal.properties == pytest.approx(alone[crystal.name])
        assert set(crystal.properties) == set(get_args(Property))
    least = min(alone, key=lambda name: alone[name]["formation_energy_ev"])
    assert alone[least]["formation_energy_ev"] < -0.005, "negative control: an alloy is bound"


def test_labels_that_candidates_share_are_computed_once(everything):
    state = everything.state
    assert set(Counter(task.key for task in state.done("screen")).values()) == {1}
    parts = [state.screen.model_copy(update={"candidates": (source,)}) for source in state.screen.candidates]
    apart = sum(len(expected_labels(part)) for part in parts)
    assert len(expected_labels(state.screen)) < apart, "negative control: metals and alloys have labels in common"


def test_a_candidate_that_was_a_reference_before_costs_nothing(tmp_path):
    """Its labels are there; one decision of its own lets the journal know its properties."""
    file = tmp_path / "alloys.toml"
    file.write_text(text_of(top="seed = 0"))
    drive = Drive(tmp_path, load_specification(file))
    state = drive.run()
    reference = next(crystal for crystal in crystal_states(state) if crystal.name == "Au fcc")
    assert [task.adopted for task in reference.tasks] == ["other task"] and reference.node_hours == 0.0
    assert reference.properties == pytest.approx(properties_alone(state.screen)["Au fcc"])
    assert all(task.node_hours > 0.0 for task in state.done("screen") if not task.reused)
    assert {state.tasks[task].key for task in drive.dispatcher.orders} == {task.key for task in state.done("screen")}


def test_the_forecast_knows_the_labels_that_symmetry_holds(everything, capsys):
    state, root = everything.state, everything.folder.root.parent
    expected = expected_labels(state.screen)
    ran = {task.key for task in state.done("screen")}
    assert 0.6 * len(ran) < len(expected) <= len(ran)
    file = str(root / "alloys.toml")
    assert run(["plan", file, "--store", str(root / "other"), "--json"]) == 0
    fresh = json.loads(capsys.readouterr().out)
    assert sum(task["count"] for task in fresh["tasks"]) == len(expected)
    assert [task["purpose"] for task in fresh["tasks"]] == ["crystal labels", "supercell and slab labels"]
    assert "potential" not in fresh["files"] and not any(task["stored"] for task in fresh["tasks"])
    assert run(["plan", file, "--store", str(root / "store"), "--json"]) == 0
    after = json.loads(capsys.readouterr().out)
    assert all(task["source"] == "measured" and task["stored"] for task in after["tasks"])


def test_the_report_has_all_properties_with_their_units(everything, tmp_path):
    assert set(UNITS) == set(get_args(Property))
    report = write_screening(everything.state, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert all(words in page for words in ("vacancy energy / eV", "surface energy / J/m²", "C44 / GPa"))
    assert report.objectives == ("minimise formation energy per atom",)


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ("", "Cu fcc needs a crystal of Cu"),
        ('references = [{ prototype = "fcc", sites = [["Cu"]] }]', "Au fcc needs a crystal of Au"),
        ('references = [{ prototype = "zincblende", sites = [["Cu"], ["Au"]] }]', "no crystal of one element"),
    ],
)
def test_missing_references_are_told_before_anything_runs(tmp_path, top, message):
    with pytest.raises(InputError, match=message):
        checked(tmp_path, metals=ELEMENTS, objectives=BOUND, top=top)
    screen_of(metals=ELEMENTS, top=top)  # negative control: what needs no references does without


def test_a_plane_without_indices_is_refused(tmp_path):
    with pytest.raises(InputError, match="name no plane"):
        checked(tmp_path, top="recipe = { miller = [0, 0, 0] }")
