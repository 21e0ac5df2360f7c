"""What must hold once a campaign is complete, whatever struck it: each finding is one sentence."""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from ase import Atoms
from harness import Trial

from chaos.processes import left
from hpcmat.campaign.events import Created, Decided, Event, Failed, Finished, Submitted, read_event
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.state import CampaignState
from hpcmat.engines.settings import TeacherSettings
from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.engines.teacher import drawn_fault
from hpcmat.records import Label, decode
from hpcmat.report.html import write_report
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.potential import Potential

LABELS = ("train", "validation", "reference")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the teacher's ledger."""

    mark: str
    key: str
    attempt: int
    pid: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a campaign has left."""

    events: tuple[Event, ...]
    ledger: tuple[Line, ...]
    store: ResultStore
    folder: CampaignFolder
    processes: tuple[str, ...]
    """What of it still lives."""

    @property
    def finished(self) -> dict[str, str]:
        """Content key of each finished task, by its id."""
        keys = {event.decision.task.id: event.decision.task.key for event in self.events if isinstance(event, Decided)}
        return {event.task_id: keys[event.task_id] for event in self.events if isinstance(event, Finished)}

    @property
    def state(self) -> CampaignState:
        """The fold of its journal."""
        return CampaignState.of((event, float(number)) for number, event in enumerate(self.events))


def gather(trial: Trial) -> Evidence:
    """Read everything; raises StorageError where the chain of the journal is broken."""
    journal = trial.folder.journal()
    try:
        events = tuple(read_event(entry.payload) for entry in journal.read())
    finally:
        journal.close()
    if trial.ledger is None:
        raise ValueError("without a ledger nobody can tell how often a label was executed; give the trial one")
    text = trial.ledger.read_text() if trial.ledger.exists() else ""
    living = tuple(f"{process.pid} {process.name()}" for process in left(trial))
    return Evidence(events, tuple(read_line(line) for line in text.splitlines()), trial.results(), trial.folder, living)


def read_line(text: str) -> Line:
    """`start KEY ATTEMPT PID`, or `end`."""
    mark, key, attempt, pid = text.split()
    return Line(mark, key, int(attempt), int(pid))


def audit(evidence: Evidence) -> list[str]:
    """Everything that is wrong."""
    return [finding for check in CHECKS for finding in check(evidence)]


def complete(evidence: Evidence) -> Iterable[str]:
    """The journal folds, and the campaign came to its end."""
    state = evidence.state
    if state.ended is None or not state.ended.complete:
        yield "the campaign has not come to its end"
    yield from (f"task {task.id} is open for ever" for task in state.open_tasks)


def journal_in_order(evidence: Evidence) -> Iterable[str]:
    """Each task is created once and finishes at most once; nothing happens to it afterwards."""
    if sum(isinstance(event, Created) for event in evidence.events) != 1:
        yield "the campaign was created more than once"
    done: set[str] = set()
    for event in evidence.events:
        if isinstance(event, (Submitted, Finished, Failed)):
            if event.task_id in done:
                yield f"task {event.task_id} was {event.kind} after it had finished"
            if isinstance(event, Finished):
                done.add(event.task_id)


def store_agrees(evidence: Evidence) -> Iterable[str]:
    """Each finished task has one accepted record, and each accepted record its finished task."""
    expected = Counter(evidence.finished.values())
    found = Counter({key: len(accepted_numbers(evidence.store, key)) for key in keys_of(evidence.store)})
    yield from (f"result {key[:8]} was lost: the journal has it, the store does not" for key in expected - found)
    yield from (f"result {key[:8]} is not in the journal, or was published twice" for key in found - expected)
    yield from (f"key {key[:8]} belongs to two tasks" for key, count in expected.items() if count > 1)


def executed_once(evidence: Evidence) -> Iterable[str]:
    """No execution begins after the one whose result counts, and none while another goes on."""
    executions: dict[str, list[Line]] = defaultdict(list)
    for line in evidence.ledger:
        executions[line.key].append(line)
    labels = {task.key for task in evidence.state.done(*LABELS)}
    yield from (
        f"label {key[:8]} has a result and no execution in the ledger" for key in sorted(labels - set(executions))
    )
    for key, lines in executions.items():
        yield from _repeated(key, lines, accepted_numbers(evidence.store, key))
        yield from _overlapping(key, lines)


def _repeated(key: str, lines: list[Line], accepted: list[int]) -> Iterable[str]:
    """An attempt that was killed after its end line, but before its record, may be followed by another one."""
    ended = [place for place, line in enumerate(lines) if line.mark == "end" and line.attempt in accepted]
    if accepted and not ended:
        yield f"label {key[:8]} has a result and no end in the ledger"
    if ended and any(line.mark == "start" for line in lines[ended[0] :]):
        yield f"label {key[:8]} was executed again after it had finished"


def _overlapping(key: str, lines: list[Line]) -> Iterable[str]:
    open_ones: set[int] = set()
    for place, line in enumerate(lines):
        if line.mark == "end":
            open_ones.discard(line.pid)
            continue
        if any(later.mark == "end" and later.pid in open_ones for later in lines[place:]):
            yield f"label {key[:8]} was executed twice at once"
        open_ones.add(line.pid)


def attempts_follow_one_another(evidence: Evidence) -> Iterable[str]:
    """By the clock of the records, each attempt begins after the one before it has ended."""
    for key in keys_of(evidence.store):
        records = [a.record.execution for a in evidence.store.attempts(key) if a.record is not None]
        for before, after in pairwise(records):
            if after.started < before.finished:
                yield f"attempt {after.attempt} at {key[:8]} began before attempt {before.attempt} had ended"


def charged_for_its_own_failures(evidence: Evidence) -> Iterable[str]:
    """What a fault has cost is charged to no task: a failure that counts is one that the teacher has drawn."""
    state = evidence.state
    engine = state.campaign.engine
    assert isinstance(engine, TeacherSettings)
    if state.stopping is not None and state.stopping.reason != "budget":
        yield f"the campaign was stopped by something else than its budget: {state.stopping.sentence}"
    for task in state.of_purpose(*LABELS):
        for attempt in task.failures:
            failure, number = attempt.failure, attempt.execution.attempt if attempt.execution else 0
            if not failure.failure.free and drawn_fault(engine, task.key, number) is None:
                yield f"label {task.key[:8]} was charged for {failure.failure} at attempt {number}: {failure.message}"


def learns_from_results_only(evidence: Evidence) -> Iterable[str]:
    """Fits, and the potential that is left, rest on accepted labels that finished."""
    state, used = evidence.state, set()
    done = {task.key for task in state.done(*LABELS)}
    for task in state.of_purpose("fit"):
        used |= {*task.decision.train, *task.decision.validation}
    if evidence.folder.potential.exists():
        metadata = Potential.load(evidence.folder.potential).metadata
        used |= {*metadata.train, *metadata.validation}
    elif state.models:
        yield "there are fits and no potential"
    yield from (f"label {key[:8]} was learnt and had not finished" for key in sorted(used - done))
    for key in sorted(used & done):
        record = evidence.store.read(key)
        if record is None or json.loads(record.outcome)["kind"] != "label":
            yield f"label {key[:8]} was learnt and is none"


def labels_are_right(evidence: Evidence) -> Iterable[str]:
    """Each label is what the teacher's calculator gives."""
    for task in evidence.state.done(*LABELS):
        record = evidence.store.read(task.key)
        if record is not None and not _is_right(decode(Label, record.outcome)):
            yield f"label {task.key[:8]} is not what its structure has"


def _is_right(label: Label) -> bool:
    structure = label.structure
    atoms = Atoms(structure.symbols, structure.positions, cell=structure.cell, pbc=structure.pbc)
    atoms.calc = StillingerWeber()
    close = abs(label.energy - atoms.get_potential_energy()) < 1e-9
    return bool(close and np.allclose(label.forces, atoms.get_forces(), atol=1e-9))


def nothing_lives(evidence: Evidence) -> Iterable[str]:
    """No process of the campaign is left."""
    return (f"process {process} has outlived the campaign" for process in evidence.processes)


def report_builds(evidence: Evidence) -> Iterable[str]:
    """The driver left a report, and another can be made from what is on the disk."""
    if not evidence.folder.report.exists():
        yield "the campaign has no report"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        write_report(evidence.state, evidence.store, path)
        if path.stat().st_size < 10_000:
            yield "the report is empty"


def keys_of(store: ResultStore) -> list[str]:
    """Of all attempts."""
    return sorted(path.name for path in store.root.glob("??/*"))


def accepted_numbers(store: ResultStore, key: str) -> list[int]:
    """Numbers of the attempts with an accepted record."""
    return [a.number for a in store.attempts(key) if a.record is not None and a.record.accepted]


CHECKS: tuple[Callable[[Evidence], Iterable[str]], ...] = (
    complete,
    journal_in_order,
    store_agrees,
    executed_once,
    attempts_follow_one_another,
    charged_for_its_own_failures,
    learns_from_results_only,
    labels_are_right,
    nothing_lives,
    report_builds,
)
