"""Audits: how many explorations failed, for a glance, for the report and for a decision."""

from dataclasses import replace

import pytest

from hpcmat.report.data import report_data
from hpcmat.report.findings import findings
from hpcmat.report.status import decision_of, decision_text, status_of, status_text
from hpcmat.report.text import number
from hpcmat.steering.audit import Audit

GOOD, BAD = Audit(0.1, 0.1, 0.2, True), Audit(0.9, 0.1, 2.0, False)
TITLE = "Explorations whose potential erred unnoticed"


def audited(made, verdict, roll_back=True):
    """The campaign with an audit of each exploration's first validation label; the labels that it judged."""
    state, judged = made.state, {}
    for task in state.done("validation"):
        candidate = task.decision.candidate
        if candidate is not None and candidate.exploration not in judged:
            task.summary = replace(task.summary, audit=verdict)
            state.index.audited(task, roll_back=roll_back)
            judged[candidate.exploration] = task
    assert len(judged) >= 2
    return state, judged


def first_failed(judged, task):
    return judged[task.decision.candidate.exploration].decision.candidate.frame


def told(state, task):
    return decision_text(decision_of(state, task.id))


def test_status_and_report_count_failures(finished):
    state, judged = audited(finished, BAD)
    text = status_text(status_of(state, state.last_time, driver_runs=False))
    withdrawn = sum(each.withdrawn for each in state.index.audits.roll_backs)
    n = len(judged)
    assert withdrawn > 0
    assert f"{n} of {n} explorations failed, {n} of {n} frames; {withdrawn} candidates withdrawn" in text
    report = report_data(state, finished.store)
    assert (report.audits.explorations_failed, report.audits.candidates_withdrawn) == (n, withdrawn)
    assert TITLE in {finding.title for finding in findings(report)}


def test_where_all_passed_nothing_needs_attention(finished):
    state, judged = audited(finished, GOOD)
    assert f"0 of {len(judged)} explorations failed" in status_text(status_of(state, state.last_time, False))
    assert TITLE not in {finding.title for finding in findings(report_data(state, finished.store))}
    assert "audits" not in status_text(status_of(finished.state, state.last_time, False)), "control: none was made"


@pytest.mark.parametrize("roll_back", [True, False])
def test_why_tells_what_an_audit_meant_for_a_decision(finished, roll_back):
    state, judged = audited(finished, BAD, roll_back)
    for key, task in judged.items():
        assert "failed: its exploration" in told(state, task) and f"{number(0.9)} eV/Å" in told(state, task)
        exploration = told(state, state.index.explorations[key])
        failed = task.decision.candidate
        assert (f"counts up to step {failed.step - 1}" in exploration) is roll_back
        assert f"failed at frame {failed.frame}" in exploration
    trained = [t for t in state.done("train") if t.decision.candidate and t.decision.candidate.exploration in judged]
    behind = [t for t in trained if t.decision.candidate.frame >= first_failed(judged, t)]
    assert 0 < len(behind) < len(trained)
    assert all(("is kept" in told(state, task)) is (roll_back and task in behind) for task in trained)
    untouched = next(task for task in state.done("train") if task.decision.candidate is None)
    assert "audit" not in told(state, untouched)
