"""What audits found: how often explorations fail, and what it meant for a decision."""

from __future__ import annotations

from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.report.schema import AuditCount
from hpcmat.report.text import number, plural


def audit_count(state: CampaignState) -> AuditCount:
    """Audits of a campaign."""
    found = [list(frames.values()) for frames in state.index.audits.frames.values()]
    return AuditCount(
        explorations=len(found),
        explorations_failed=sum(not all(audit.passed for audit in audits) for audits in found),
        frames=sum(len(audits) for audits in found),
        frames_failed=sum(not audit.passed for audits in found for audit in audits),
        candidates_withdrawn=sum(each.withdrawn for each in state.index.audits.roll_backs),
    )


def count_words(count: AuditCount) -> str:
    """Return the same for people."""
    withdrawn = f"; {plural(count.candidates_withdrawn, 'candidate')} withdrawn" if count.candidates_withdrawn else ""
    return (
        f"{count.explorations_failed} of {plural(count.explorations, 'exploration')} failed, "
        f"{count.frames_failed} of {plural(count.frames, 'frame')}{withdrawn}"
    )


def audit_words(state: CampaignState, task: TaskState) -> str:
    """Return what audits said of an exploration, or of the one that a label's candidate comes from."""
    candidate = task.decision.candidate
    audits = state.index.audits.frames.get(candidate.exploration if candidate else task.key, {})
    if candidate and candidate.frame in audits:
        audit = audits[candidate.frame]
        return (
            f"{'passed' if audit.passed else 'failed'}: its exploration's forces were wrong by {number(audit.error)} "
            f"eV/Å, and {number(audit.stated)} eV/Å had been stated"
        )
    failed = [frame for frame, audit in audits.items() if not audit.passed]
    if not failed:
        return ""
    taken_back = state.index.audits.of(candidate.exploration if candidate else task.key)
    words = f"the exploration failed at frame {min(failed)}"
    if taken_back is None:
        return words
    if candidate is None:
        return f"{words}; it counts up to step {taken_back.steps}"
    kept = "; this label was decided before, and is kept" if candidate.frame >= taken_back.first else ""
    return words + kept
