"""Tasks through Parsl: run, and taken up anew where its processes die."""

import json
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest
from harness import Trial, kill
from parsl.executors.high_throughput.errors import WorkerLost

from hpcmat.dispatch import stopped
from hpcmat.dispatch.executor import ParslDispatcher, Workers, is_lost_worker
from hpcmat.dispatch.worker import Ending, Order
from hpcmat.errors import DispatchError, StorageError
from hpcmat.records import Provenance, Resources, Task, encode
from hpcmat.store.claims import Process
from hpcmat.store.results import ResultStore

NEVER = threading.Event()


def order(store: ResultStore, number: int, runner: str = "give_result", request: str = "1") -> Order:
    key = f"{number:064x}"
    resources, provenance = Resources(walltime_s=60.0), Provenance("campaign", "d", "random")
    task = Task(f"label-{number:04d}", "label", key, f"worker_runners:{runner}", request, resources, provenance)
    return Order(task, str(store.root), Process.current(), cores_per_node=2)


def interchanges(pid: int) -> list[psutil.Process]:
    return [
        p for p in psutil.Process(pid).children(recursive=True) if "nterchange" in " ".join([p.name(), *p.cmdline()])
    ]


def managers(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The process of the pool that keeps the workers, not the workers."""
    return [p for p in processes if any(word.endswith("process_worker_pool.py") for word in command(p))]


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


@pytest.fixture(scope="module")
def dispatcher(tmp_path_factory):
    setup = (f"export PYTHONPATH={Path(__file__).parent}:$PYTHONPATH",)
    folder = tmp_path_factory.mktemp("parsl")
    with ParslDispatcher(Workers(2, 3, setup), folder, str(folder)) as started:
        yield started


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path / "store")


def test_orders_are_carried_out_with_the_threads_asked_for(dispatcher, store):
    futures = [dispatcher.submit(order(store, number)) for number in range(6)]
    assert [future.result(timeout=60) for future in futures] == [Ending.DONE] * 6
    records = [store.read(f"{number:064x}") for number in range(6)]
    assert all(json.loads(record.outcome)["threads"] == "3" for record in records)
    assert {record.execution.worker for record in records} <= {"0/0", "0/1"}


def test_store_that_cannot_be_written_reaches_the_driver_as_itself(dispatcher, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        dispatcher.submit(order(ResultStore(tmp_path / "file"), 1)).result(timeout=60)


def test_dead_interchange_is_seen_and_replaced(dispatcher, store, tmp_path):
    lost = dispatcher.submit(order(store, 1, "wait_for_permission", json.dumps(str(tmp_path))))
    while not (tmp_path / "started").exists():
        NEVER.wait(0.02)
    assert dispatcher.healthy
    [interchange] = interchanges(psutil.Process().pid)
    kill(interchange)
    interchange.wait(timeout=30)
    assert not dispatcher.healthy
    dispatcher.restart()
    assert dispatcher.healthy
    assert is_lost_worker(lost.exception(timeout=60))
    assert store.running(f"{1:064x}") is not None, "a running task needs no dispatcher"
    assert dispatcher.submit(order(store, 2)).result(timeout=60) == Ending.DONE
    (tmp_path / "go").touch()
    while store.read(f"{1:064x}") is None:
        NEVER.wait(0.02)


def test_new_start_of_what_looks_well_leaves_no_future_undone(dispatcher, store, tmp_path):
    """Its workers begin nothing though every process is there: whoever waits must hear of it."""
    out = dispatcher.submit(order(store, 4, "wait_for_permission", json.dumps(str(tmp_path))))
    while not (tmp_path / "started").exists():
        NEVER.wait(0.02)
    assert dispatcher.healthy
    hand_over = dispatcher._app
    dispatcher.restart()
    assert is_lost_worker(out.exception(timeout=60))
    assert is_lost_worker(hand_over(encode(order(store, 5))).exception(timeout=60)), "it was on its way meanwhile"
    assert store.running(f"{4:064x}") is not None, "a running task needs no dispatcher"
    (tmp_path / "go").touch()
    while store.read(f"{4:064x}") is None:
        NEVER.wait(0.02)
    assert [attempt.number for attempt in store.attempts(f"{4:064x}")] == [1]
    assert store.attempts(f"{5:064x}") == ()


def test_order_that_parsl_never_answers_is_lost_with_it(dispatcher, store):
    """One of its threads hands a task over after the dead executor has failed all that it knew of."""
    unanswered = Future()
    dispatcher._app = lambda order: unanswered
    out = dispatcher.submit(order(store, 6))
    assert not out.done()
    dispatcher.restart()
    assert is_lost_worker(out.exception(timeout=60))
    unanswered.set_result("too late")
    assert is_lost_worker(out.exception()), "what comes late changes nothing"
    assert not unanswered.exception(), "control: Parsl had said nothing"


def test_stopped_interchange_is_replaced(dispatcher, store, monkeypatch):
    monkeypatch.setattr(stopped, "LOOK_S", 0.05)
    monkeypatch.setattr(stopped, "PATIENCE_LOOKS", 3)
    [interchange] = interchanges(psutil.Process().pid)
    interchange.suspend()
    while dispatcher.healthy:
        NEVER.wait(0.02)
    dispatcher.restart()
    assert dispatcher.submit(order(store, 3)).result(timeout=60) == Ending.DONE


def test_nothing_can_be_submitted_before_it_runs(tmp_path):
    with pytest.raises(DispatchError, match="enter it"):
        ParslDispatcher(Workers(1), tmp_path, "c").submit(order(ResultStore(tmp_path), 1))


def test_parsl_that_does_not_start_says_what_to_do(tmp_path, monkeypatch):
    def interchange_died(_config):
        raise Exception("Interchange failed to start")

    monkeypatch.setattr("parsl.DataFlowKernel", interchange_died)
    with pytest.raises(DispatchError, match="give the same command again"):
        ParslDispatcher(Workers(1), tmp_path, "campaign")._start()


@pytest.mark.parametrize(("error", "lost"), [(WorkerLost(1, "host"), True), (ValueError("x"), False)])
def test_only_the_machine_loses_workers(error, lost):
    assert is_lost_worker(error) is lost


@pytest.mark.promise
def test_campaign_survives_the_death_of_interchange_and_manager(tmp_path):
    trial = Trial(tmp_path, labels=30, median_s=0.3, sigma=0.3)
    driver = trial.start()
    for pick in (lambda: interchanges(driver.pid), lambda: managers(trial.processes())[-1:]):
        victim = when_labels_run(trial, driver, pick)
        kill(victim)
    assert driver.wait(timeout=200) == 0, trial.errors
    state = trial.state()
    assert state.ended.complete
    assert dict(trial.executions("end")) == dict.fromkeys(trial.label_keys(), 1)
    assert trial.executions("start") == trial.executions("end")
    assert all(attempt.failure.failure.free for _, attempt in state.failures)


def when_labels_run(trial, driver, pick):
    """The victim, once a label that began after the last kill is running."""
    ended = trial.executions("end").total()
    while driver.poll() is None:
        if trial.executions("end").total() > ended and trial.tasks() and (found := pick()):
            return found[0]
        try:
            driver.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the campaign ended before there was anything to kill: {trial.errors}")
