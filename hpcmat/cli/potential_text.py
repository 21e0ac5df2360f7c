"""What `hpcmat potential` tells, as text and as JSON."""

from __future__ import annotations

import sys
from dataclasses import asdict
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from hpcmat.cli.common import print_columns
from hpcmat.surrogates.calibration import PotentialCalibration
from hpcmat.surrogates.dataset import Dataset
from hpcmat.surrogates.evaluation import Evaluation, Figures
from hpcmat.surrogates.model_file import DataSource
from hpcmat.surrogates.potential import Potential
from hpcmat.units import GPA_PER_EV_PER_ANG3

MOST_LINES = 12
"""Lines about the problems of one kind; JSON has all."""


def tell(line: str) -> None:
    """A line about what goes on, on standard error."""
    print(line, file=sys.stderr, flush=True)


def print_problems(data: Dataset) -> None:
    """A line for the file and one for each problem, on standard error."""
    keys = ", ".join(f"{quantity} from {key}" for quantity, key in data.source().keys)
    isolated = f", {len(data.isolated)} isolated atoms" if data.isolated else ""
    tell(f"{data.name}: {len(data.frames)} of {data.n_read} frames used{isolated}; {keys}")
    counts: dict[str, int] = {}
    for problem in data.problems:
        counts[problem.kind] = counts.get(problem.kind, 0) + 1
        if counts[problem.kind] <= MOST_LINES:
            tell(f"  {problem.kind}: {problem}")
    for kind, count in counts.items():
        if count > MOST_LINES:
            tell(f"  {kind}: {count - MOST_LINES} more; --json shows all")


def dataset_data(data: Dataset) -> dict[str, Any]:
    """File, keys and problems."""
    problems = [asdict(problem) | {"frames": list(problem.frames)} for problem in data.problems]
    return source_data(data.source()) | {"elements": list(data.elements), "problems": problems}


def source_data(source: DataSource) -> dict[str, Any]:
    """A data file as a potential remembers it."""
    return asdict(source) | {
        "keys": dict(source.keys),
        "left_out": list(source.left_out),
        "isolated_atoms_ev": dict(source.isolated_atoms),
    }


def evaluation_data(found: Evaluation) -> dict[str, Any]:
    """Figures in all, by group, and without groups."""
    remaining = None if found.remaining is None else {"groups": list(found.without), "errors": asdict(found.remaining)}
    return {
        "errors": asdict(found.total),
        "groups": {name: asdict(figures) for name, figures in found.groups},
        "without": remaining,
        "error_bars": None if found.error_bars is None else asdict(found.error_bars),
    }


HEADER = (
    ("", "frames", "energy", "energy", "forces", "forces", "stress", "energy", "forces", "forces"),
    ("", "", "RMSE", "MAE", "RMSE", "MAE", "RMSE", "rms z", "rms z", "in 95 %"),
    ("", "", "meV/atom", "meV/atom", "eV/Å", "eV/Å", "GPa", "", "", ""),
)


def print_evaluation(found: Evaluation) -> None:
    """A table: all, without groups, each group."""
    rows = [*HEADER, _row("all", found.total)]
    if found.remaining is not None:
        rows.append(_row(f"without {', '.join(found.without)}", found.remaining))
    if len(found.groups) > 1:
        rows += [_row(name or "(no group)", figures) for name, figures in found.groups]
    print_columns(rows)
    if found.error_bars is not None:
        _print_error_bars(found.error_bars)


def _print_error_bars(found: PotentialCalibration) -> None:
    """With standard errors, frames being independent and their atoms not."""
    kinds = ("energies", found.energy), ("force components", found.forces.components), ("stresses", found.stress)
    rows = [("error bars", "rms z (right: 1)", "in 95 %")]
    for name, kind in kinds:
        if kind is not None:
            inside = f"{100 * kind.coverage_95:.1f} ± {100 * kind.coverage_95_error:.1f} %"
            rows.append((name, f"{kind.rms_z:.3f} ± {kind.rms_z_error:.3f}", inside))
    print_columns(rows)
    rank = found.forces.rank
    print(f"rank correlation of force error and error bar, by atom: {rank.observed:.3f} ± {rank.observed_error:.3f}")
    print(f"the most that any error bar could reach: {rank.ceiling:.3f} ± {rank.ceiling_error:.3f}")


def _row(name: str, figures: Figures) -> tuple[str, ...]:
    stress = figures.stress_rmse_ev_per_ang3
    coverage = figures.forces_coverage_95
    return (
        name,
        str(figures.n_frames),
        _number(figures.energy_rmse_mev_per_atom),
        _number(figures.energy_mae_mev_per_atom),
        _number(figures.forces_rmse_ev_per_ang),
        _number(figures.forces_mae_ev_per_ang),
        _number(None if stress is None else stress * GPA_PER_EV_PER_ANG3),
        _number(figures.energy_rms_z),
        _number(figures.forces_rms_z),
        "-" if coverage is None else f"{100 * coverage:.1f} %",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def print_named(errors: tuple[tuple[str, float], ...]) -> None:
    """Errors with their units in their names."""
    print_columns([(name, f"{value:.4g}") for name, value in errors])


def potential_data(potential: Potential) -> dict[str, Any]:
    """Settings, provenance, errors and calibration."""
    metadata = potential.metadata
    files = {"train": metadata.train_file, "test": metadata.test_file}
    return {
        "settings": asdict(potential.settings) | {"elements": list(potential.settings.elements)},
        "n_coefficients": len(potential.coefficients),
        "noise": {
            "energy_ev_per_atom": potential.noise_energy,
            "forces_ev_per_ang": potential.noise_forces,
            "stress_ev_per_ang3": potential.noise_stress,
        },
        "stress_offset_ev_per_atom": metadata.stress_offset_ev,
        "atom_energies_ev": dict(metadata.atom_energies),
        "core_ang": _cores(potential),
        "files": {name: source_data(source) for name, source in files.items() if source},
        "labels": {"train": len(metadata.train), "validation": len(metadata.validation)},
        "fit_options": dict(metadata.fit_options),
        "train_errors": dict(metadata.train_errors),
        "test_errors": dict(metadata.validation_errors),
        "calibration": dict(metadata.calibration),
        "software": dict(metadata.software),
        "units": metadata.units,
    }


def _cores(potential: Potential) -> dict[str, list[float]]:
    """Radii between which the fit hands over to nuclear repulsion, by pair of elements."""
    if potential.core is None:
        return {}
    pairs = list(combinations_with_replacement(range(len(potential.core)), 2))
    symbols = potential.settings.elements
    return {f"{symbols[i]}-{symbols[j]}": potential.core[i, j].tolist() for i, j in pairs}


def print_potential(path: Path, potential: Potential) -> None:
    """The same as columns."""
    data = potential_data(potential)
    settings = data["settings"]
    print(f"{path}: {', '.join(settings['elements'])}, size {settings['size']}, {data['n_coefficients']} coefficients")
    rows = [("cutoff", f"{settings['cutoff_ang']} Å"), ("seed", str(settings["seed"]))]
    for name, source in data["files"].items():
        left_out = f", {len(source['left_out'])} left out" if source["left_out"] else ""
        rows.append((f"{name} file", f"{source['file']}, {source['n_used']} of {source['n_read']} frames{left_out}"))
        rows.append(("", f"sha256 {source['sha256']}"))
    rows += [(f"isolated {symbol}", f"{energy:.6g} eV, held") for symbol, energy in data["atom_energies_ev"].items()]
    rows += [
        (f"{pair} core", f"from {outer:.3f} Å down to {inner:.3f} Å the fit hands over to nuclear repulsion")
        for pair, (inner, outer) in data["core_ang"].items()
    ]
    rows += [(f"{name} labels", str(count)) for name, count in data["labels"].items() if count]
    for kind in ("train", "test"):
        rows += [(f"{kind} {name}", f"{value:.4g}") for name, value in data[f"{kind}_errors"].items()]
    rows += [(name, f"{value:.4g}") for name, value in data["calibration"].items()]
    rows.append(("software", ", ".join(f"{name} {version}" for name, version in data["software"].items())))
    print_columns(rows)
