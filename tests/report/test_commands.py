import json
import os

import pytest

from hpcmat.campaign.folder import CampaignFolder
from hpcmat.cli.app import run
from hpcmat.report.status import one_line, status_of, status_text
from hpcmat.report.watching import Watcher

KEYS = {
    "validation_force_rmse_ev_per_ang", "validation_force_rmse_ev_per_ang_interval", "labels", "failures", "node_hours",
    "lattice_constant_engine_ang", "lattice_constant_potential_ang", "lattice_constant_relative_difference",
    "bulk_modulus_engine_gpa", "bulk_modulus_potential_gpa", "bulk_modulus_relative_difference", "learning_curve",
    "calibration", "failures_by_kind", "failed_attempts", "cost", "timeline", "decisions", "provenance", "findings",
}  # fmt: skip


@pytest.fixture
def folder(finished, tmp_path):
    return finished.write_journal(tmp_path / "campaign")


def test_report_json_has_every_number_and_writes_no_file(folder, hpcmat):
    data = hpcmat.answer("report", folder.root)
    assert data.keys() >= KEYS
    low, high = data["validation_force_rmse_ev_per_ang_interval"]
    assert low < data["validation_force_rmse_ev_per_ang"] < high
    assert data["labels"] == 60 and data["failures"] == len(data["failed_attempts"])
    assert not folder.report.exists()


def test_report_writes_the_page_and_ends_with_the_summary(folder, capsys):
    assert run(["report", str(folder.root)]) == 0
    out = capsys.readouterr().out
    assert folder.report.stat().st_size > 1_000_000
    assert "force RMSE" in out and "node-hours" in out and str(folder.report) in out


@pytest.mark.parametrize("command", ["report", "status", "watch"])
def test_no_campaign_is_bad_input_and_nothing_is_written(command, tmp_path, capsys):
    assert run([command, str(tmp_path / "nothing")]) == 2
    assert "no campaign here" in capsys.readouterr().err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(("command", "code"), [("report", 2), ("status", 2), ("watch", 0)])
def test_campaign_whose_driver_died_before_its_first_event_is_named_so(command, code, tmp_path, capsys):
    journal = CampaignFolder(tmp_path).journal()
    journal.create()
    journal.close()
    assert run([command, str(tmp_path)]) == code
    assert "hpcmat run" in "".join(capsys.readouterr())


def test_status_text_and_json_agree(folder, capsys, hpcmat):
    assert run(["status", str(folder.root)]) == 0
    text = capsys.readouterr().out
    data = hpcmat.answer("status", folder.root)
    assert "60 of 70" in text and data["labels_done"] == 60 and data["phase"] == "complete"
    assert data["last_failures"] and data["last_failures"][-1]["task"] in text


def test_why_explains_a_decision_by_its_id_or_its_task(folder, finished, capsys):
    chosen = next(t for t in finished.state.tasks.values() if t.decision.passed_over)
    for name in (chosen.decision.id, chosen.id):
        assert run(["status", str(folder.root), "--why", name]) == 0
        out = capsys.readouterr().out
        assert chosen.decision.reason in out and chosen.decision.passed_over[0][0] in out
    assert run(["status", str(folder.root), "--why", "label-9999"]) == 2
    assert "no decision or task 'label-9999'" in capsys.readouterr().err


def test_status_of_a_killed_driver_is_interrupted(made_up):
    state = made_up().begin().run_labels(12).state
    assert status_of(state, state.last_time, driver_runs=False).phase == "interrupted"
    alive = status_of(state, state.last_time + 5, driver_runs=True)
    assert alive.phase == "running"
    assert "hpcmat run" in status_text(status_of(state, state.last_time, driver_runs=False))


def test_status_shows_what_runs_and_for_how_long(finished):
    events = sorted(finished.events, key=lambda pair: pair[1])
    position = next(i for i, (event, _) in enumerate(events) if event.kind == "submitted")
    state = type(finished.state).of(events[: position + 1])
    status = status_of(state, events[position][1] + 90, driver_runs=True)
    assert [task.elapsed_s for task in status.running] == [90.0]
    assert "1 min 30 s" in status_text(status)


def test_watch_prints_one_line_per_event_and_ends(folder, finished, capsys):
    assert run(["watch", str(folder.root)]) == 0
    out = capsys.readouterr().out
    assert out.count("label-0003") == 1 and "complete" in out
    assert run(["watch", str(folder.root), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == len(finished.events) and lines[-1]["kind"] == "ended"


def test_watcher_reads_each_event_once(folder, finished):
    with Watcher(folder) as watcher:
        assert len(list(watcher.news())) == len(finished.events)
        assert list(watcher.news()) == []
        assert watcher.state.ended is not None


def test_messages_stay_on_one_line():
    assert one_line("a\n\x1b[31mb\tc") == "a [31mb c"
    assert len(one_line("x" * 500)) == 100
