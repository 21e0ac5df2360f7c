"""Site files: found by name or path, strict, and `auto` resolved within what the machine has."""

import os
from pathlib import Path

import pytest

from hpcmat.dispatch import sites
from hpcmat.dispatch.sites import Site, describe_machine, known_sites, load_site, machine_here, usable_cores
from hpcmat.errors import InputError

JOBS = Path(__file__).resolve().parents[2] / "jobs" / "sites"


def write(folder, text):
    path = folder / "machine.toml"
    path.write_text(text)
    return path


def test_shipped_sites_load_and_carry_their_name():
    assert "local" in known_sites()
    for name, path in known_sites().items():
        site = load_site(name)
        assert site.name == name
        assert site.source == path


def test_local_site_keeps_libraries_to_one_thread():
    assert load_site().environment["OMP_NUM_THREADS"] == "1"


def test_path_works_like_a_name(tmp_path):
    site = load_site(write(tmp_path, 'name = "mine"\nworkers = 3\ncores_per_node = 8\nsetup = ["module load gcc"]'))
    assert (site.name, site.workers, site.setup) == ("mine", 3, ("module load gcc",))
    assert describe_machine(site).workers == 3


BATCH = 'name = "a"\nkind = "pbs"\nverified = "never run"\n[batch]\nqueues = [{ name = "q" }]\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            'name = "a"\nworkers = "many"',
            "workers: expected an integer, got the text 'many'; write an integer or 'auto'",
        ),
        ('name = "a"\nworkers = 0', "workers: must be greater than or equal to 1"),
        ('name = "a"\nkind = "slurmm"', "kind: unknown value 'slurmm'; did you mean 'slurm'?"),
        ('name = "a"\nkind = "slurm"', 'batch: missing, and kind is "slurm"; add [batch] with its queues'),
        ('name = "a"\nkind = "pbs"\n[batch]', "batch.queues: missing"),
        ('name = "a"\nkind = "pbs"\n[batch]\nqueues = [{ name = "q" }]', "verified: missing; say where"),
        ('name = "a"\n[batch]\nqueues = [{ name = "q" }]', 'batch: kind is "local"; name the scheduler'),
        (BATCH + "walltime = 1.0", "unknown key 'walltime'; did you mean 'walltime_h'?"),
        (BATCH + 'node_request = "select={node}"', "unknown placeholder {node}; use {nodes}, {cores}"),
        (BATCH + 'node_request = "select={nodes"', "batch.node_request: expected '}'"),
        (BATCH + 'account_option = "-A {group}"', "unknown placeholder {group}; use {account}"),
        (BATCH.replace('"q"', '"q", min_nodes = 5, max_nodes = 4'), "'q' has max_nodes 4 below min_nodes 5"),
        (BATCH.replace('"q"', '"q", max_node = 4'), "unknown key 'max_node'; did you mean 'max_nodes'?"),
        ('name = "a"\nlauncher = "mpich"', "launcher: unknown value 'mpich'; choose one of none, hydra"),
        ('name = "a"\nworker = 2', "unknown key 'worker'; did you mean 'workers'?"),
        ('name = "a"\nenvironment = { A = 1 }', "environment.A: expected a text in quotes, got 1"),
        ("workers = 2", "name: missing"),
        ('name = "a"\n[', "not valid TOML"),
    ],
)
def test_mistakes_are_refused(tmp_path, text, expected):
    with pytest.raises(InputError) as caught:
        load_site(write(tmp_path, text))
    assert expected in str(caught.value)


def test_sites_of_centres_say_that_they_never_ran_and_where_their_facts_are_from():
    for name in ("fugaku", "wisteria", "genkai", "miyabi", "abci", "tsubame", "pbs"):
        site = load_site(name)
        assert site.verified == "never run"
        assert "https://" in site.source.read_text()


def test_numbers_of_another_machine_are_not_asked_of_this_one(tmp_path):
    site = load_site(write(tmp_path, BATCH))
    with pytest.raises(
        InputError, match='cores_per_node, memory_gib: "auto", but a node of this site is not the machine'
    ):
        describe_machine(site)
    fugaku = describe_machine(load_site("fugaku"))
    assert (fugaku.workers, fugaku.cores_per_node, fugaku.memory_gib) == (48, 48, 32.0)


def test_slurm_is_asked_for_its_smallest_node(tmp_path, monkeypatch):
    sinfo = tmp_path / "sinfo"
    sinfo.write_text("#!/bin/sh\necho '64+ 257000+'\necho '48 128000'\n")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    machine = describe_machine(load_site("slurm"))
    assert (machine.cores_per_node, machine.workers, machine.memory_gib) == (48, 48, 125.0)
    sinfo.write_text("#!/bin/sh\necho 'slurm_load_partitions: Unable to contact slurm controller' >&2; exit 1\n")
    with pytest.raises(InputError, match="write the numbers"):
        describe_machine(load_site("slurm"))


def test_driver_of_a_scheduled_site_runs_inside_an_allocation_alone():
    fugaku = load_site("fugaku")
    with pytest.raises(InputError, match=r"PJM_JOBID is not set here; use `hpcmat submit CAMPAIGN --site fugaku`"):
        machine_here(fugaku, {})
    here = machine_here(fugaku, {"PJM_JOBID": "1"})
    assert here.cores_per_node == usable_cores()
    assert machine_here(load_site("local"), {}) == describe_machine(load_site("local"))


def test_unknown_site_lists_the_known_ones():
    with pytest.raises(InputError, match=r"unknown site 'locl'; did you mean 'local'\? known: .*local"):
        load_site("locl")
    with pytest.raises(InputError, match="no such file"):
        load_site("elsewhere/machine.toml")


def test_installed_sites_serve_where_there_is_no_checkout(tmp_path, monkeypatch):
    folder = tmp_path / "share" / "hpcmat" / "jobs" / "sites"
    folder.mkdir(parents=True)
    (folder / "far.toml").write_text('name = "far"')
    (folder / "local.toml").write_text('name = "installed"')
    monkeypatch.setattr(sites.sys, "prefix", str(tmp_path))
    assert load_site("far").name == "far"
    assert load_site("local").source == JOBS / "local.toml"
    monkeypatch.setattr(sites, "__file__", str(tmp_path / "lib" / "hpcmat" / "dispatch" / "sites.py"))
    assert load_site("local").name == "installed"


@pytest.mark.parametrize(("cores", "each", "workers"), [(8, 1, 8), (8, 3, 2), (1, 1, 1)])
def test_auto_fills_the_cores(cores, each, workers):
    machine = describe_machine(Site(name="a", cores_per_node=cores, cores_per_worker=each, memory_gib=4.0))
    assert (machine.workers, machine.cores_per_node, machine.memory_gib) == (workers, cores, 4.0)


def test_worker_larger_than_the_node_is_refused():
    with pytest.raises(InputError, match="9 exceeds the 8 cores"):
        describe_machine(Site(name="a", cores_per_node=8, cores_per_worker=9))


def test_affinity_limits_the_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    assert usable_cores() == 1


@pytest.mark.parametrize(
    ("line", "cores"), [("200000 100000", 2), ("max 100000", 64), ("50000 100000", 0), ("nonsense", 64)]
)
def test_quota_of_the_control_group(tmp_path, line, cores):
    file = tmp_path / "cpu.max"
    file.write_text(line)
    assert sites._quota_cores(file, 64) == cores
    assert sites._quota_cores(tmp_path / "absent", 64) == 64
