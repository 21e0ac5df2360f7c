"""Ranks that have done their work, or failed, hold nobody up: their label is not lost, and nobody waits for them."""

import subprocess
import sys

import numpy as np
import pytest

from hpcmat.engines import ranks
from hpcmat.engines.ranks import LEAVING_LOOKS, OUTCOME_NAME, REQUEST_NAME, RankRequest
from hpcmat.engines.settings import TeacherSettings
from hpcmat.records import Failure, FailureKind, Structure, encode

LABEL, FAILURE = '{"kind":"label"}', encode(Failure(FailureKind.CRASH, "it crashed"))
RANK = """
import atexit, sys
from pathlib import Path
from hpcmat.engines import ranks, registry

class Engine:
    def calculate_on_rank(self, structure, job, rank):
        {does}

atexit.register(print, "finalized")
registry.ranked_engine_for = lambda settings: Engine()
ranks.main(Path(sys.argv[1]))
"""


class Launched:
    """A launch whose ranks leave their outcome at one look and end at a later one, or never."""

    def __init__(self, folder, text, left_at, ends_at=None):
        self.folder, self.text, self.left_at, self.ends_at = folder, text, left_at, ends_at
        self.looks, self.terminated = 0, False

    def wait(self, timeout=None):
        self.looks += 1
        if self.terminated or self.looks == self.ends_at:
            return 143 if self.terminated else 1
        if self.looks == self.left_at:
            (self.folder / OUTCOME_NAME).write_text(self.text)
        raise subprocess.TimeoutExpired("mpiexec", timeout)

    def terminate(self):
        self.terminated = True


def test_ranks_that_do_not_end_are_ended_once_their_label_is_there(tmp_path):
    launched = Launched(tmp_path, LABEL, left_at=50)
    assert ranks._awaited(launched, tmp_path) == 0
    assert (launched.terminated, launched.looks) == (True, 50 + LEAVING_LOOKS)


@pytest.mark.parametrize(
    ("text", "left_at", "ends_at"), [(LABEL, 90, 95), (FAILURE, 5, 90)], ids=["label in time", "failure"]
)
def test_others_are_left_alone(tmp_path, text, left_at, ends_at):
    """A failure is judged by how the launch ends: one ended from here would look like one ended from outside."""
    launched = Launched(tmp_path, text, left_at, ends_at)
    assert ranks._awaited(launched, tmp_path) == 1
    assert not launched.terminated


@pytest.mark.parametrize(
    ("does", "code", "finalized"),
    [("return None", 0, True), ("raise KeyError('x')", 1, False), ("raise MemoryError", 1, False)],
)
def test_rank_that_fails_does_not_finalize(tmp_path, monkeypatch, does, code, finalized):
    """Finalization waits for all ranks, and those wait for this one."""
    structure = Structure(("Si",), np.zeros((1, 3)), 5.0 * np.eye(3))
    (tmp_path / REQUEST_NAME).write_text(encode(RankRequest(structure, TeacherSettings(), 1, (), 2, 1)))
    monkeypatch.setenv(ranks.RANK_VARIABLE, "1")
    done = subprocess.run(
        [sys.executable, "-c", RANK.format(does=does), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr
    assert ("finalized" in done.stdout) is finalized
    assert (tmp_path / OUTCOME_NAME).exists() is ("Memory" in does)
