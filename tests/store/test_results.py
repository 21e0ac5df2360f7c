"""The content-addressed store: claims exclude each other, results are whole or absent, damage does not count."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcmat.errors import StorageError
from hpcmat.records import Execution, Governance, Provenance, Record, Structure, encode
from hpcmat.store.atomic import create_exclusively, write_text
from hpcmat.store.claims import Process
from hpcmat.store.keys import content_key, structure_physics
from hpcmat.store.results import AttemptState, ResultStore

KEY = "ab" * 32


def record(accepted: bool = True, attempt: int = 1) -> Record:
    execution = Execution(attempt, "host", os.getpid(), 1.0, 2.0)
    provenance = Provenance("campaign", "label-0001", "random")
    outcome = '{"kind": "label"}' if accepted else '{"kind": "failure"}'
    return Record(KEY, "label", "{}", outcome, accepted, execution, provenance, Governance())


def test_published_result_is_found(tmp_path):
    store = ResultStore(tmp_path)
    attempt = store.begin(KEY)
    assert store.read(KEY) is None
    assert store.attempts(KEY)[0].state is AttemptState.RUNNING
    store.publish(record(), attempt.folder)
    assert store.read(KEY) == record()
    assert store.folder(KEY) == attempt.folder


def test_done_and_running_keys_are_not_begun_again(tmp_path):
    store = ResultStore(tmp_path)
    attempt = store.begin(KEY)
    assert store.begin(KEY) is None
    store.publish(record(), attempt.folder)
    assert store.begin(KEY) is None


def test_failed_attempt_is_kept_and_does_not_count(tmp_path):
    store = ResultStore(tmp_path)
    store.publish(record(accepted=False), store.begin(KEY).folder)
    assert store.read(KEY) is None
    second = store.begin(KEY)
    assert second.number == 2
    store.publish(record(attempt=2), second.folder)
    assert store.read(KEY).execution.attempt == 2
    assert [attempt.state for attempt in store.attempts(KEY)] == [AttemptState.DONE] * 2


def far_and_silent(folder: Path) -> None:
    """Claim an attempt as a process of another host that has given no sign of life for long."""
    folder.mkdir(parents=True)
    (folder / "claim.json").write_text(encode(Process("elsewhere", "another boot", 1, 1)))
    os.utime(folder / "claim.json", (0, 0))


def test_one_taken_for_dead_does_not_publish_a_second_time(tmp_path):
    """On another host a process can be stopped for longer than its claim lasts, and wake after its successor ended."""
    store = ResultStore(tmp_path)
    late = tmp_path / KEY[:2] / KEY / "attempt-1"
    far_and_silent(late)
    (late / ".record").touch()
    successor = store.begin(KEY)
    assert successor.number == 2
    assert store.publish(record(attempt=2), successor.folder)
    assert not store.publish(record(attempt=1), late)
    assert [attempt.state for attempt in store.attempts(KEY)] == [AttemptState.LOST, AttemptState.DONE]
    assert store.folder(KEY) == successor.folder
    assert not (late / ".record").exists()


def test_one_taken_for_dead_whose_successor_has_failed_does_publish(tmp_path):
    """Negative control: its result is the only one."""
    store = ResultStore(tmp_path)
    late = tmp_path / KEY[:2] / KEY / "attempt-1"
    far_and_silent(late)
    store.publish(record(accepted=False, attempt=2), store.begin(KEY).folder)
    assert store.publish(record(attempt=1), late)
    assert store.folder(KEY) == late


def test_folder_without_claim_is_taken_not_passed_over(tmp_path):
    """Its maker may be about to claim it: passing it over would let two processes run the same key."""
    store = ResultStore(tmp_path)
    (tmp_path / KEY[:2] / KEY / "attempt-1").mkdir(parents=True)
    assert store.begin(KEY).number == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("campaign", "campaigm"),
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "\x00" * len(text),
    ],
    ids=["changed", "truncated", "empty", "zeros"],
)
def test_damaged_record_does_not_count(tmp_path, damage):
    store = ResultStore(tmp_path)
    attempt = store.begin(KEY)
    store.publish(record(), attempt.folder)
    path = attempt.folder / "record.json"
    path.write_text(damage(path.read_text()))
    assert store.read(KEY) is None
    with pytest.raises(StorageError, match="no result"):
        store.folder(KEY)


class Racer:
    """One run of racer.py."""

    def __init__(self, root: Path) -> None:
        script = Path(__file__).with_name("racer.py")
        command = [sys.executable, str(script), str(root), KEY]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def says(self) -> str:
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, line: str) -> None:
        self.tell(line)
        self.process.wait()


@pytest.mark.parametrize("round_", range(3))
def test_only_one_of_many_processes_gets_the_claim(tmp_path, round_):
    racers = [Racer(tmp_path) for _ in range(6)]
    assert {racer.says() for racer in racers} == {"ready"}
    for racer in racers:
        racer.tell("go")
    assert sorted(racer.says() for racer in racers) == ["lost"] * 5 + ["won"]
    for racer in racers:
        racer.end("leave")


def test_claim_dies_with_its_process(tmp_path):
    racer, store = Racer(tmp_path), ResultStore(tmp_path)
    racer.says()
    racer.tell("go")
    assert racer.says() == "won"
    assert store.running(KEY) is not None
    assert store.begin(KEY) is None
    racer.end("die")
    assert store.running(KEY) is None
    assert store.attempts(KEY)[0].state is AttemptState.LOST
    assert store.begin(KEY).number == 2


def test_a_process_number_used_again_is_another_process():
    me = Process.current()
    assert me.alive
    assert not replace(me, started=me.started - 1).alive


def test_exclusive_file_shows_its_whole_content(tmp_path):
    assert create_exclusively(tmp_path / "claim", "first")
    assert not create_exclusively(tmp_path / "claim", "second")
    assert (tmp_path / "claim").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["claim"]


def test_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(StorageError, match="folder"):
        write_text(target, "a file cannot replace a folder")
    assert target.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@given(st.integers(0, 3), st.floats(1e-6, 1.0), st.floats(-4e-11, 4e-11))
def test_structure_key_sees_moves_but_not_noise(atom, move, noise):
    positions = np.array([[0.25, 0.5, 0.125], [1.5, 1.25, 1.0], [2.0, 0.75, 3.0], [3.5, 2.25, 1.75]])
    moved, blurred = positions.copy(), positions.copy()
    moved[atom, 1] += move
    blurred[atom, 2] += noise
    key = content_key("label", structure_physics(silicon(positions)))
    assert content_key("label", structure_physics(silicon(blurred))) == key
    assert content_key("label", structure_physics(silicon(moved))) != key


def test_minus_zero_and_key_order_change_nothing():
    plus, minus = np.zeros((1, 3)), -np.zeros((1, 3))
    assert structure_physics(silicon(plus)) == structure_physics(silicon(minus))
    assert content_key("label", '{"a": 1, "b": 2}') == content_key("label", '{ "b":2,"a":1 }')
    assert content_key("label", "{}") != content_key("fit", "{}")


def silicon(positions) -> Structure:
    return Structure(("Si",) * len(positions), positions, 5.43 * np.eye(3))
