"""Forecasts: their sums, their sources, and that looking costs and changes nothing."""

import math

import pytest

from hpcmat.campaign.plan import SI8_SECONDS, guess_label_seconds, make_plan
from hpcmat.campaign.spec import load_campaign
from hpcmat.campaign.structures import reference_structures, seed_structures
from hpcmat.cli.app import run
from hpcmat.dispatch.sites import Machine
from hpcmat.engines.labelling import LabelRequest, label_key
from hpcmat.engines.settings import DurationSettings, GpawSettings, TeacherSettings
from hpcmat.records import Execution, Governance, Provenance, Record, Structure, encode
from hpcmat.store.results import ResultStore

MACHINE = Machine(workers=4, cores_per_worker=1, cores_per_node=8, memory_gib=16.0)

CAMPAIGN = """\
kind = "potential"
name = "si"
[system]
elements = ["Si"]
structures = [{ crystal = "diamond", element = "Si", a_ang = 5.47 }]
[engine]
name = "teacher"
[explore]
cold_start = 10
[target]
force_rmse_ev_per_ang = 0.1
[budget]
labels = 70
node_hours = 1e-6
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "si.toml"
    file.write_text(CAMPAIGN)
    return file


def store_label(store, structure, engine, seconds):
    """Record of a label that took `seconds`; a forecast does not look into its outcome."""
    attempt = store.begin(label_key(structure, engine))
    record = Record(
        key=label_key(structure, engine),
        task_kind="label",
        request=encode(LabelRequest(structure, engine)),
        outcome="{}",
        accepted=True,
        execution=Execution(attempt=1, host="h", pid=1, started=0.0, finished=seconds),
        provenance=Provenance("c", "d", "reference"),
        governance=Governance(),
    )
    store.publish(record, attempt.folder)


def by_purpose(plan):
    return {item.purpose: item for item in plan.forecasts}


def test_labels_add_up_to_the_budget(path, tmp_path):
    plan = by_purpose(make_plan(load_campaign(path), MACHINE, tmp_path / "store"))
    counts = {purpose: item.count for purpose, item in plan.items()}
    assert counts["cold-start labels"] + counts["training labels"] + counts["validation labels"] == 70
    assert counts["validation labels"] == 12
    assert counts["reference labels"] == 7
    # The first potential, one fit each for labels 11 to 16, every second to 24, every third to 32, then every fourth.
    assert counts["fits"] == 1 + 6 + 4 + 3 + 7


def test_node_hours_are_the_share_of_a_node_times_hours(path, tmp_path):
    plan = make_plan(load_campaign(path), MACHINE, tmp_path / "store")
    seconds = sum(item.count * item.seconds_each for item in plan.forecasts)
    assert plan.node_hours == pytest.approx(seconds / 3600 / 8)
    assert plan.wall_s == pytest.approx(seconds / 4)


def test_stored_labels_are_free_and_give_measured_durations(path, tmp_path):
    campaign = load_campaign(path)
    store = ResultStore(tmp_path / "store")
    for structure, seconds in zip(reference_structures(campaign), (3.0, 4.0, 50.0), strict=False):
        store_label(store, structure, campaign.engine, seconds)
    plan = by_purpose(make_plan(campaign, MACHINE, store.root))
    reference = plan["reference labels"]
    assert (reference.stored, reference.seconds_each, reference.source) == (3, 4.0, "measured")
    assert reference.seconds == pytest.approx(4 * 4.0)
    assert (plan["training labels"].seconds_each, plan["training labels"].source) == (4.0, "measured")


def test_labels_of_other_settings_or_sizes_are_no_measure(path, tmp_path):
    campaign = load_campaign(path)
    store = ResultStore(tmp_path / "store")
    seed = seed_structures(campaign)[0]
    store_label(store, seed, TeacherSettings(calculator="tersoff"), 9.0)
    half = Structure(seed.symbols[:4], seed.positions[:4], seed.cell)
    store_label(store, half, campaign.engine, 9.0)
    plan = by_purpose(make_plan(campaign, MACHINE, store.root))
    assert plan["training labels"].source == "guess"
    assert plan["reference labels"].stored == 0


def test_guess_for_plane_waves_meets_the_calculation_it_rests_on(path):
    seed = seed_structures(load_campaign(path))[0]
    settings = GpawSettings(cutoff_ev=250.0, kpoint_spacing_per_ang=0.6)
    assert guess_label_seconds(seed, settings) == pytest.approx(SI8_SECONDS)
    assert guess_label_seconds(seed, settings.model_copy(update={"cutoff_ev": 500.0})) == pytest.approx(2 * SI8_SECONDS)


def test_guess_for_a_teacher_is_the_mean_of_its_distribution(path):
    seed = seed_structures(load_campaign(path))[0]
    fast, slow = (TeacherSettings(duration=DurationSettings(median_s=m, sigma=1.0)) for m in (0.0, 2.0))
    assert guess_label_seconds(seed, slow) - guess_label_seconds(seed, fast) == pytest.approx(2.0 * math.exp(0.5))


def test_plan_command_tells_and_writes_nothing(path, capsys):
    assert run(["plan", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "validation labels" in shown
    assert "will end the campaign before all labels" in shown
    assert [item.name for item in path.parent.iterdir()] == ["si.toml"]


def test_plan_as_json(path, hpcmat):
    plan = hpcmat.answer("plan", path, "--out", "here")
    assert {task["purpose"] for task in plan["tasks"]} >= {"explorations", "fits"}
    assert plan["node_hours"] > 0
    assert plan["files"]["report"].startswith("here")
    assert plan["site"]["name"] == "local"
    assert plan["budget_node_hours"] == 1e-6
