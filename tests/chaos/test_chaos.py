"""One campaign on a Slurm of four nodes meets a fault of each kind; and the auditor notices what could go wrong.

`make chaos` does the same with two hundred random faults.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass, replace

import pytest
from harness import Trial
from slurm import running_slurm

from chaos import audit
from chaos.keeper import Keeper
from chaos.ordeal import Ordeal, Outcome, Teller, scene_of
from chaos.plan import Kind, campaign_of
from hpcmat.campaign.events import Decided, Ended, Failed, Finished
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.dispatch.marks import CAMPAIGN_VARIABLE
from hpcmat.errors import StorageError
from hpcmat.records import Failure, FailureKind, Label, decode, encode
from hpcmat.store.results import ResultStore

SEED = 11
KINDS = (Kind.STOP, Kind.WORKER, Kind.SCHEDULER, Kind.NODE, Kind.LAUNCHER, Kind.DRIVER)
"""A disk that fills up has a test of its own."""


@dataclass(frozen=True)
class Survivor:
    """A campaign after its ordeal, still on its small disk."""

    trial: Trial
    outcome: Outcome
    evidence: audit.Evidence


@pytest.fixture(scope="module")
def survivor(tmp_path_factory):
    root, plan = tmp_path_factory.mktemp("chaos"), campaign_of(KINDS, "node", SEED)
    with running_slurm(root / "slurm", nodes=4) as slurm, scene_of(plan, root / "campaign", slurm) as scene:
        keeper = Keeper(scene.trial, plan.site, slurm)
        try:
            outcome = Ordeal(plan, scene, keeper, Teller()).run()
        finally:
            keeper.close()
        yield Survivor(scene.trial, outcome, audit.gather(scene.trial))


def test_campaign_survives_its_faults(survivor):
    assert survivor.outcome.findings == ()
    assert [blow.fault.kind for blow in survivor.outcome.blows] == list(KINDS)
    assert all(blow.recovered_s is not None for blow in survivor.outcome.blows)
    assert survivor.outcome.labels >= survivor.outcome.plan.labels


def first_label(evidence):
    return evidence.state.done(*audit.LABELS)[0].key


def executed_again(evidence, _folder):
    key = first_label(evidence)
    return replace(evidence, ledger=(*evidence.ledger, audit.Line("start", key, 9, 1)))


def executed_twice_at_once(evidence, _folder):
    key = first_label(evidence)
    number = audit.accepted_numbers(evidence.store, key)[0]
    place = evidence.ledger.index(next(line for line in evidence.ledger if (line.key, line.attempt) == (key, number)))
    before, after = evidence.ledger[: place + 1], evidence.ledger[place + 1 :]
    return replace(evidence, ledger=(*before, audit.Line("start", key, number + 1, 1), *after))


def never_executed(evidence, _folder):
    key = first_label(evidence)
    return replace(evidence, ledger=tuple(line for line in evidence.ledger if line.key != key))


def result_without_event(evidence, _folder):
    last = [event for event in evidence.events if isinstance(event, Finished)][-1]
    return replace(evidence, events=tuple(event for event in evidence.events if event is not last))


def finished_twice(evidence, _folder):
    last = [event for event in evidence.events if isinstance(event, Finished)][-1]
    return replace(evidence, events=(*evidence.events, last))


def without_end(evidence, _folder):
    return replace(evidence, events=tuple(event for event in evidence.events if not isinstance(event, Ended)))


def copied(evidence, folder):
    return ResultStore(shutil.copytree(evidence.store.root, folder / "store"))


def lost_result(evidence, folder):
    store = copied(evidence, folder)
    (store.folder(first_label(evidence)) / "record.json").unlink()
    return replace(evidence, store=store)


def published_twice(evidence, folder):
    store, key = copied(evidence, folder), first_label(evidence)
    source = store.folder(key)
    shutil.copytree(source, source.with_name(f"attempt-{len(store.attempts(key)) + 1}"))
    return replace(evidence, store=store)


def overlapping_attempts(evidence, folder):
    store, key = copied(evidence, folder), first_label(evidence)
    record, number = store.read(key), len(store.attempts(key)) + 1
    execution = replace(record.execution, attempt=number, started=record.execution.started + 0.01)
    place = store.folder(key).with_name(f"attempt-{number}")
    place.mkdir()
    store.publish(replace(record, accepted=False, execution=execution), place)
    return replace(evidence, store=store)


def wrong_label(evidence, folder):
    store, key = copied(evidence, folder), first_label(evidence)
    record, place = store.read(key), store.folder(key)
    label = decode(Label, record.outcome)
    (place / "record.json").unlink()
    store.publish(replace(record, outcome=encode(replace(label, energy=label.energy + 1e-3))), place)
    return replace(evidence, store=store)


def learnt_from_a_failure(evidence, _folder):
    fit = next(e for e in evidence.events if isinstance(e, Decided) and e.decision.purpose == "fit")
    spoilt = replace(fit, decision=replace(fit.decision, train=(*fit.decision.train, "f" * 64)))
    return replace(evidence, events=tuple(spoilt if event is fit else event for event in evidence.events))


def charged_for_a_kill(evidence, _folder):
    task = evidence.state.done(*audit.LABELS)[0]
    failed = Failed(task.id, Failure(FailureKind.CRASH, "its node went"), replace(task.execution, attempt=99), ())
    place = next(i for i, event in enumerate(evidence.events) if getattr(event, "task_id", "") == task.id)
    return replace(evidence, events=(*evidence.events[: place + 1], failed, *evidence.events[place + 1 :]))


def without_report(evidence, folder):
    shutil.copy(evidence.folder.potential, folder)
    return replace(evidence, folder=CampaignFolder(folder))


DOCTORED = {
    executed_again: (audit.executed_once, "executed again after it had finished"),
    executed_twice_at_once: (audit.executed_once, "executed twice at once"),
    never_executed: (audit.executed_once, "no execution in the ledger"),
    result_without_event: (audit.store_agrees, "not in the journal, or was published twice"),
    finished_twice: (audit.journal_in_order, "was finished after it had finished"),
    without_end: (audit.complete, "has not come to its end"),
    lost_result: (audit.store_agrees, "the journal has it, the store does not"),
    published_twice: (audit.store_agrees, "not in the journal, or was published twice"),
    overlapping_attempts: (audit.attempts_follow_one_another, "began before attempt"),
    charged_for_a_kill: (audit.charged_for_its_own_failures, "was charged for engine crash at attempt 99"),
    wrong_label: (audit.labels_are_right, "is not what its structure has"),
    learnt_from_a_failure: (audit.learns_from_results_only, "was learnt and had not finished"),
    without_report: (audit.report_builds, "has no report"),
}


@pytest.mark.parametrize("doctor", DOCTORED, ids=lambda doctor: doctor.__name__)
def test_auditor_finds_what_is_wrong(survivor, tmp_path, doctor):
    """Negative controls: the same evidence, untouched, gave no finding."""
    check, expected = DOCTORED[doctor]
    assert check in audit.CHECKS
    findings = list(check(doctor(survivor.evidence, tmp_path)))
    assert any(expected in finding for finding in findings), findings


@pytest.mark.parametrize("tie", ["mark", "open file"])
def test_auditor_finds_who_is_left(survivor, tie):
    root = survivor.trial.folder.root.resolve()
    marks = {CAMPAIGN_VARIABLE: str(root)} if tie == "mark" else {}
    with (
        (root / "driver.lock").open() if tie == "open file" else nullcontext() as file,
        subprocess.Popen(
            [sys.executable, "-c", "input()"],
            stdin=subprocess.PIPE,
            stdout=file,
            env={**os.environ, **marks},
        ) as somebody,
    ):
        try:
            living = audit.gather(survivor.trial).processes
        finally:
            somebody.kill()
    assert any(words.startswith(f"{somebody.pid} ") for words in living)
    assert len(list(audit.nothing_lives(replace(survivor.evidence, processes=living)))) == len(living)


def test_auditor_notices_a_journal_that_was_changed(survivor, tmp_path):
    shutil.copytree(survivor.trial.folder.root, tmp_path / "campaign")
    changed = replace_folder(survivor.trial, tmp_path / "campaign")
    with sqlite3.connect(changed.folder.journal_file) as connection:
        connection.execute("DELETE FROM events WHERE seq = (SELECT max(seq) / 2 FROM events)")
    with pytest.raises(StorageError, match="does not follow"):
        audit.gather(changed)


def replace_folder(trial, root):
    """The same campaign, looked at in a copy of its folder."""
    moved = object.__new__(Trial)
    moved.__dict__.update(trial.__dict__, folder=CampaignFolder(root))
    return moved
