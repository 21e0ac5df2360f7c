"""Campaigns on the farm."""

import json
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import farm_tasks as tasks
import psutil
import pytest
from campaign_events import Drive, campaign_of

from hpcmat.campaign.events import Finished
from hpcmat.campaign.resources import dispatcher_of
from hpcmat.dispatch.executor import Workers
from hpcmat.dispatch.farm.dispatcher import FarmDispatcher
from hpcmat.dispatch.farm.layout import FarmLayout
from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.marks import TASK_PROCESS_NAME
from hpcmat.dispatch.placement.dispatcher import Allocation
from hpcmat.dispatch.placement.nodes import Node
from hpcmat.dispatch.sites import Machine, load_site
from hpcmat.dispatch.worker import Ending, Order
from hpcmat.errors import DispatchError
from hpcmat.records import Provenance, Resources, Task
from hpcmat.store.claims import Process
from hpcmat.store.results import ResultStore

LAYOUT = FarmLayout(managers=2, workers_per_manager=1)
SITE = """
name = "cluster"
kind = "pbs"
verified = "never run"
launcher = "hydra"
executor = "farm"
[environment]
PYTHONPATH = "{paths}"
[batch]
queues = [{{ name = "q" }}]
"""


def dispatcher_in(folder: Path) -> FarmDispatcher:
    return FarmDispatcher(LAYOUT, Workers(2, 3, (tasks.SETUP,)), folder, str(folder))


def order(store: ResultStore, number: int) -> Order:
    key = f"{number:064x}"
    resources, provenance = Resources(walltime_s=60.0), Provenance("campaign", "d", "random")
    task = Task(f"label-{number:04d}", "label", key, "worker_runners:give_result", "1", resources, provenance)
    return Order(task, str(store.root), Process.current(), cores_per_node=2)


def test_orders_are_carried_out_with_the_threads_asked_for(tmp_path):
    store = ResultStore(tmp_path / "store")
    dispatcher = dispatcher_in(tmp_path)
    with pytest.raises(DispatchError, match="enter it"):
        dispatcher.submit(order(store, 0))
    with dispatcher:
        assert dispatcher.healthy and dispatcher.workers == 2
        futures = [dispatcher.submit(order(store, number)) for number in range(4)]
        assert [future.result(timeout=60) for future in futures] == [Ending.DONE] * 4
        dispatcher.restart()
        assert dispatcher.submit(order(store, 4)).result(timeout=60) == Ending.DONE
    assert not dispatcher.healthy
    records = [store.read(f"{number:064x}") for number in range(5)]
    assert all(json.loads(record.outcome)["threads"] == "3" for record in records)
    assert {record.execution.worker for record in records} <= {"0/0", "1/0"}


@pytest.mark.parametrize(
    ("dialect", "words", "text"),
    [
        ("hydra", "mpiexec -n 2 -ppn 1 -hosts a,b", ""),
        ("openmpi", "mpiexec -n 2 --host a:1,b:1 --map-by ppr:1:node:PE=48", ""),
        ("srun", "srun --ntasks=2 --ntasks-per-node=1 --nodes=2 --nodelist=a,b --cpus-per-task=48", ""),
        ("fujitsu", "mpiexec -n 2 -vcoordfile", "(0) core=48\n(1) core=48\n"),
    ],
)
def test_each_node_gets_a_manager_with_all_its_cores(tmp_path, dialect, words, text):
    nodes = (Node("a", 48, 0, (0,)), Node("b", 48, 0, (1,)))
    environment = {"NUMBA_NUM_THREADS": "1", "NUMBA_CACHE_DIR": "/tmp/n"}
    allocation = Allocation(nodes, Launcher(dialect), lambda task, usable: task.resources, Resources(), environment)
    farm = FarmDispatcher.on(allocation, Workers(24, 2), tmp_path, "c")
    assert (farm.nodes, farm.workers, farm.cores) == (2, 48, 96)
    assert " ".join(farm._layout.command).startswith(words)
    assert [file.text for file in farm._layout.files] == [text] * bool(text)
    assert "export OMP_NUM_THREADS=2" in farm._setup and "OMP_NUM_THREADS=48" not in farm._setup
    assert "export NUMBA_NUM_THREADS=1" in farm._setup and "export NUMBA_CACHE_DIR=/tmp/n" in farm._setup
    assert ("-x NUMBA_CACHE_DIR" in " ".join(farm._layout.command)) == (dialect == "openmpi")


def busy_worker():
    """A worker of the farm below this process that has a task."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == TASK_PROCESS_NAME:
                return process.parent()
    return None


def test_campaign_of_a_site_runs_through_the_farm_and_survives_a_worker(tmp_path, monkeypatch):
    """Three managers; a worker is killed with a task: that goes on by itself, and all labels are made once.

    A manager cannot be lost without the others: MPI ends them (the test below).
    """
    names = ("localhost", "127.0.0.1", os.uname().nodename)
    (tmp_path / "nodes").write_text("\n".join(names))
    for name in ("SLURM_JOB_NODELIST", "SLURM_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PBS_NODEFILE", str(tmp_path / "nodes"))
    (tmp_path / "cluster.toml").write_text(SITE.format(paths=":".join(path for path in sys.path if path)))
    ledger = tmp_path / "ledger.txt"
    drive = Drive(tmp_path, campaign_of(ledger=ledger, engine="duration = { median_s = 0.3 }", labels=8))
    killed, used = [], set()

    def kill_a_worker(event, state):
        if isinstance(event, Finished):
            used.add(event.execution.worker.partition("/")[0])
            if not killed and state.done("train") and (worker := busy_worker()) is not None:
                worker.kill()
                killed.append(worker)

    drive.observe = kill_a_worker
    site = load_site(str(tmp_path / "cluster.toml"))
    with dispatcher_of(site, Machine(1, 1, 1, 1.0), tmp_path / "farm", str(tmp_path)) as drive.dispatcher:
        assert (drive.dispatcher.nodes, drive.dispatcher.workers, drive.dispatcher.room) == (3, 3, 3)
        state = drive.run()
    assert state.ended.complete and killed
    assert used == {"0", "1", "2"}, "every node works"
    lines = Counter(tuple(line.split()[:2]) for line in ledger.read_text().splitlines())
    keys = [task.key for task in state.done("train", "validation")]
    assert lines == dict.fromkeys([(what, key) for key in keys for what in ("start", "end")], 1)
    assert not state.failures


def test_campaign_survives_the_death_of_the_farm(tmp_path):
    """Killed with tasks out: nothing is computed twice, nothing lost, and nobody is charged."""
    ledger = tmp_path / "ledger.txt"
    engine = "duration = { median_s = 0.2, sigma = 0.3 }"
    drive = Drive(tmp_path, campaign_of(ledger=ledger, engine=engine, labels=5))
    killed = []

    def kill_a_manager(event, state):
        if isinstance(event, Finished) and state.done("train") and not killed:
            killed.append(tasks.ranks_below(os.getpid())[-1])
            killed[0].send_signal(signal.SIGKILL)

    drive.observe = kill_a_manager
    with dispatcher_in(tmp_path / "farm") as drive.dispatcher:
        state = drive.run()
    assert state.ended.complete and killed
    ends = Counter(line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("end"))
    assert ends == dict.fromkeys((task.key for task in state.done("train", "validation")), 1)
    assert all(attempt.failure.failure.free for _, attempt in state.failures)
