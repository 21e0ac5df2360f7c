"""The cheapest cutoff and spacing of k-points whose labels are within tolerance of those of much tighter settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hpcmat.engines.kpoints import kpoint_grid
from hpcmat.engines.settings import EngineSettings
from hpcmat.engines.study.calculations import Calculated, calculate
from hpcmat.engines.study.differences import Differences, differences
from hpcmat.engines.study.search import cheapest_within
from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.toml_input import parse_model

_Key = tuple[float, tuple[tuple[int, int, int], ...]]

CUTOFF_KEY, SPACING_KEY = "cutoff_ev", "kpoint_spacing_per_ang"
TIGHT_CUTOFF_FACTOR, TIGHT_SPACING_FACTOR = 2.0, 0.5
"""Tight settings, of the campaign's, where none are named."""
SPACING_FACTORS = (4.0, 3.0, 2.5, 2.0, 1.6, 1.3)
"""Spacings that are tried, of the tight one."""
LOWEST_CUTOFF, HIGHEST_CUTOFF = 0.3, 0.8
"""Cutoffs that are tried, of the tight one. Nearer to it an error seems small though both are far from converged."""
_CUTOFF_STEPS = 12
"""Steps from zero to the tight cutoff, about."""


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Largest errors allowed; the stress does not count where none is given."""

    energy_mev_per_atom: float
    force_mev_per_ang: float
    stress_gpa: float | None = None

    def worst(self, found: Differences) -> float:
        """Largest error over its tolerance: at most 1 where all are within."""
        errors = [
            (found.energy_max_mev_per_atom, self.energy_mev_per_atom),
            (found.force_max_mev_per_ang, self.force_mev_per_ang),
            (found.stress_max_gpa, self.stress_gpa),
        ]
        ratios = [error / tolerance for error, tolerance in errors if error is not None and tolerance is not None]
        return max(ratios, default=math.inf)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """Labels at one cutoff and spacing, and how far they are from the tight ones."""

    cutoff_ev: float
    spacing_per_ang: float
    calculated: Calculated
    errors: Differences
    worst: float
    """Largest error over its tolerance; infinite where a structure has no label."""


@dataclass(frozen=True, slots=True, eq=False)
class Convergence:
    """A study of convergence."""

    tight: Trial
    trials: tuple[Trial, ...]
    """In the order in which they were made."""
    found: Trial | None
    """The cheapest one within tolerance; None where none is."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Settings that are tried, each series from coarse to tight; the last of each is the tight one."""

    cutoffs_ev: tuple[float, ...]
    spacings_per_ang: tuple[float, ...]


def grid_of(settings: EngineSettings, tight_cutoff_ev: float | None, tight_spacing_per_ang: float | None) -> Grid:
    """Cutoffs and spacings around those of the settings, up to the tight ones.

    Raises
    ------
    InputError
        The engine has no cutoff or no k-points.
    """
    given = settings.model_dump()
    if CUTOFF_KEY not in given or SPACING_KEY not in given:
        raise InputError(f"{settings.name} has no cutoff and k-points to converge; study the first-principles engine")
    cutoff = tight_cutoff_ev or TIGHT_CUTOFF_FACTOR * given[CUTOFF_KEY]
    spacing = tight_spacing_per_ang or TIGHT_SPACING_FACTOR * given[SPACING_KEY]
    step = _round_step(cutoff / _CUTOFF_STEPS)
    numbers = range(math.ceil(LOWEST_CUTOFF * cutoff / step), math.floor(HIGHEST_CUTOFF * cutoff / step) + 1)
    spacings = (float(f"{factor * spacing:.3g}") for factor in SPACING_FACTORS)
    return Grid((*(step * number for number in numbers), cutoff), (*spacings, spacing))


def with_grid(settings: EngineSettings, cutoff_ev: float, spacing_per_ang: float) -> EngineSettings:
    """The same settings with another cutoff and another spacing of k-points.

    Raises
    ------
    InputError
        The engine refuses this cutoff beside its other settings.
    """
    data = settings.model_dump() | {CUTOFF_KEY: cutoff_ev, SPACING_KEY: spacing_per_ang}
    return parse_model(type(settings), data, f"{settings.name} at {cutoff_ev:g} eV")


def converge(
    settings: EngineSettings,
    structures: Sequence[Structure],
    grid: Grid,
    tolerances: Tolerances,
    folder: Path,
    tell: Callable[[Trial], None] = lambda trial: None,
) -> Convergence:
    """Search cutoff and spacing separately, each with the other tight, and check the pair that is found.

    Parameters
    ----------
    structures : strained and rattled ones, so that forces are there and energies differ.
    folder : where the calculations are made.
    tell : called with each trial when it is done, the tight one first.

    Raises
    ------
    InputError
        A tight calculation failed or lacks the stress that is asked for, so that there is nothing to compare with.
    """
    study = _Study(settings, tuple(structures), grid, tolerances, folder, tell)
    counts = (len(grid.cutoffs_ev) - 1, len(grid.spacings_per_ang) - 1)
    tight = study.trial(*counts)
    _require_labels(tight, tolerances)
    found = cheapest_within(counts, lambda i, j: study.trial(i, j).worst)
    return Convergence(tight, tuple(study.trials.values()), study.trial(*found) if found else None)


@dataclass(slots=True, eq=False)
class _Study:
    settings: EngineSettings
    structures: tuple[Structure, ...]
    grid: Grid
    tolerances: Tolerances
    folder: Path
    tell: Callable[[Trial], None]
    trials: dict[_Key, Trial] = field(default_factory=dict)
    """By what is calculated: spacings with the same grids of k-points are one trial."""

    def trial(self, cutoff_number: int, spacing_number: int) -> Trial:
        """The trial at one point of the grid; made once."""
        cutoff, spacing = self.grid.cutoffs_ev[cutoff_number], self.grid.spacings_per_ang[spacing_number]
        key = (cutoff, tuple(kpoint_grid(structure.cell, spacing) for structure in self.structures))
        if key not in self.trials:
            self.trials[key] = self._made(cutoff, spacing)
            self.tell(self.trials[key])
        return self.trials[key]

    def _made(self, cutoff: float, spacing: float) -> Trial:
        settings = with_grid(self.settings, cutoff, spacing)
        calculated = calculate(settings, self.structures, self.folder / f"{cutoff:g}-{spacing:g}")
        tight = next(iter(self.trials.values())).calculated if self.trials else calculated
        errors = differences(calculated.labels, tight.labels)
        worst = math.inf if calculated.failures else self.tolerances.worst(errors)
        return Trial(cutoff, spacing, calculated, errors, worst)


def _require_labels(tight: Trial, tolerances: Tolerances) -> None:
    if tight.calculated.failures:
        number, failure = tight.calculated.failures[0]
        raise InputError(
            f"structure {number} has no label at the tight settings, {tight.cutoff_ev:g} eV and "
            f"{tight.spacing_per_ang:g} 1/Å ({failure.failure}: {failure.message}); mend that first"
        )
    if tolerances.stress_gpa is not None and tight.errors.stress_max_gpa is None:
        raise InputError("the engine gives no stress with these settings; leave the tolerance of the stress out")


def _round_step(step: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return min((factor * power for factor in (1.0, 2.0, 5.0, 10.0)), key=lambda found: abs(math.log(found / step)))
