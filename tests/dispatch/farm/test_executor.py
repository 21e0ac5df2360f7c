"""The farm at work, under mpiexec of the wheel: what it returns, what it survives, and what it says when it cannot."""

import os
import signal
import subprocess
import sys
import traceback
from concurrent.futures import CancelledError

import farm_tasks as tasks
import numpy as np
import parsl
import psutil
import pytest
from parsl.executors.errors import InvalidResourceSpecification
from parsl.executors.high_throughput.errors import WorkerLost

from hpcmat.dispatch.executor import is_lost_worker
from hpcmat.dispatch.farm import executor
from hpcmat.dispatch.farm.executor import FarmExecutor, FarmLost
from hpcmat.dispatch.farm.layout import FarmLayout

CHAIN = FarmLayout(managers=3, workers_per_manager=1, prefetch=1, fanout=1)
"""Root, a manager below it, and one below that: everything of the third passes through the second."""
PLACES = CHAIN.workers * (1 + 2 * CHAIN.prefetch) - CHAIN.prefetch
"""Above the root nothing waits for it."""
PATIENCE_S = 60


def farm_of(layout, folder):
    farm = FarmExecutor(layout, folder, tasks.SETUP)
    farm.start()
    return farm


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    with farm_of(CHAIN, tmp_path_factory.mktemp("farm")) as started:
        yield started


def outcome(future):
    return future.exception(timeout=PATIENCE_S)


def test_results_come_back_from_the_workers_of_all_managers(farm, tmp_path):
    names = [farm.submit(tasks.wait_for_gate, {}, str(tmp_path), number) for number in range(50)]
    tasks.until(lambda: len(list(tmp_path.glob("*.began"))) == CHAIN.workers)
    places = [path.read_text().split() for path in tmp_path.glob("*.began")]
    (tmp_path / "gate").touch()
    assert [future.result(PATIENCE_S) for future in names] == list(range(50))
    assert sorted(manager for _, manager in places) == ["0", "1", "2"]
    pids = {pid for future in [farm.submit(tasks.where, {}) for _ in range(200)] for pid, _ in [future.result()]}
    assert pids <= {int(pid) for pid, _ in places} and os.getpid() not in pids


def test_large_arrays_travel_whole(farm):
    array = np.arange(2_000_000, dtype=np.float64)
    futures = [farm.submit(tasks.double, {}, array) for _ in range(4)]
    assert all((future.result(PATIENCE_S) == 2 * array).all() for future in futures)


def test_exceptions_of_tasks_are_their_own_and_no_loss(farm):
    error = outcome(farm.submit(tasks.fail, {}, KeyError))
    assert type(error) is KeyError and "no such thing" in str(error)
    assert "in fail" in "".join(traceback.format_tb(error.__traceback__))
    assert not is_lost_worker(error)
    assert "Stubborn: no such thing" in str(outcome(farm.submit(tasks.fail, {}, tasks.Stubborn)))


def test_task_may_start_mpi_of_its_own(farm):
    assert farm.submit(tasks.size_of_own_world, {}).result(PATIENCE_S) == 1


def test_dead_worker_costs_the_one_task_it_had(farm, tmp_path):
    futures = [farm.submit(tasks.die if number == 3 else tasks.where, {}) for number in range(20)]
    errors = [outcome(future) for future in futures]
    assert {number: type(error) for number, error in enumerate(errors) if error} == {3: WorkerLost}
    assert is_lost_worker(errors[3])
    (tmp_path / "gate").touch()
    after = [farm.submit(tasks.wait_for_gate, {}, str(tmp_path), str(number)) for number in range(40)]
    assert [outcome(future) for future in after] == [None] * 40
    began = {path.read_text() for path in tmp_path.glob("*.began")}
    assert len(began) == CHAIN.workers, "the dead worker has a successor"


def test_no_more_tasks_are_out_than_there_are_places(farm, tmp_path):
    blockers = [farm.submit(tasks.wait_for_gate, {}, str(tmp_path), str(number)) for number in range(PLACES)]
    tasks.until(lambda: len(list(tmp_path.glob("*.began"))) == CHAIN.workers)
    more = [farm.submit(tasks.where, {}) for _ in range(5)]
    assert all(future.running() for future in blockers), "workers and prefetch are full"
    assert not any(future.running() for future in more)
    (tmp_path / "gate").touch()
    assert [outcome(future) for future in more] == [None] * 5


def test_priority_decides_what_goes_out_first(tmp_path):
    ledger = tmp_path / "ledger"
    with farm_of(FarmLayout(1, 1), tmp_path) as farm:
        blocker = farm.submit(tasks.wait_for_gate, {}, str(tmp_path), "0")
        tasks.until((tmp_path / "0.began").exists)
        low = [farm.submit(tasks.note, {"priority": 1}, str(ledger), "low") for _ in range(5)]
        high = [farm.submit(tasks.note, {"priority": 2}, str(ledger), "high") for _ in range(5)]
        unwanted = farm.submit(tasks.note, {}, str(ledger), "unwanted")
        assert unwanted.cancel()
        (tmp_path / "gate").touch()
        assert [outcome(future) for future in [blocker, *low, *high]] == [None] * 11
    assert ledger.read_text().split() == ["high"] * 5 + ["low"] * 5
    with pytest.raises(CancelledError):
        unwanted.result()


@pytest.mark.parametrize("victim", [0, CHAIN.managers - 1], ids=["root", "manager"])
def test_dead_rank_loses_what_was_out_and_nothing_else(farm, tmp_path, victim):
    out = [farm.submit(tasks.wait_for_gate, {}, str(tmp_path), str(number)) for number in range(PLACES)]
    waiting = [farm.submit(tasks.where, {}) for _ in range(4)]
    tasks.until(lambda: len(list(tmp_path.glob("*.began"))) == CHAIN.workers)
    old = tasks.ranks_below(os.getpid())
    assert len(old) == CHAIN.ranks
    old[victim].send_signal(signal.SIGKILL)
    errors = [outcome(future) for future in out]
    assert [type(error) for error in errors] == [FarmLost] * PLACES and all(map(is_lost_worker, errors))
    assert "farm.log" in str(errors[0])
    assert [outcome(future) for future in waiting] == [None] * 4, "the next life runs what had waited"
    assert not {rank.pid for rank in old} & {rank.pid for rank in tasks.ranks_below(os.getpid())}
    assert not farm.bad_state_is_set
    (tmp_path / "gate").touch()


def test_silent_manager_is_taken_for_dead(tmp_path):
    """Stopped, not killed: neither MPI nor the launcher notices."""
    with farm_of(FarmLayout(2, 1, heartbeat_s=0.2, silence_s=4.0), tmp_path) as farm:
        farm.submit(tasks.where, {}).result(PATIENCE_S)
        out, _ = (farm.submit(tasks.wait_for_gate, {}, str(tmp_path), name) for name in "01")
        tasks.until(lambda: len(list(tmp_path.glob("*.began"))) == 2)
        tasks.ranks_below(os.getpid(), tmp_path)[1].send_signal(signal.SIGSTOP)
        assert isinstance(outcome(out), FarmLost)
        (tmp_path / "gate").touch()


def test_farm_that_does_not_answer_is_ended_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(executor, "END_S", 0.1)
    farm = farm_of(FarmLayout(2, 1), tmp_path)
    farm.submit(tasks.where, {}).result(PATIENCE_S)
    family = psutil.Process().children(recursive=True)
    root, manager = tasks.ranks_below(os.getpid(), tmp_path)
    root.send_signal(signal.SIGSTOP)
    farm.shutdown()
    _, alive = psutil.wait_procs([p for p in family if p in (root, manager)], timeout=PATIENCE_S)
    assert alive == []


@pytest.mark.parametrize(
    ("launcher", "reason"),
    [
        (("mpiexec", "-n", "1"), "1 ranks where 2 were asked for"),
        (("false",), "status 1"),
        (("no-such-launcher",), "not found"),
    ],
)
def test_farm_that_cannot_start_is_given_up_with_the_reason(launcher, reason, tmp_path):
    with FarmExecutor(FarmLayout(2, 1, launcher=launcher), tmp_path, tasks.SETUP) as farm:
        future = farm.submit(tasks.where, {})
        farm.start()
        error = outcome(future)
        assert isinstance(error, FarmLost) and reason in str(error)
        assert farm.bad_state_is_set
        with pytest.raises(FarmLost, match="start another"):
            farm.submit(tasks.where, {})


def test_unknown_key_of_the_resource_specification_is_refused(tmp_path):
    with pytest.raises(InvalidResourceSpecification):
        FarmExecutor(CHAIN, tmp_path).submit(tasks.where, {"cores": 2})


def test_parsl_drives_it_as_any_executor(tmp_path):
    farm = FarmExecutor(FarmLayout(1, 1), tmp_path, tasks.SETUP)
    config = parsl.Config(executors=[farm], run_dir=str(tmp_path), initialize_logging=False, retries=0)
    with parsl.DataFlowKernel(config) as kernel:
        app = parsl.python_app(tasks.double, data_flow_kernel=kernel)
        assert app(app(21)).result(PATIENCE_S) == 84
        assert isinstance(outcome(parsl.python_app(tasks.fail, data_flow_kernel=kernel)(ValueError)), ValueError)


def test_nothing_is_left_when_the_driver_is_killed(tmp_path):
    code = (
        "import sys; from pathlib import Path\n"
        "from hpcmat.dispatch.farm.executor import FarmExecutor\n"
        "from hpcmat.dispatch.farm.layout import FarmLayout\n"
        f"farm = FarmExecutor(FarmLayout(1, 1), Path({str(tmp_path)!r})); farm.start()\n"
        "print(farm.submit(abs, {}, -1).result(), flush=True); sys.stdin.read()\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert driver.stdout.readline() == "1\n"
    family = psutil.Process(driver.pid).children(recursive=True)
    assert len(family) > 3
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert alive == []
