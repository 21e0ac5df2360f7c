"""`hpcmat rehearse` and `hpcmat replay`: what they print, and that they leave everything as it was."""

import json

import pytest

from hpcmat.cli.app import run

CAMPAIGN = """\
kind = "potential"
name = "si"
[system]
elements = ["Si"]
structures = [{ crystal = "diamond", element = "Si", a_ang = 5.431 }]
reference = { points = 0 }
[engine]
name = "teacher"
faults = { crash = 1.0 }
[explore]
method = "rattle"
cold_start = 4
[target]
force_rmse_ev_per_ang = 1e-6
min_validation = 2
[budget]
labels = 14
"""


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "si.toml"
    file.write_text(CAMPAIGN)
    return file


def test_rehearsals_of_policies_are_compared_and_leave_nothing_behind(path, capsys):
    asked = ["rehearse", str(path), "--policy", "random", "--policy", "i-optimal", "--json"]
    assert run(asked) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["policy"] for each in found] == ["random", "i-optimal"]
    for each in found:
        assert each["labels"] == 14
        assert each["ended_by"] == ["budget"]
        assert each["durations"] == "guessed"
        assert 0 < each["node_hours"] * 3600 / 14 < 100
        assert each["makespan_s"] > 0
    assert [file.name for file in path.parent.iterdir()] == ["si.toml"]


def test_a_table_for_people(path, capsys):
    assert run(["rehearse", str(path)]) == 0
    out = capsys.readouterr().out
    assert "i-optimal" in out
    assert "Durations are guessed" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "i-optimum"], "i-optimal"),
        (["--teacher", "emt"], "no teacher for Si"),
        (["--site", "nowhere"], "nowhere"),
    ],
)
def test_what_is_not_known_is_refused(path, capsys, arguments, message):
    assert run(["rehearse", str(path), *arguments]) != 0
    assert message in capsys.readouterr().err


def test_a_file_is_replayed_with_frames_that_judge(path, capsys):
    assert run(["replay", str(path)]) != 0
    assert "--test" in capsys.readouterr().err
