"""One order in a worker: what its child does or suffers stands in the store afterwards."""

import json
import multiprocessing
import os
import signal
import threading
from dataclasses import replace

import psutil
import pytest

from hpcmat.dispatch import worker
from hpcmat.dispatch.worker import Ending, Order, perform
from hpcmat.errors import StorageError
from hpcmat.records import Failure, FailureKind, Provenance, Resources, Task, decode, encode
from hpcmat.store.atomic import sha256_of
from hpcmat.store.claims import Process
from hpcmat.store.results import AttemptState, ResultStore

KEY = "cd" * 32
NEVER = threading.Event()


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path / "store")


def order(store, runner, request="1", walltime_s=30.0, driver=None) -> Order:
    task = Task(
        "label-0001",
        "label",
        KEY,
        f"worker_runners:{runner}",
        request,
        Resources(walltime_s=walltime_s),
        Provenance("campaign", "label-0001", "random"),
    )
    return Order(task, str(store.root), driver or Process.current(), cores_per_node=4)


def only_record(store):
    [attempt] = store.attempts(KEY)
    assert attempt.state is AttemptState.DONE
    return attempt.record


def failure_of(store, runner, **changes) -> Failure:
    assert perform(encode(order(store, runner, **changes))) == Ending.DONE
    record = only_record(store)
    assert not record.accepted
    assert store.read(KEY) is None
    return decode(Failure, record.outcome)


def eventually(condition, seconds=30.0):
    for _ in range(int(seconds / 0.02)):
        if condition():
            return True
        NEVER.wait(0.02)
    return False


def test_result_is_recorded_with_all_that_belongs_to_it(store):
    assert perform(encode(order(store, "give_result", request='{"a": 1}'))) == Ending.DONE
    record = store.read(KEY)
    outcome = json.loads(record.outcome)
    assert outcome["request"] == {"a": 1}
    assert outcome["attempt"] == record.execution.attempt == 1
    assert record.execution.pid != os.getpid()
    assert record.execution.cores_per_node == 4
    assert record.execution.wall_s > 0.0
    assert record.provenance == Provenance("campaign", "label-0001", "random")
    folder = store.folder(KEY)
    assert record.files == tuple((name, sha256_of(folder / name)) for name in ("output.txt", "result.dat"))
    assert (folder / "output.txt").read_text() == "told on standard output\n"
    assert "numpy" in dict(record.software)


def test_nothing_is_left_of_the_space_reserved_for_the_record(store):
    perform(encode(order(store, "give_result")))
    assert not [path for path in store.folder(KEY).iterdir() if path.name.startswith(".record")]


@pytest.mark.parametrize(
    ("runner", "kind", "message"),
    [
        ("fail_as_expected", FailureKind.NOT_CONVERGED, "did not converge"),
        ("raise_error", FailureKind.CRASH, "ValueError: no such thing"),
        ("run_out_of_memory", FailureKind.OUT_OF_MEMORY, "memory ran out: too much"),
        ("meet_full_disk", FailureKind.DISK_FULL, "No space left"),
        ("meet_full_disk_in_own_write", FailureKind.DISK_FULL, "no space left on the disk"),
        ("meet_wrong_permission", FailureKind.CRASH, "Permission denied"),
        ("leave", FailureKind.CRASH, "left with exit code 7"),
        ("absent", FailureKind.CRASH, "AttributeError"),
    ],
)
def test_each_way_to_fail_has_its_kind(store, runner, kind, message):
    failure = failure_of(store, runner)
    assert failure.failure is kind
    assert message in failure.message


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (signal.SIGSEGV, FailureKind.CRASH, "died by SIGSEGV"),
        (signal.SIGABRT, FailureKind.CRASH, "died by SIGABRT"),
        (signal.SIGKILL, FailureKind.KILLED, "killed from outside"),
        (signal.SIGALRM, FailureKind.WALLTIME, "killed at its walltime"),
    ],
)
def test_death_by_signal_is_told_with_the_last_words(store, number, kind, message):
    failure = failure_of(store, "die_by_signal", request=str(int(number)))
    assert failure.failure is kind
    assert message in failure.message
    assert failure.exit_code == -number
    assert "last words" in failure.log_tail


def test_walltime_ends_the_task_with_all_it_started(store):
    failure = failure_of(store, "hang_with_a_child", walltime_s=1.0)
    assert failure.failure is FailureKind.WALLTIME
    [attempt] = store.attempts(KEY)
    grandchild = int((attempt.folder / "child.pid").read_text())
    assert eventually(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == "zombie")


def test_second_attempt_follows_a_failed_one(store):
    failure_of(store, "raise_error")
    assert perform(encode(order(store, "give_result"))) == Ending.DONE
    assert store.read(KEY).execution.attempt == 2


def test_order_of_a_dead_driver_is_declined(store):
    dead = replace(Process.current(), started=1)
    assert perform(encode(order(store, "give_result", driver=dead))) == Ending.DECLINED
    assert store.attempts(KEY) == ()


def test_driver_on_another_host_cannot_be_seen_and_is_believed(store):
    far = Process("elsewhere", "another boot", 1, 1)
    assert perform(encode(order(store, "give_result", driver=far))) == Ending.DONE


def test_what_is_running_or_done_elsewhere_is_left_alone(store):
    attempt = store.begin(KEY)
    assert perform(encode(order(store, "give_result"))) == Ending.ELSEWHERE
    assert store.attempts(KEY) == (attempt,)


def test_what_is_done_is_left_alone(store):
    perform(encode(order(store, "give_result")))
    assert perform(encode(order(store, "raise_error"))) == Ending.ELSEWHERE
    assert only_record(store).accepted


def test_worker_touches_the_claim_while_its_task_runs(store, monkeypatch):
    monkeypatch.setattr(worker, "HEARTBEAT_S", 0.05)
    assert perform(encode(order(store, "wait_for_heartbeat"))) == Ending.DONE
    assert store.read(KEY) is not None


def test_without_heartbeat_the_claim_stays_as_old_as_it_is(store, monkeypatch):
    """Negative control."""
    monkeypatch.setattr(worker, "HEARTBEAT_S", 60.0)
    assert failure_of(store, "wait_for_heartbeat", walltime_s=1.0).failure is FailureKind.WALLTIME


def test_task_outlives_its_worker(store, tmp_path):
    text = encode(order(store, "wait_for_permission", request=json.dumps(str(tmp_path))))
    busy = multiprocessing.get_context("fork").Process(target=perform, args=(text,))
    busy.start()
    assert eventually((tmp_path / "started").exists)
    busy.kill()
    busy.join()
    assert store.running(KEY) is not None
    (tmp_path / "go").touch()
    assert eventually(lambda: store.read(KEY) is not None)


def test_worker_stays_clean(store):
    """The child's folder, output and signal handlers are its own."""
    folder, handler = os.getcwd(), signal.getsignal(signal.SIGTERM)
    perform(encode(order(store, "give_result")))
    assert os.getcwd() == folder
    assert signal.getsignal(signal.SIGTERM) == handler


def test_store_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "store").write_text("a file, not a folder")
    with pytest.raises(StorageError, match="cannot be written"):
        perform(encode(order(ResultStore(tmp_path / "store"), "give_result")))
