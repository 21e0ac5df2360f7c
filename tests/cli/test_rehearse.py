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


SITE = """\
name = "four"
kind = "slurm"
verified = "never run"
cores_per_node = 4
memory_gib = 8
launcher = "fujitsu"
[tasks.label]
{size}
[batch]
nodes = 4
queues = [{{ name = "q" }}]
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
        (["--teacher", "emt"], "'emt' is not one that knows all of them"),
        (["--teacher", "lennard-jones"], "name tersoff or stillinger-weber"),
        (["--site", "nowhere"], "nowhere"),
    ],
)
def test_what_is_not_known_is_refused(path, capsys, arguments, message):
    assert run(["rehearse", str(path), *arguments]) != 0
    assert message in capsys.readouterr().err


def test_a_file_is_replayed_with_frames_that_judge(path, capsys):
    assert run(["replay", str(path)]) != 0
    assert "--test" in capsys.readouterr().err
    assert run(["replay", str(path), "--policy", "d-optimum"]) != 0
    assert "d-optimal" in capsys.readouterr().err


def labelled(path, number, seed):
    """Frames of rattled silicon with the labels of a classical potential."""
    from ase.build import bulk
    from ase.io import write

    from hpcmat.engines.stillinger_weber import StillingerWeber

    images = []
    for index in range(number):
        atoms = bulk("Si", a=5.431, cubic=True)
        atoms.rattle(0.05 + 0.02 * index, seed=seed + index)
        atoms.calc = StillingerWeber()
        atoms.get_potential_energy()
        images.append(atoms)
    write(path, images)
    return str(path)


def test_policies_are_replayed_on_frames_of_a_file(tmp_path, capsys):
    train, test = labelled(tmp_path / "train.xyz", 9, 1), labelled(tmp_path / "test.xyz", 3, 50)
    asked = ["replay", train, "--test", test, "--labels", "9", "--batch", "3", "--seeds", "1", "--json"]
    assert run([*asked, "--policy", "random", "--policy", "d-optimal"]) == 0
    random, optimal = json.loads(capsys.readouterr().out)
    assert (random["policy"], optimal["policy"]) == ("random", "d-optimal")
    assert random["labels"] == optimal["labels"] == [3, 6, 9]
    assert random["force_rmse_ev_per_ang"][0] == optimal["force_rmse_ev_per_ang"][0]
    assert random["target_ev_per_ang"] == random["force_rmse_ev_per_ang"][-1]
    assert 3 <= random["labels_to_target"] <= 9


@pytest.mark.parametrize(("size", "workers"), [("nodes = 1", 4), ("nodes = 2\nranks_per_node = 4", 2)])
def test_sizes_of_the_site_count_in_a_rehearsal(path, capsys, size, workers, hpcmat):
    site = path.with_name("four.toml")
    site.write_text(SITE.format(size=size))
    found = hpcmat.answer("rehearse", path, "--site", site)[0]
    assert found["workers"] == workers
    site.write_text(SITE.format(size="nodes = 8"))
    assert run(["rehearse", str(path), "--site", str(site)]) == 2
    assert "8 of an allocation of 4" in capsys.readouterr().err
