"""A full disk ends the run with a sentence; the journal is sound, and what was paid for is kept."""

import errno
import os
import subprocess
from contextlib import contextmanager

import pytest
from harness import Trial, kill

from hpcmat.errors import StorageError
from hpcmat.records import Execution, Governance, Provenance, Record
from hpcmat.store.atomic import reserve
from hpcmat.store.results import RESERVED_BYTES, ResultStore


def mount(folder, *options):
    command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@contextmanager
def small_disk(folder, *options):
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    mounted = mount(folder, *options)
    if mounted.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk):
    """Take every free block."""
    with (disk / "filler").open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC


def record(key: str) -> Record:
    execution = Execution(1, "host", os.getpid(), 1.0, 2.0)
    outcome = '{"kind": "label", "forces": "' + "x" * (RESERVED_BYTES // 2) + '"}'
    return Record(key, "label", "{}", outcome, True, execution, Provenance("c", "d", "r"), Governance())


def test_campaign_on_a_disk_that_fills_up(tmp_path):
    with small_disk(tmp_path / "disk", "size=1500k") as disk:
        trial = Trial(disk / "trial", labels=24, median_s=0.1, ledger=tmp_path / "ledger")
        try:
            assert_survives(trial, disk)
        finally:
            for process in trial.processes():
                kill(process)


def assert_survives(trial, disk):
    filled = trial.run()
    assert filled.returncode == 3, filled.stderr
    error = filled.stderr.splitlines()
    assert len(error) == 1
    assert error[0].startswith(f"error: {disk}") or f"sqlite:///{disk}" in error[0]
    assert "space" in error[0]
    assert not trial.state().ended
    recorded = {key for key in trial.executions("end") if trial.results().read(key)}
    assert recorded, "the disk was full before the first label, so that the test has shown nothing"
    before = trial.executions("start")

    assert mount(disk, "remount", "size=64m").returncode == 0
    finished = trial.run()
    assert finished.returncode == 0, finished.stderr
    state = trial.state()
    assert state.ended.complete
    assert len(trial.label_keys()) == 24
    again = {key for key, count in trial.executions("start").items() if count > before[key] > 0}
    assert not again & recorded
    assert set(trial.executions("end")) >= trial.label_keys()


def test_result_is_published_though_the_disk_filled_meanwhile(tmp_path):
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        store = ResultStore(disk)
        attempt = store.begin("ab" * 32)
        fill(disk)
        store.publish(record("ab" * 32), attempt.folder)
        assert store.read("ab" * 32) == record("ab" * 32)


def test_without_the_reserved_space_it_would_be_lost(tmp_path):
    """Negative control."""
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        store = ResultStore(disk)
        attempt = store.begin("ab" * 32)
        for draft in attempt.folder.glob(".*"):
            draft.unlink()
        fill(disk)
        with pytest.raises(StorageError, match="no space left"):
            store.publish(record("ab" * 32), attempt.folder)
        assert store.read("ab" * 32) is None


def test_nothing_is_begun_without_room_for_its_record(tmp_path):
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        store = ResultStore(disk)
        ballast = disk / "ballast"
        reserve(ballast, RESERVED_BYTES // 2)
        fill(disk)
        ballast.unlink()
        with pytest.raises(StorageError, match="free some"):
            store.begin("ab" * 32)
        assert store.running("ab" * 32) is None
        (disk / "filler").unlink()
        assert store.begin("ab" * 32).number == 1
