"""What tasks get of a machine: sizes by the site file, refusals of what could never run."""

from dataclasses import replace

import numpy as np
import pytest
from campaign_events import campaign_of

from hpcmat.campaign.resources import (
    executor_for,
    nodes_for,
    nodes_occupied,
    placing_sentence,
    task_resources,
)
from hpcmat.cli.app import run
from hpcmat.dispatch.sites import Machine, load_site
from hpcmat.engines.labelling import LabelRequest, label_key
from hpcmat.engines.settings import TeacherSettings
from hpcmat.errors import InputError
from hpcmat.records import Provenance, Resources, Structure, Task, encode

SITE = """
name = "mine"
kind = "slurm"
verified = "never run"
cores_per_node = 8
memory_gib = 16
launcher = "{launcher}"
executor = "{executor}"
cores_per_worker = 2
gpus_per_node = {gpus}
[tasks.{kind}]
{size}
[batch]
nodes = {nodes}
queues = [{{ name = "small" }}]
"""


@pytest.fixture
def site(tmp_path):
    def make(size="", kind="label", launcher="srun", executor="auto", nodes=4, gpus=0):
        file = tmp_path / "mine.toml"
        values = {"size": size, "kind": kind, "launcher": launcher, "executor": executor, "nodes": nodes, "gpus": gpus}
        file.write_text(SITE.format(**values))
        return load_site(file)

    return make


def label(atoms):
    structure = Structure(("Si",) * atoms, 3.0 * np.arange(3 * atoms).reshape(-1, 3), 99.0 * np.eye(3))
    engine = TeacherSettings()
    return Task(
        "label-0001",
        "label",
        label_key(structure, engine),
        "runner",
        encode(LabelRequest(structure, engine)),
        Resources(walltime_s=77.0),
        Provenance("c", "d", "random"),
    )


@pytest.mark.parametrize(
    ("size", "atoms", "usable", "expected"),
    [
        ("", 8, 4, (1, 1, 2)),
        ("nodes = 2\nranks_per_node = 4", 8, 4, (2, 8, 2)),
        ("nodes = 2\nranks_per_node = 4", 8, 1, (2, 8, 2)),
        ("atoms_per_node = 8\nranks_per_node = 4", 8, 4, (1, 4, 2)),
        ("atoms_per_node = 8\nranks_per_node = 4", 9, 4, (2, 8, 2)),
        ("atoms_per_node = 8", 64, 4, (4, 4, 2)),
        ("atoms_per_node = 8", 64, 3, (3, 3, 2)),
        ("atoms_per_node = 8\nmax_nodes = 2\nthreads = 8", 64, 4, (2, 2, 8)),
    ],
)
def test_labels_are_sized_by_the_site_and_by_what_can_be_used(site, size, atoms, usable, expected):
    found = task_resources(site(size), label(atoms), usable)
    assert (found.nodes, found.ranks, found.threads) == expected
    assert found.walltime_s == 77.0


def test_shell_lines_that_nobody_would_run_are_refused(tmp_path):
    file = tmp_path / "mpi.toml"
    file.write_text('name = "m"\nlauncher = "hydra"\nsetup = ["true"]\n[tasks.label]\nranks_per_node = 1\n')
    assert load_site(file).setup == ("true",)
    file.write_text(file.read_text().replace("= 1", "= 2"))
    with pytest.raises(InputError, match="setup: placed tasks have the environment of the driver"):
        load_site(file)


def test_size_is_part_of_no_content_key(site):
    task = label(16)
    assert task_resources(site("nodes = 2"), task, 4) != task_resources(site("nodes = 3"), task, 4)
    assert label(16).key == task.key


@pytest.mark.parametrize("kind", ["label", "explore", "fit"])
def test_gpus_of_a_task_give_it_a_place_on_a_node_that_has_them(site, kind):
    mine = site("gpus_per_node = 2", kind=kind, gpus=4)
    task = replace(label(8), kind=kind)
    assert task_resources(mine, task, 1).gpus_per_node == 2
    assert executor_for(mine, 1) == "placement"
    assert executor_for(site("", kind=kind, gpus=4), 1) == "htex", "control: on one node workers do"
    assert task_resources(site("", gpus=4), label(8), 1).gpus_per_node == 0


@pytest.mark.parametrize(
    ("size", "executor", "nodes", "expected"),
    [
        ("", "auto", 1, "htex"),
        ("", "auto", 2, "placement"),
        ("", "auto", 512, "placement"),
        ("", "auto", 513, "farm"),
        ("ranks_per_node = 2", "auto", 513, "placement"),
        ("gpus_per_node = 1", "auto", 513, "placement"),
        ("", "farm", 2, "farm"),
        ("", "placement", 1, "placement"),
    ],
)
def test_small_tasks_on_many_nodes_go_to_a_farm(site, size, executor, nodes, expected):
    assert executor_for(site(size, executor=executor, gpus=1), nodes) == expected


def test_plan_tells_of_the_farm(site):
    assert "a manager on each of 600 node(s)" in placing_sentence(site(), campaign_of(), 600)


def test_plan_tells_the_gpus_of_a_label(site):
    mine = site("gpus_per_node = 1\nranks_per_node = 2", gpus=4)
    assert "2 rank(s) of 2 thread(s) and 1 GPU(s)" in placing_sentence(mine, campaign_of(), 1)


def test_part_of_a_node_counts_by_its_cores():
    assert nodes_occupied(Resources(1, 2, 2), 8) == 0.5
    assert nodes_occupied(Resources(3, 3, 1), 8) == 3.0


@pytest.mark.parametrize(
    ("size", "more", "message"),
    [
        ("nodes = 2\natoms_per_node = 8", {}, "tasks.label: nodes and atoms_per_node contradict"),
        ("max_nodes = 2", {}, "max_nodes limits what atoms_per_node asks for"),
        ("ranks_per_node = 5", {}, "10 cores on each node exceed the 8"),
        ("nodes = 2", {"launcher": "none"}, "name the launcher of the site"),
        ("nodes = 2", {"executor": "htex"}, "need a launcher and executor placement"),
        ("ranks_per_node = 2", {"kind": "fit"}, "tasks.fit: is one process"),
        ("", {"launcher": "none", "executor": "placement"}, "name it as launcher"),
        ("", {"launcher": "none", "executor": "farm"}, "name it as launcher"),
        ("ranks_per_node = 2", {"executor": "farm"}, "need a launcher and executor placement"),
        ("gpus_per_node = 2", {"gpus": 1}, "tasks.label: 2 GPUs on each node exceed the 1"),
        ("gpus_per_node = 1", {"gpus": 1, "executor": "htex", "kind": "fit"}, "GPUs of its own need a launcher"),
        ("gpus_per_node = -1", {}, "tasks.label.gpus_per_node"),
        ("atoms_per_nod = 8", {}, "did you mean 'atoms_per_node'"),
        ('nodes = "2"', {}, "tasks.label.nodes"),
    ],
)
def test_sizes_that_cannot_be_right_are_refused_with_the_site_file(site, size, more, message):
    with pytest.raises(InputError, match=message):
        site(size, **more)


def test_ranks_that_this_machine_cannot_hold_are_refused_before_anything_begins():
    """Of `auto` cores nothing is known when the site file is read."""
    site = load_site("local-mpi")
    assert [node.cores for node in nodes_for(site, Machine(2, 1, 2, 1.0))] == [2]
    with pytest.raises(InputError, match="2 cores on each node, of which this one has 1"):
        nodes_for(site, Machine(1, 1, 1, 1.0))


def test_labels_that_an_allocation_could_never_hold_are_refused_before_it_is_asked_for(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    campaign = campaign_of()
    with pytest.raises(InputError, match="nodes: 5 of an allocation of 4; ask for more with --nodes"):
        placing_sentence(site("nodes = 5"), campaign, 4)
    with pytest.raises(InputError, match="a driver fills one node where the site has no launcher"):
        placing_sentence(site(launcher="none"), campaign, 4)
    assert placing_sentence(site(launcher="none"), campaign, 1) == ""
    assert placing_sentence(site("nodes = 2\nranks_per_node = 4"), campaign, 4) == (
        "labels on 2 of 4 node(s), 4 rank(s) of 2 thread(s) on each"
    )


def test_commands_tell_where_labels_go_and_refuse_what_cannot_run(site, tmp_path, monkeypatch, capsys, hpcmat):
    monkeypatch.chdir(tmp_path)
    campaign = str(tmp_path / "si.toml")
    (tmp_path / "si.toml").write_text(TEACHER)
    site("nodes = 2\nranks_per_node = 4")
    assert run(["check", campaign, "--site", "mine.toml"]) == 0
    assert "labels on 2 of 4 node(s)" in capsys.readouterr().out
    plan = hpcmat.answer("plan", campaign, "--site", "mine.toml")
    assert plan["placing"].startswith("labels on 2 of 4 node(s)")
    assert "#SBATCH --no-kill" in plan["allocation"]["script"]
    for command in ("plan", "submit"):
        assert run([command, campaign, "--site", "mine.toml", "--nodes", "1"]) == 2
        assert "nodes: 2 of an allocation of 1" in capsys.readouterr().err
    site("nodes = 5")
    assert run(["check", campaign, "--site", "mine.toml"]) == 2


TEACHER = """\
kind = "potential"
name = "si"
[system]
elements = ["Si"]
structures = [{ crystal = "diamond", element = "Si", a_ang = 5.47 }]
[engine]
name = "teacher"
[target]
force_rmse_ev_per_ang = 0.1
"""
