"""Screenings by elastic constants and energies of formation, vacancies and surfaces; labels that candidates share."""

import json
from collections import Counter
from typing import get_args

import pytest
from campaign_events import Drive
from screens import checked, properties_alone, screen_of, screen_text

from hpcmat.campaign.screen.forecast import expected_labels
from hpcmat.campaign.screen.standing import crystal_states
from hpcmat.cli.app import run
from hpcmat.engines.recipes.steps import Property
from hpcmat.errors import InputError
from hpcmat.report.screening import UNITS
from hpcmat.report.screening_html import write_screening

ELEMENTS = '["Cu", "Au"]'
BOUND = '{ property = "formation_energy_ev", goal = "minimise" }'
EVERYTHING = """references = [{ prototype = "fcc", sites = [["Cu", "Au"]] }, { prototype = "bcc", sites = [["Cu"]] }]
[recipe]
properties = ["shear_modulus_gpa", "vacancy_energy_ev", "surface_energy_j_m2"]
vacancy_distance_ang = 5.0
slab_ang = 6.0
"""


def text_of(**changes):
    """Tables come after the keys of the top."""
    text = screen_text(metals=ELEMENTS, objectives=BOUND, search="first = 2\ntop = 1\nmissed = 0.0", **changes)
    top, recipe = EVERYTHING.split("[recipe]")
    return text.replace("[engine]", f"{top}[recipe]{recipe}[engine]")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """All candidates with all properties, in a folder that holds the campaign file."""
    root = tmp_path_factory.mktemp("everything")
    (root / "alloys.toml").write_text(text_of())
    from hpcmat.campaign.specification import load_specification

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


def test_a_label_that_candidates_share_is_paid_for_once(everything):
    state, drive = everything.state, everything
    ran = Counter(state.tasks[task].key for task in drive.dispatcher.orders)
    assert set(ran.values()) == {1}
    keys = Counter(task.key for task in state.done("screen"))
    shared = [task for task in state.done("screen") if task.adopted == "other task"]
    assert shared and len(shared) == keys.total() - len(keys)
    assert all(task.node_hours == 0.0 for task in shared)
    # Each reference crystal is computed once, and the decisions for labels that are there are few.
    assert len(shared) < len(ran) / 4


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
