"""Tasks of a campaign placed on nodes: ranks under MPICH here, and four pretended nodes with a small launcher."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from ase.build import bulk
from label_orders import dispatcher, label_order, mpich, order

from hpcmat.dispatch.batch.script import DRAIN_VARIABLE
from hpcmat.dispatch.dispatcher import LostWorker
from hpcmat.dispatch.executor import is_lost_worker
from hpcmat.dispatch.placement.nodes import Node
from hpcmat.dispatch.worker import Ending
from hpcmat.engines.base import Job
from hpcmat.engines.settings import DurationSettings, FaultSettings, TeacherSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.engines.teacher import TeacherEngine
from hpcmat.errors import DispatchError
from hpcmat.records import Failure, FailureKind, Label, Resources, decode
from hpcmat.store.results import AttemptState, ResultStore

NEVER = threading.Event()
RESULT = "worker_runners:give_result"
LONG = Resources(walltime_s=3600.0)
DRIVER = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1].split(":")
from label_orders import dispatcher, label_order
from test_dispatcher import slow_teacher, silicon
from hpcmat.store.results import ResultStore
folder = Path(sys.argv[2])
with dispatcher(folder) as started:
    started.submit(label_order(ResultStore(folder / "store"), silicon(), slow_teacher(folder))).result()
"""
PRETENDED = """#!/bin/sh
# -n N -ppn P -hosts H COMMAND
hosts=$6
shift 6
[ ! -e "$(dirname $0)/down-$hosts" ] || { echo "ssh: connect to host $hosts port 22: No route" >&2; exit 255; }
left="$(dirname $0)/left"
[ ! -e "$(dirname $0)/leaves" ] || setsid sh -c 'echo $$ >"$0"; exec sleep 1000' "$left" >/dev/null 2>&1 &
exec env -u PMI_FD -u PMI_RANK -u PMI_SIZE "$@"
"""


def silicon():
    return from_atoms(bulk("Si", "diamond", 5.43).repeat((2, 1, 1)))


def slow_teacher(folder, seconds=3.0):
    return TeacherSettings(duration=DurationSettings(median_s=seconds), ledger=str(folder / "ledger.txt"))


def only_attempt(store, key):
    (attempt,) = store.attempts(key)
    return attempt


def failure_of(attempt):
    return decode(Failure, attempt.record.outcome)


def pretended_launcher(folder):
    program = folder / "mpiexec"
    program.write_text(PRETENDED)
    program.chmod(0o755)
    return program


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """One node of four cores under MPICH, and a store."""
    folder = tmp_path_factory.mktemp("real")
    with dispatcher(folder) as started:
        yield started, ResultStore(folder / "store")


@pytest.fixture
def pretended(tmp_path):
    """Four nodes of two cores under a launcher that starts one process here."""
    program = pretended_launcher(tmp_path)
    nodes = [Node(f"n{number}", 2) for number in range(1, 5)]
    with dispatcher(tmp_path, nodes, program, Resources(2, 2)) as started:
        yield started, ResultStore(tmp_path / "store")


def test_label_on_two_ranks_is_that_of_one_process(real, tmp_path):
    started, store = real
    settings = TeacherSettings(noise_ev_per_ang=0.05, ledger=str(tmp_path / "ledger.txt"))
    asked = label_order(store, silicon(), settings)
    assert started.submit(asked).result(timeout=120) == Ending.DONE
    attempt = only_attempt(store, asked.task.key)
    serial = TeacherEngine(settings.model_copy(update={"ledger": None})).calculate(silicon(), Job(tmp_path))
    found = decode(Label, attempt.record.outcome)
    assert (found.energy, found.forces.tolist()) == (serial.energy, serial.forces.tolist())
    assert [line.split()[0] for line in (tmp_path / "ledger.txt").read_text().splitlines()] == ["start", "end"]
    assert (attempt.record.execution.nodes, attempt.record.execution.cores) == (1, 2)
    assert {"ranks.json", "ranks.txt", "teacher.out"} <= {name for name, _ in attempt.record.files}
    assert not (attempt.folder / ".launch").exists()


def test_rank_that_dies_ends_all_and_makes_no_label(real):
    started, store = real
    asked = label_order(store, silicon(), TeacherSettings(seed=1, faults=FaultSettings(crash=1.0)))
    assert started.submit(asked).result(timeout=120) == Ending.DONE
    attempt = only_attempt(store, asked.task.key)
    assert failure_of(attempt).failure is FailureKind.CRASH
    assert "its ranks left with exit code" in failure_of(attempt).message


def test_typed_failure_of_a_rank_comes_back_as_it_is(real):
    started, store = real
    asked = label_order(store, silicon(), TeacherSettings(seed=2, faults=FaultSettings(not_converged=1.0)))
    assert started.submit(asked).result(timeout=120) == Ending.DONE
    assert failure_of(only_attempt(store, asked.task.key)).failure is FailureKind.NOT_CONVERGED


def test_walltime_ends_every_rank(real, tmp_path):
    started, store = real
    limit = Resources(1, 2, 1, walltime_s=6.0)
    asked = label_order(store, silicon(), slow_teacher(tmp_path, 600.0).model_copy(update={"seed": 3}), limit)
    future, seen = started.submit(asked), set()
    while not future.done():
        seen |= set(ranks_of(asked.task.key))
        NEVER.wait(0.05)
    assert future.result() == Ending.DONE
    assert failure_of(only_attempt(store, asked.task.key)).failure is FailureKind.WALLTIME
    assert len(seen) >= 2, "negative control: the ranks had begun"
    assert not [process for process in seen if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def ranks_of(key):
    """Processes that are ranks of a label."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if "hpcmat.engines.ranks" in line and any(key in word for word in line) and "mpiexec" not in line[0]:
            found += [process] if "hpcmat.dispatch.launchers.world" in line[2] else []
    return found


def test_driver_that_is_killed_leaves_its_label_to_end_by_itself(tmp_path):
    """What is paid for is not thrown away; then nothing of it is left."""
    here = Path(__file__).parent
    paths = os.pathsep.join([str(here), *(path for path in sys.path if path)])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HPCMAT_")}
    line = [sys.executable, "-c", DRIVER, str(here), str(tmp_path)]
    driver = subprocess.Popen(line, env=environment | {"PYTHONPATH": paths})
    store, key = ResultStore(tmp_path / "store"), label_order(ResultStore(tmp_path), silicon(), slow_teacher(tmp_path))
    key = key.task.key
    while not (tmp_path / "ledger.txt").exists():
        assert driver.poll() is None
        NEVER.wait(0.05)
    driver.kill()
    driver.wait()
    assert only_attempt(store, key).state is AttemptState.RUNNING
    while only_attempt(store, key).state is AttemptState.RUNNING:
        NEVER.wait(0.1)
    assert only_attempt(store, key).record.accepted
    while ranks_of(key):
        NEVER.wait(0.05)


def test_one_process_runs_on_the_node_it_was_given_with_its_threads(pretended):
    started, store = pretended
    asked = order(store, "a" * 64, RESULT, resources=Resources(1, 1, 2, 60.0))
    with pytest.raises(DispatchError, match="enter it"):
        dispatcher(Path("nowhere")).submit(asked)
    assert started.submit(asked).result(timeout=120) == Ending.DONE
    record = only_attempt(store, "a" * 64).record
    assert json.loads(record.outcome) == {"kind": "label", "request": 1, "attempt": 1, "threads": "2"}
    assert record.execution.cores == 2
    assert "output.txt" in dict(record.files)


def test_each_gpu_is_seen_by_one_task_at_a_time(tmp_path):
    program = pretended_launcher(tmp_path)
    (tmp_path / "meeting").mkdir()
    share, whole = Resources(1, 1, 1, 60.0, 1), Resources(1, 1, 4, 60.0, 2)
    with dispatcher(tmp_path, [Node("n1", 4, 2)], program, share) as started:
        store = ResultStore(tmp_path / "store")
        assert started.workers == 2, "as many as there are GPUs, though there are four cores"

        def ask(name, resources):
            return started.submit(order(store, name * 64, "worker_runners:tell_gpus", request, resources))

        request = f"{tmp_path / 'meeting'} 3"
        futures = [ask("a", share), ask("b", share), ask("c", replace(share, gpus_per_node=0))]
        assert [future.result(timeout=120) for future in futures] == [Ending.DONE] * 3
        assert ask("d", whole).result(timeout=120) == Ending.DONE
        error = ask("e", replace(share, gpus_per_node=3)).exception(timeout=60)
        assert "3 GPUs" in str(error)
    seen = [json.loads(only_attempt(store, name * 64).record.outcome)["gpus"] for name in "abcd"]
    assert (sorted(seen[:2]), seen[2:]) == (["0", "1"], ["", "all"])


def test_what_a_launcher_leaves_in_a_session_of_its_own_ends_with_the_task(pretended, tmp_path):
    started, store = pretended
    (tmp_path / "leaves").touch()
    asked = order(store, "a" * 64, "worker_runners:wait_for_permission", json.dumps(str(tmp_path)))
    future = started.submit(asked)
    while not (tmp_path / "left").exists() or not (tmp_path / "left").read_text().endswith("\n"):
        NEVER.wait(0.02)
    left = psutil.Process(int((tmp_path / "left").read_text()))
    assert left.is_running(), "negative control: it does not end by itself"
    (tmp_path / "go").touch()
    assert future.result(timeout=120) == Ending.DONE
    assert not left.is_running() or left.status() == psutil.STATUS_ZOMBIE


def test_world_of_the_wrong_size_is_told(pretended):
    """The pretended launcher starts one process where two ranks were asked for, and it ends well."""
    started, store = pretended
    asked = label_order(store, silicon(), TeacherSettings())
    assert started.submit(asked).result(timeout=120) == Ending.DONE
    failure = failure_of(only_attempt(store, asked.task.key))
    assert failure.failure is FailureKind.BAD_SETTINGS
    assert "1 ranks instead of 2" in failure.log_tail


def test_lost_node_costs_nothing_and_gets_no_more_tasks(pretended, tmp_path):
    started, store = pretended
    (tmp_path / "down-n1").touch()
    whole = Resources(1, 1, 2, 60.0)
    assert (started.workers, started.room, started.nodes) == (2, 2, 4)
    assert started.submit(order(store, "a" * 64, RESULT, resources=whole)).result(timeout=120) == Ending.DONE
    failure = failure_of(only_attempt(store, "a" * 64))
    assert (failure.failure, failure.failure.free) == (FailureKind.NODE_LOST, True)
    for name in "bcdef":
        assert started.submit(order(store, name * 64, RESULT, resources=whole)).result(timeout=120) == Ending.DONE
        assert only_attempt(store, name * 64).record.accepted
    # The nodes of the last one are given back beside its answer.
    while started.room != 1:
        NEVER.wait(0.02)
    assert started.workers == 2
    assert not started.draining
    error = started.submit(order(store, "9" * 64, RESULT, resources=Resources(4, 4))).exception(timeout=60)
    assert is_lost_worker(error)
    assert "4 whole nodes" in str(error)
    assert started.draining, "the successor may have four"


def test_what_could_not_end_in_this_allocation_is_held_and_given_back(tmp_path, monkeypatch):
    monkeypatch.setenv(DRAIN_VARIABLE, str(int(time.time()) + 1000))
    with dispatcher(tmp_path, program=mpich()) as started:
        store = ResultStore(tmp_path / "store")
        long = replace(order(store, "a" * 64, RESULT, resources=LONG), predicted_s=890.0)
        assert started.submit(long).result(timeout=120) == Ending.DONE
        assert started.held == 0, "control: what fits begins"
        # As if most of the allocation were over.
        started._policy = started._placer._policy = replace(started._policy, drains_at=time.monotonic() + 800.0)
        held = started.submit(replace(order(store, "b" * 64, RESULT, resources=LONG), predicted_s=890.0))
        short = started.submit(replace(order(store, "c" * 64, RESULT, resources=LONG), predicted_s=10.0))
        assert short.result(timeout=120) == Ending.DONE
        assert (started.held, held.done(), started.draining) == (1, False, False)
        started.give_back()
        assert held.result(timeout=60) == Ending.DECLINED
        assert started.held == 0 and not store.attempts("b" * 64)


def test_task_that_runs_when_the_dispatcher_ends_is_left_to_itself(tmp_path):
    with dispatcher(tmp_path, program=mpich()) as started:
        store = ResultStore(tmp_path / "store")
        asked = order(store, "a" * 64, "worker_runners:wait_for_permission", json.dumps(str(tmp_path)))
        future = started.submit(asked)
        while not (tmp_path / "started").exists():
            assert not future.done()
            NEVER.wait(0.05)
    assert isinstance(future.exception(timeout=60), LostWorker)
    assert only_attempt(store, "a" * 64).state is AttemptState.RUNNING
    (tmp_path / "go").touch()
    while only_attempt(store, "a" * 64).state is AttemptState.RUNNING:
        NEVER.wait(0.05)
    assert only_attempt(store, "a" * 64).record.accepted
