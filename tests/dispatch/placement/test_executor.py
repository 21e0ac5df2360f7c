"""The placement executor: with MPICH here, and on four pretended nodes with a launcher that starts one process."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from importlib import metadata
from pathlib import Path

import mpi_functions
import parsl
import psutil
import pytest
from parsl.config import Config
from parsl.executors.errors import InvalidResourceSpecification

from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.orphans import EPOCH_VARIABLE
from hpcmat.dispatch.placement import placer
from hpcmat.dispatch.placement.executor import Limits, PlacementExecutor, mpi_command
from hpcmat.dispatch.placement.nodes import Node
from hpcmat.dispatch.placement.outcome import TaskFailed
from hpcmat.errors import DispatchError
from hpcmat.records import FailureKind

TWO = {"num_nodes": 1, "num_ranks": 2, "walltime_s": 120.0}
NEVER = threading.Event()
DRIVER = """
import sys
sys.path.insert(0, sys.argv[1])
import mpi_functions
from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.placement.executor import PlacementExecutor
from hpcmat.dispatch.placement.nodes import Node
executor = PlacementExecutor([Node("localhost", 2)], Launcher("hydra", sys.argv[2]))
executor.run_dir = sys.argv[3]
executor.start()
executor.submit(mpi_functions.hang, {"num_ranks": 2}, sys.argv[3]).result()
"""
PRETENDED = """#!/bin/sh
# -n N -ppn P -hosts H COMMAND
hosts=$6
shift 6
echo "start $hosts" >> "$LEDGER"
"$@"
code=$?
echo "end $hosts" >> "$LEDGER"
exit $code
"""


@pytest.fixture(autouse=True)
def short_grace(monkeypatch):
    monkeypatch.setattr("hpcmat.dispatch.placement.placer.GRACE_S", 0.3)
    monkeypatch.setattr("hpcmat.dispatch.placement.executor.GRACE_S", 0.3)


def mpich():
    # The package belongs to the test environment: without it these tests fail, they do not pass in silence.
    return next(str(file.locate()) for file in metadata.files("mpich") or () if file.name == "mpiexec.hydra")


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    executor = PlacementExecutor([Node("localhost", 4)], Launcher("hydra", mpich()))
    executor.run_dir = str(tmp_path_factory.mktemp("real"))
    executor.start()
    yield executor
    executor.shutdown()


@pytest.fixture
def pretended(tmp_path, monkeypatch):
    """Makes an executor on four nodes; ends it, and checks that no node was used twice at a time."""
    program, ledger = tmp_path / "mpiexec", tmp_path / "ledger"
    program.write_text(PRETENDED)
    program.chmod(0o755)
    ledger.touch()
    monkeypatch.setenv("LEDGER", str(ledger))
    # As under a driver that has a warden of its own: it takes a second to end.
    monkeypatch.setenv(EPOCH_VARIABLE, "test")
    made = []

    def make(**limits):
        nodes = [Node(f"n{i}", 2, 2) for i in range(1, 5)]
        executor = PlacementExecutor(nodes, Launcher("hydra", str(program)), Limits(**limits))
        executor.run_dir = str(tmp_path)
        executor.start()
        made.append(executor)
        return executor

    yield make
    for executor in made:
        executor.shutdown()


def whole(nodes, **more):
    return {"num_nodes": nodes, "ranks_per_node": 1, "whole_nodes": True, "walltime_s": 60.0} | more


def fifo(folder, name):
    """A command that runs until it is released, and its release, which waits until it runs."""
    path = folder / name
    os.mkfifo(path)
    return ["cat", str(path)], lambda: path.open("w").close()


def alive(pids):
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def test_ranks_of_a_function_see_each_other(real):
    assert real.submit(mpi_functions.sum_of_ranks, TWO, 10).result(timeout=120) == (2, 21)


def test_error_of_a_rank_ends_all_and_reaches_the_caller(real):
    error = real.submit(mpi_functions.fail_on_last_rank, TWO).exception(timeout=120)
    assert isinstance(error, ValueError)
    assert str(error) == "rank 1 is unwell"
    assert "raised by rank 1" in error.__notes__[0]


@pytest.mark.parametrize("how", ["walltime", "cancel"])
def test_hung_task_is_ended_with_all_its_children(real, tmp_path, how):
    # Long enough for MPI to start on a busy machine; the task itself would never end.
    future = real.submit(mpi_functions.hang, TWO | {"walltime_s": 5.0 if how == "walltime" else 600.0}, str(tmp_path))
    files = [tmp_path / "pids-0", tmp_path / "pids-1"]
    while not all(file.exists() for file in files) and not future.done():
        NEVER.wait(0.02)
    pids = [int(pid) for file in files for pid in file.read_text().split()]
    if how == "cancel":
        assert alive(pids) == pids
        assert future.cancel()
        with pytest.raises(CancelledError):
            future.result(timeout=60)
        while real._placer.state.running:
            NEVER.wait(0.02)
    else:
        assert future.exception(timeout=60).failure.failure is FailureKind.WALLTIME
    assert alive(pids) == []


def test_killed_driver_leaves_no_process(tmp_path):
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HPCMAT_")}
    line = [sys.executable, "-c", DRIVER, str(Path(__file__).parent), mpich(), str(tmp_path)]
    driver = subprocess.Popen(line, env=environment | {"PYTHONPATH": paths})
    files = [tmp_path / "pids-0", tmp_path / "pids-1"]
    while not all(file.exists() for file in files) and driver.poll() is None:
        NEVER.wait(0.02)
    pids = [int(pid) for file in files for pid in file.read_text().split()]
    assert alive(pids) == pids
    driver.kill()
    driver.wait()
    _, left = psutil.wait_procs([psutil.Process(pid) for pid in alive(pids)], timeout=60)
    assert left == []


def test_worlds_of_one_rank_are_no_success(real):
    """MPI that does not hear of its launcher starts a world of its own in each rank, and all of them end well."""
    unheard = ["env", "-u", "PMI_FD", "-u", "PMI_RANK", "-u", "PMI_SIZE", "-u", "PMI_PORT"]
    python = sys.executable
    alone = [*unheard, python, "-c", "from mpi4py import MPI; assert MPI.COMM_WORLD.Get_size() == 1"]
    assert real.submit(mpi_command, TWO, alone).result(timeout=120).nodes == ("localhost",)
    checked = [*unheard, python, "-m", "hpcmat.dispatch.launchers.world"]
    error = real.submit(mpi_command, TWO, checked).exception(timeout=120)
    assert error.failure.failure is FailureKind.BAD_SETTINGS
    assert "1 ranks instead of 2" in error.failure.log_tail
    assert real.submit(mpi_command, TWO, checked[len(unheard) :]).result(timeout=120)


def test_parsl_apps_run_on_it(tmp_path):
    executor = PlacementExecutor([Node("localhost", 2)], Launcher("hydra", mpich()))
    config = Config(executors=[executor], run_dir=str(tmp_path), usage_tracking=0, initialize_logging=False)

    def scaled_size(factor):
        from mpi4py import MPI

        return factor * MPI.COMM_WORLD.allreduce(1)

    with parsl.load(config) as kernel:
        app = parsl.python_app(scaled_size, data_flow_kernel=kernel)
        assert app(3, parsl_resource_specification=TWO).result(timeout=120) == 6
        failing = parsl.python_app(mpi_functions.fail_on_last_rank, data_flow_kernel=kernel)
        with pytest.raises(ValueError, match="rank 1 is unwell"):
            failing(parsl_resource_specification=TWO).result(timeout=120)
        command = parsl.python_app(mpi_command, data_flow_kernel=kernel)
        assert command(["true"], parsl_resource_specification=TWO).result(timeout=120).nodes == ("localhost",)
    assert executor._placer is None


def test_tasks_of_three_and_one_nodes_all_end(pretended, tmp_path):
    """The mix on which Parsl's MPIExecutor hangs (test_parsl_mpi_executor.py)."""
    executor = pretended()
    held, release = fifo(tmp_path, "first")
    futures = [executor.submit(mpi_command, whole(3), held)]
    futures += [executor.submit(mpi_command, whole(n), ["true"]) for n in (1, 3, 1, 3, 1, 4, 2)]
    release()
    ends = [future.result(timeout=60) for future in futures]
    assert [len(end.nodes) for end in ends] == [3, 1, 3, 1, 3, 1, 4, 2]
    assert used_twice(tmp_path / "ledger") == []


def used_twice(ledger):
    busy, found = set(), []
    for line in ledger.read_text().splitlines():
        what, hosts = line.split()
        names = set(hosts.split(","))
        found += [line] if what == "start" and busy & names else []
        busy = busy | names if what == "start" else busy - names
    return found


def test_ledger_would_show_a_node_used_twice(tmp_path):
    (tmp_path / "ledger").write_text("start n1,n2\nstart n2\n")
    assert used_twice(tmp_path / "ledger") == ["start n2"]


def test_parts_of_a_node_run_together_with_gpus_of_their_own(pretended, tmp_path):
    executor = pretended()
    held, release = fifo(tmp_path, "gpu")
    half = {"num_ranks": 1, "gpus_per_node": 1, "walltime_s": 60.0}
    show = ["sh", "-c", f"echo $CUDA_VISIBLE_DEVICES; exec {' '.join(held)}"]
    first = executor.submit(mpi_command, half, show)
    second = executor.submit(mpi_command, half, ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS"])
    two = second.result(timeout=60)
    release()
    one = first.result(timeout=60)
    assert one.nodes == two.nodes == ("n1",)
    assert (one.folder / "stdout.txt").read_text() == "0\n"
    assert (two.folder / "stdout.txt").read_text() == "1 1\n"


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        (whole(5), "5 whole nodes"),
        ({"num_ranks": 3}, "3 cores of one node"),
        ({"num_nodes": 2, "num_ranks": 5}, "same number"),
        ({"num_nodes": 2.0}, "num_nodes"),
        ({"num_node": 2}, "did you mean 'num_nodes'"),
        ({"gpus_per_node": 3}, "3 GPUs"),
    ],
)
def test_what_can_never_run_is_refused_at_once(pretended, specification, message):
    with pytest.raises(InvalidResourceSpecification, match=message):
        pretended().submit(mpi_command, specification, ["true"])


def test_nothing_starts_that_would_outlast_the_allocation(pretended):
    executor = pretended(ends_at=time.time() + 100.0)
    with pytest.raises(InvalidResourceSpecification, match="submit it to the next"):
        executor.submit(mpi_command, whole(1, predicted_s=150.0, walltime_s=200.0), ["true"])
    saved = whole(1, predicted_s=150.0, walltime_s=200.0, checkpoint_s=5.0)
    assert executor.submit(mpi_command, saved, ["true"]).result(timeout=60)


def test_running_tasks_end_with_the_allocation_and_waiting_ones_are_given_back(pretended):
    executor = pretended(ends_at=time.time() + 4.0)
    until_killed = executor.submit(mpi_command, whole(4, checkpoint_s=0.01), ["sleep", "600"])
    waiting = executor.submit(mpi_command, whole(4, predicted_s=1.0), ["true"])
    assert waiting.exception(timeout=60).failure.failure is FailureKind.PREEMPTED
    assert until_killed.exception(timeout=60).failure.failure is FailureKind.PREEMPTED


def test_failures_are_typed_and_keep_what_was_written(pretended):
    executor = pretended()
    error = executor.submit(mpi_command, whole(1), ["sh", "-c", "echo no basis set >&2; exit 3"]).exception(timeout=60)
    assert isinstance(error, TaskFailed)
    assert (error.failure.failure, error.failure.exit_code) == (FailureKind.CRASH, 3)
    assert error.failure.log_tail == "no basis set\n"
    error = executor.submit(mpi_command, whole(1), ["sh", "-c", "kill -9 $$"]).exception(timeout=60)
    assert error.failure.failure is FailureKind.KILLED


def test_node_that_cannot_be_reached_gets_no_more_tasks(pretended):
    executor = pretended()
    lost = ["sh", "-c", "echo ssh: connect to host n1 port 22: No route to host >&2; exit 255"]
    error = executor.submit(mpi_command, whole(1), lost).exception(timeout=60)
    assert error.failure.failure is FailureKind.NODE_LOST
    assert "n1" in error.failure.message
    ends = [executor.submit(mpi_command, whole(1), ["true"]) for _ in range(8)]
    assert "n1" not in {end.result(timeout=60).nodes[0] for end in ends}
    with pytest.raises(InvalidResourceSpecification, match="4 whole nodes"):
        executor.submit(mpi_command, whole(4), ["true"])


def test_tasks_that_a_fence_makes_impossible_are_given_back(pretended, tmp_path):
    executor = pretended()
    held, release = fifo(tmp_path, "held")
    first = executor.submit(mpi_command, whole(1), held)
    large = executor.submit(mpi_command, whole(4), ["true"])
    executor.fence("n4")
    assert large.exception(timeout=60).failure.failure is FailureKind.NODE_LOST
    release()
    assert first.result(timeout=60)


def test_launcher_that_is_not_there_fails_the_task(tmp_path):
    executor = PlacementExecutor([Node("n1", 1)], Launcher("hydra", "no-such-mpiexec"))
    executor.run_dir = str(tmp_path)
    with pytest.raises(DispatchError, match="start"):
        executor.submit(mpi_command, {}, ["true"])
    executor.start()
    error = executor.submit(mpi_command, {}, ["true"]).exception(timeout=60)
    executor.shutdown()
    assert error.failure.failure is FailureKind.BAD_SETTINGS
    assert "no-such-mpiexec" in error.failure.message


def test_shutdown_ends_what_runs_and_settles_what_waits(pretended, tmp_path):
    executor = pretended(max_concurrent=1)
    held, _ = fifo(tmp_path, "held")
    running, waiting = (executor.submit(mpi_command, whole(1), held) for _ in range(2))
    while not (tmp_path / "ledger").read_text():
        NEVER.wait(0.02)
    executor.shutdown()
    assert {f.exception(timeout=0).failure.failure for f in (running, waiting)} == {FailureKind.KILLED}


def test_cancelled_while_it_waits_never_starts(pretended, tmp_path):
    executor = pretended()
    held, release = fifo(tmp_path, "held")
    first = executor.submit(mpi_command, whole(4), held)
    second = executor.submit(mpi_command, whole(4), ["touch", str(tmp_path / "ran")])
    assert second.cancel()
    release()
    assert first.result(timeout=60)
    assert executor.submit(mpi_command, whole(4), ["true"]).result(timeout=60)
    assert not (tmp_path / "ran").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_placement_that_has_died(pretended, monkeypatch):
    executor = pretended()
    monkeypatch.setattr(placer, "decide", lambda state, policy: 1 / 0)
    assert isinstance(executor.submit(mpi_command, whole(1), ["true"]).exception(timeout=60), ZeroDivisionError)
    executor._placer._thread.join()
    assert isinstance(executor.submit(mpi_command, whole(1), ["true"]).exception(timeout=60), DispatchError)


def test_functions_that_cannot_be_sent_are_refused(pretended):
    with pytest.raises(DispatchError, match="cannot be sent"):
        pretended().submit(mpi_functions.sum_of_ranks, {}, threading.Lock())
