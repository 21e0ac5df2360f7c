"""A launcher that was killed, ranks that were ended and a full disk are told from an engine that crashes."""

import errno
import signal
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest

from hpcmat.dispatch import runner
from hpcmat.dispatch.launchers.dialects import DIALECTS
from hpcmat.dispatch.launchers.guard import Guard
from hpcmat.dispatch.launchers.place import Place
from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.placement.nodes import Node, Share
from hpcmat.dispatch.runner import call_at
from hpcmat.dispatch.verdict import amended
from hpcmat.engines import ranks
from hpcmat.engines.base import EngineFailure
from hpcmat.errors import StorageError
from hpcmat.records import Failure, FailureKind, decode, encode
from hpcmat.store.atomic import storage_error

TWO_NODES = Place(Launcher("srun"), tuple(Share(Node(name, 2), 2) for name in ("sim1", "sim2")))
CRASH = encode(Failure(FailureKind.CRASH, "no whole result"))
ENDED = "srun: error: sim2: task 0: {}\nsrun: error: sim3: tasks 1-2: {}\n"


@pytest.fixture
def full_disk(monkeypatch):
    """Not a single page is left for those who ask."""

    def refuse(folder):
        error = OSError(errno.ENOSPC, "No space left on device")
        raise storage_error(folder, error) from error

    monkeypatch.setattr(ranks, "require_room", refuse)
    monkeypatch.setattr(runner, "require_room", refuse)


def of_ranks(folder, code):
    with pytest.raises((EngineFailure, StorageError)) as caught:
        ranks._read_outcome(folder, code)
    return caught.value


def of_process(folder, code, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=code))
    one = Place(Launcher("srun"), TWO_NODES.shares[:1])
    return decode(Failure, call_at(one, "m:f", "{}", folder, 1))


@pytest.mark.parametrize(
    ("code", "kind"),
    [(-signal.SIGKILL, FailureKind.KILLED), (-signal.SIGTERM, FailureKind.KILLED), (1, FailureKind.CRASH)],
)
def test_launcher_that_was_killed_is_no_crash(tmp_path, monkeypatch, code, kind):
    assert of_ranks(tmp_path, code).kind is kind
    assert of_process(tmp_path, code, monkeypatch).failure is kind


def test_ranks_that_could_not_write_have_met_a_full_disk(tmp_path, monkeypatch, full_disk):
    assert "no space left" in str(of_ranks(tmp_path, 1))
    assert of_process(tmp_path, 1, monkeypatch).failure is FailureKind.DISK_FULL


@pytest.mark.parametrize(
    ("code", "says", "kind"),
    [
        (143, ENDED.format("Terminated", "Terminated"), FailureKind.PREEMPTED),
        (143, ENDED.format("Terminated", "Killed"), FailureKind.KILLED),
        (143, ENDED.format("Terminated", "Segmentation fault"), FailureKind.CRASH),
        (143, ENDED.format("Exited with exit code 1", "Terminated"), FailureKind.CRASH),
        (0, "srun: error: Node failure on sim1", FailureKind.NODE_LOST),
        (0, "", FailureKind.CRASH),
        (1, "srun: error: Slurm job 7 has expired\nsrun: Expired or invalid job 7", FailureKind.PREEMPTED),
        (1, "srun: error: Unable to confirm allocation", FailureKind.CRASH),
    ],
)
def test_srun_is_believed_about_its_ranks_rather_than_its_exit_code(tmp_path, monkeypatch, code, says, kind):
    """The code is the highest of all ranks: that of those which srun ends after the first one has failed."""
    monkeypatch.setitem(DIALECTS, "srun", replace(DIALECTS["srun"], lost_nodes=None))
    guard = Guard(tmp_path, TWO_NODES, None)
    guard._errors = says.encode()
    assert decode(Failure, amended(CRASH, (guard._judged(code),))).failure is kind
