"""What `hpcmat engines converge` does."""

from __future__ import annotations

import math
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hpcmat.cli.common import print_columns, print_json
from hpcmat.errors import EXIT_DISPATCH

if TYPE_CHECKING:
    from hpcmat.campaign.spec import Campaign
    from hpcmat.engines.study.convergence import Convergence, Tolerances, Trial

TOLERANCE_OF_TARGET = 0.1
"""Of the target of the campaign: so much the forces of its labels may be wrong where no tolerance is named."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options of the command."""

    energy_tolerance_mev: float
    force_tolerance_mev: float | None
    stress_tolerance_gpa: float | None
    tight_cutoff_ev: float | None
    tight_spacing_per_ang: float | None
    copies: int
    write: bool
    out: Path | None


def converge_campaign(campaign: Path, wanted: Wanted, as_json: bool) -> None:
    """Search, print, record; leave with exit code 4 where nothing is within tolerance."""
    from hpcmat.campaign.spec import load_campaign
    from hpcmat.campaign.studies import study_frames
    from hpcmat.engines.study.convergence import Tolerances, converge, grid_of
    from hpcmat.store.atomic import make_folder, require_writable, write_text

    spec = load_campaign(campaign)
    force = wanted.force_tolerance_mev or 1000.0 * TOLERANCE_OF_TARGET * spec.target.force_rmse_ev_per_ang
    tolerances = Tolerances(wanted.energy_tolerance_mev, force, wanted.stress_tolerance_gpa)
    frames = study_frames(spec, wanted.copies)
    grid = grid_of(spec.engine, frames, wanted.tight_cutoff_ev, wanted.tight_spacing_per_ang)
    require_writable(campaign.absolute().parent)
    if wanted.write:
        # Whether it can be edited is known before anything is computed.
        _edited(campaign, *grid.usual)
    with ExitStack() as stack:
        temporary = None if wanted.out else stack.enter_context(tempfile.TemporaryDirectory(prefix="hpcmat-converge-"))
        folder = make_folder(wanted.out or Path(str(temporary)))
        study = converge(spec.engine, frames, grid, tolerances, folder, _tell)
    record = _recorded(campaign, spec, study, tolerances)
    if wanted.write and study.found is not None:
        write_text(campaign, _edited(campaign, study.found.cutoff_ev, study.found.spacing_per_ang))
    if as_json:
        print_json(_as_data(study, tolerances, record))
    else:
        _print(study, tolerances)
        _print_outcome(study, campaign, record, wanted.write)
    if study.found is None:
        raise typer.Exit(EXIT_DISPATCH)


def _tell(trial: Trial) -> None:
    print(
        f"{trial.series}: {trial.cutoff_ev:g} eV, {trial.spacing_per_ang:g} 1/Å: {_verdict(trial)}",
        file=sys.stderr,
        flush=True,
    )


def _edited(campaign: Path, cutoff_ev: float, spacing_per_ang: float) -> str:
    from hpcmat.campaign.converged import with_engine_values
    from hpcmat.engines.study.convergence import CUTOFF_KEY, SPACING_KEY

    return with_engine_values(campaign, {CUTOFF_KEY: cutoff_ev, SPACING_KEY: spacing_per_ang})


def _recorded(campaign: Path, spec: Campaign, study: Convergence, tolerances: Tolerances) -> Path | None:
    from hpcmat.campaign.converged import Converged, add_converged, other_physics

    if study.found is None:
        return None
    found = study.found
    method = next(label.method for label in found.calculated.labels if label is not None)
    outcome = Converged(
        physics=other_physics(spec.engine, spec.system.elements),
        cutoff_ev=found.cutoff_ev,
        kpoint_spacing_per_ang=found.spacing_per_ang,
        tolerances=tolerances,
        errors=found.errors,
        tight_cutoff_ev=study.grid.tight[0],
        tight_spacing_per_ang=study.grid.tight[1],
        code=method.code,
        version=method.version,
    )
    return add_converged(campaign, outcome)


def _print(study: Convergence, tolerances: Tolerances) -> None:
    stress = "any" if tolerances.stress_gpa is None else f"{tolerances.stress_gpa:g} GPa"
    print(
        f"{len(study.trials[0].calculated.outcomes)} structures; largest errors against {study.grid.tight[0]:g} eV, "
        f"{study.grid.tight[1]:g} 1/Å, or both; allowed: {tolerances.energy_mev_per_atom:g} meV/atom, "
        f"{tolerances.force_mev_per_ang:g} meV/Å, stress {stress}\n"
    )
    head = ("series", "cutoff (eV)", "spacing (1/Å)", "energy (meV/atom)", "force (meV/Å)", "stress (GPa)", "CPU-s", "")
    rows = study.trials
    print_columns([head, *(_cells(trial, study) for trial in rows)])
    print(f"\n{study.cpu_s:.0f} CPU-s in all")
    for trial in rows:
        for number, failure in trial.calculated.failures:
            where = f"{trial.cutoff_ev:g} eV, {trial.spacing_per_ang:g} 1/Å, structure {number}"
            print(f"\n{where}: {failure.failure}: {failure.message}")


def _cells(trial: Trial, study: Convergence) -> tuple[str, ...]:
    errors = trial.errors
    return (
        trial.series,
        f"{trial.cutoff_ev:g}",
        f"{trial.spacing_per_ang:g}",
        _number(errors.energy_max_mev_per_atom),
        _number(errors.force_max_mev_per_ang),
        _number(errors.stress_max_gpa),
        f"{trial.calculated.cpu_s:.1f}",
        "cheapest within tolerance" if trial is study.found else _verdict(trial),
    )


def _verdict(trial: Trial) -> str:
    if trial.calculated.failures:
        return "failed"
    return "within tolerance" if trial.worst <= 1.0 else f"{trial.worst:.3g} times what is allowed"


def _print_outcome(study: Convergence, campaign: Path, record: Path | None, written: bool) -> None:
    if study.found is None:
        print("\nnothing is within tolerance; name tighter settings (--tight-cutoff, --tight-spacing), or allow more")
        return
    found = f"cutoff_ev = {study.found.cutoff_ev}, kpoint_spacing_per_ang = {study.found.spacing_per_ang}"
    print(f"\n{found}; recorded in {record}")
    print(f"written into {campaign}" if written else f"{campaign} is as it was; --write puts them there")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _as_data(study: Convergence, tolerances: Tolerances, record: Path | None) -> dict[str, Any]:
    return {
        "tolerances": asdict(tolerances),
        "grid": asdict(study.grid),
        "found": _trial_data(study.found) if study.found else None,
        "cpu_s": study.cpu_s,
        "trials": [_trial_data(trial) for trial in study.trials],
        "record": str(record) if record else None,
    }


def _trial_data(trial: Trial) -> dict[str, Any]:
    return {
        "series": trial.series,
        "cutoff_ev": trial.cutoff_ev,
        "kpoint_spacing_per_ang": trial.spacing_per_ang,
        "errors": asdict(trial.errors),
        "worst_over_tolerance": trial.worst if math.isfinite(trial.worst) else None,
        "cpu_s": trial.calculated.cpu_s,
        "failures": [
            {"structure": number, "failure": str(failure.failure), "message": failure.message}
            for number, failure in trial.calculated.failures
        ],
    }
