"""Figures in words, for readers who do not see them."""

from __future__ import annotations

from hpcmat.report.schema import Report
from hpcmat.report.text import duration, number, percent, plural


def figure(name: str, report: Report) -> str:
    """Text that stands in for a figure."""
    return _DESCRIPTIONS[name](report)


def _learning_curve(report: Report) -> str:
    first, last = report.learning_curve[0], report.learning_curve[-1]
    return (
        f"Learning curve of {plural(len(report.learning_curve), 'fit')}: force RMSE on validation frames from "
        f"{number(first.validation_force_rmse_ev_per_ang)} at {first.train_labels} training labels to "
        f"{number(last.validation_force_rmse_ev_per_ang)} eV/Å at {last.train_labels}; "
        f"target {report.target_force_rmse_ev_per_ang:g} eV/Å."
    )


def _parity(report: Report) -> str:
    return (
        "Parity plots, prediction against label: energies with an RMSE of "
        f"{number(report.validation_energy_rmse_ev_per_atom)} eV/atom and force components with "
        f"{number(report.validation_force_rmse_ev_per_ang)} eV/Å on validation frames."
    )


def _calibration(report: Report) -> str:
    rows = [f"rms z {number(c.rms_z)}, {percent(c.coverage_95)} inside 95 % on {c.on}" for c in report.calibration]
    return "Calibration: observed coverage against predicted intervals; " + "; ".join(rows) + "."


def _equation_of_state(report: Report) -> str:
    return (
        "Equation of state: lattice constant "
        f"{number(report.lattice_constant_engine_ang, 4)} Å by the engine and "
        f"{number(report.lattice_constant_potential_ang, 4)} Å by the potential, bulk modulus "
        f"{number(report.bulk_modulus_engine_gpa)} and {number(report.bulk_modulus_potential_gpa)} GPa."
    )


def _timeline(report: Report) -> str:
    workers = len({span.worker for span in report.timeline})
    end = max(span.end_s for span in report.timeline)
    return (
        f"Timeline: {plural(len(report.timeline), 'attempt')} on {plural(workers, 'worker')} over {duration(end)}, "
        f"utilisation {percent(report.cost.utilisation)}, {plural(report.failures, 'failure')}."
    )


def _cost(report: Report) -> str:
    rows = [f"{entry.purpose} {number(entry.node_hours)}" for entry in report.cost.by_purpose if entry.executions]
    return f"Node-hours by purpose: {', '.join(rows)}; {number(report.cost.failed_node_hours)} for failed attempts."


def _durations(report: Report) -> str:
    return "Actual against predicted duration of tasks, both in seconds."


_DESCRIPTIONS = {
    "learning-curve": _learning_curve,
    "parity": _parity,
    "calibration": _calibration,
    "equation-of-state": _equation_of_state,
    "timeline": _timeline,
    "cost": _cost,
    "durations": _durations,
}
