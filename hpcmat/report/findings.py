"""What a reader should know without reading all the figures, each with what to do next."""

from __future__ import annotations

from collections.abc import Iterable

from hpcmat.report.audits import count_words
from hpcmat.report.schema import Calibration, Finding, Report
from hpcmat.report.text import duration, number, percent, plural

OVERCONFIDENT, UNDERCONFIDENT = 1.2, 0.8
"""rms z outside of which error bars mislead the choice of labels."""
MANY_FAILURES = 0.05
LOW_UTILISATION = 0.9
SHORT_TASK_S = 1.0
LATTICE_TOLERANCE, BULK_TOLERANCE = 0.005, 0.10
OVERFITTING = 2.0
"""Ratio of validation to training error above which more labels help more than a larger basis."""

_ORDER = ("problem", "warning", "note", "good")


def findings(report: Report) -> tuple[Finding, ...]:
    """Findings, the most severe first."""
    found = [
        *_on_target(report),
        *_on_calibration(report),
        *_on_audits(report),
        *_on_reference(report),
        *_on_failures(report),
        *_on_fit(report),
        *_on_cost(report),
    ]
    return tuple(sorted(found, key=lambda finding: _ORDER.index(finding.severity)))


def _on_target(report: Report) -> Iterable[Finding]:
    rmse, target = report.validation_force_rmse_ev_per_ang, report.target_force_rmse_ev_per_ang
    bound = report.validation_force_rmse_bound_ev_per_ang
    level = f"{100 * report.target_confidence:g} %"
    if rmse is None:
        yield Finding(
            "note", "No validation error yet", "No potential has been judged on validation frames.", _go_on(report)
        )
    elif report.target_reached:
        yield Finding(
            "good",
            "Target reached",
            f"With {level} confidence the force RMSE is at most {number(bound)} eV/Å; the target is {target:g} eV/Å.",
            "Use the potential within the conditions that were explored; beyond them watch its uncertainty.",
        )
    elif rmse <= target:
        yield Finding(
            "warning",
            "Target met, but not yet shown",
            f"The force RMSE {number(rmse)} eV/Å is below the target of {target:g} eV/Å; its upper bound "
            f"{number(bound)} eV/Å from {plural(report.validation_frames, 'validation frame')} is not.",
            _more_validation(report),
        )
    else:
        severity = "problem" if report.phase == "complete" else "note"
        yield Finding(
            "problem" if severity == "problem" else "note",
            "Target not reached" + ("" if report.phase == "complete" else " yet"),
            f"The force RMSE is {number(rmse)} eV/Å, {number(rmse / target, 2)} times the target of {target:g} eV/Å.",
            _go_on(report),
        )


def _more_validation(report: Report) -> str:
    if report.phase != "complete":
        return "More validation frames narrow the bound: " + _go_on(report)
    return (
        "More validation frames narrow the bound: raise budget.labels and run the campaign again, it goes on. "
        + (report.forecast.sentence if report.forecast else "")
    ).strip()


def _go_on(report: Report) -> str:
    if report.forecast is not None and report.phase == "complete":
        return f"{report.forecast.sentence} Raise budget.labels and run the campaign again: it goes on."
    if report.forecast is not None:
        return report.forecast.sentence
    if report.phase == "complete":
        return "Raise the budget, or a larger basis (surrogate.size) if the training error is as high."
    return "Let the campaign go on: `hpcmat run` resumes it."


def _on_calibration(report: Report) -> Iterable[Finding]:
    """The validation frames speak first; what came before them only where it says more."""
    found = [finding for row in report.calibration for finding in _on_rms_z(row)]
    kinds = [finding.title.split(" on ")[0] for finding in found]
    yield from (finding for number, finding in enumerate(found) if kinds[number] not in kinds[:number])


def _on_rms_z(row: Calibration) -> Iterable[Finding]:
    ends = row.rms_z_interval or (row.rms_z, row.rms_z)
    facts = (
        f"rms z is {number(row.rms_z)} on {plural(row.frames, f'{row.on} frame')} "
        f"and {percent(row.coverage_95)} of components lie within the 95 % interval."
    )
    if row.rms_z > OVERCONFIDENT and ends[0] > 1.0:
        yield Finding(
            "warning",
            f"Error bars too small on {row.on} frames",
            facts,
            f"Multiply the predicted standard deviations by {number(row.rms_z, 2)} before you rely on them; "
            "a larger basis describes more of what is now taken for noise.",
        )
    elif row.rms_z < UNDERCONFIDENT and ends[1] < 1.0:
        yield Finding(
            "note",
            f"Error bars too large on {row.on} frames",
            facts,
            "Explorations stop earlier than they need to; raise explore.sigma_stop_ev_per_ang.",
        )
    elif row.on == "validation":
        yield Finding("good", "Error bars can be trusted", facts, "Nothing to do.")


def _on_audits(report: Report) -> Iterable[Finding]:
    if report.audits.explorations_failed:
        yield Finding(
            "note",
            "Explorations whose potential erred unnoticed",
            f"By audits of frames drawn from them, {count_words(report.audits)}.",
            "Lower explore.sigma_stop_ev_per_ang where these are many: explorations then stop earlier.",
        )


def _on_reference(report: Report) -> Iterable[Finding]:
    lattice, bulk = report.lattice_constant_relative_difference, report.bulk_modulus_relative_difference
    if report.lattice_constant_engine_ang is not None and lattice is None:
        yield Finding(
            "problem",
            "The potential has no crystal",
            "Its energy has no minimum within the volumes of the reference cells.",
            "Explore larger strains (explore.strain) so that compressed and stretched cells are labelled.",
        )
    if lattice is None or bulk is None:
        return
    facts = f"Lattice constant {percent(lattice, signed=True)}, bulk modulus {percent(bulk, signed=True)}."
    if abs(lattice) <= LATTICE_TOLERANCE and abs(bulk) <= BULK_TOLERANCE:
        yield Finding("good", "The crystal is right", facts, "Nothing to do.")
    else:
        yield Finding(
            "warning",
            "The crystal differs from the engine's",
            facts + f" Expected within {percent(LATTICE_TOLERANCE)} and {percent(BULK_TOLERANCE)}.",
            "Raise explore.strain, or label more low-temperature frames.",
        )


def _on_failures(report: Report) -> Iterable[Finding]:
    attempts = sum(entry.executions for entry in report.cost.by_purpose)
    if report.failures == 0:
        return
    rate = report.failures / max(attempts, report.failures)
    most = report.failures_by_kind[0]
    facts = (
        f"{plural(report.failures, 'attempt')} failed ({percent(rate)} of all), most often: {most.kind} "
        f"({most.attempts}). {plural(report.tasks_given_up, 'task')} given up; none was trained on."
    )
    if report.tasks_given_up == 0 and rate <= MANY_FAILURES:
        yield Finding("note", "All failures were cured or are being repeated", facts, "Nothing to do.")
        return
    yield Finding("warning", "Failures cost labels or time", facts, _cure(most.kind))


def _cure(kind: str) -> str:
    advice = {
        "not converged": "Add smearing (engine.smearing_ev) or a denser k-point grid; check the hottest structures.",
        "diverged": "Lower explore.strain or explore.sigma_stop_ev_per_ang: the structures are too far out.",
        "unphysical": "Lower explore.sigma_stop_ev_per_ang so that trajectories stop earlier.",
        "out of memory": "Give each task more cores of a node, so that fewer share its memory.",
        "walltime": "Raise failures.task_walltime_s, or label smaller cells.",
        "node lost": "Tell the centre which node it was; the campaign goes on without it.",
        "disk full": "Free space for the result store.",
        "bad settings": "Correct the engine's settings: the message says which; `hpcmat check` tests them.",
    }
    return advice.get(kind, "Read the log tails under Failures; the same message on one host points at that host.")


def _on_fit(report: Report) -> Iterable[Finding]:
    train, validation = report.train_force_rmse_ev_per_ang, report.validation_force_rmse_ev_per_ang
    if not train or validation is None or report.target_reached:
        return
    ratio = validation / train
    if ratio > OVERFITTING:
        yield Finding(
            "note",
            "More labels will help",
            f"The error on validation frames is {number(ratio, 2)} times that on training frames.",
            "Keep labelling; a smaller basis would also narrow the gap.",
        )
    elif min(train, validation) > report.target_force_rmse_ev_per_ang:
        yield Finding(
            "warning",
            "The basis is too small for the target",
            f"Even on its training frames the potential errs by {number(train)} eV/Å.",
            "Choose a larger surrogate.size; more labels alone will not reach the target.",
        )


def _busier(report: Report) -> str:
    walls = [entry.median_wall_s for entry in report.cost.by_purpose[:2] if entry.median_wall_s is not None]
    if walls and max(walls) < SHORT_TASK_S:
        return (
            f"Labels take {duration(max(walls))} here: deciding, fitting and exploring take longer. With real "
            "first-principles calculations this vanishes."
        )
    return "Use fewer workers, or raise steering.pool_min so that candidates are always waiting."


def _on_cost(report: Report) -> Iterable[Finding]:
    cost = report.cost
    if cost.utilisation is not None and cost.utilisation < LOW_UTILISATION:
        yield Finding(
            "note",
            "Workers stood idle",
            f"Utilisation is {percent(cost.utilisation)}: {duration(3600 * cost.idle_worker_hours)} of "
            f"{duration(3600 * cost.available_worker_hours)} of worker time were not used.",
            _busier(report),
        )
    if cost.labels_reused:
        yield Finding(
            "good",
            "Earlier work was reused",
            f"{plural(cost.labels_reused, 'label')} came from the store, saving {number(cost.node_hours_saved)} "
            "node-hours.",
            "Nothing to do.",
        )
