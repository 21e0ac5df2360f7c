"""The cheapest cutoff and spacing of k-points whose labels are within tolerance of those of much tighter settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hpcmat.engines.kpoints import kpoint_grid
from hpcmat.engines.settings import EngineSettings
from hpcmat.engines.study.calculations import Calculated, calculate
from hpcmat.engines.study.differences import Differences, differences
from hpcmat.engines.study.search import cheapest_within
from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.toml_input import parse_model

Series = Literal["cutoff", "spacing", "both"]
"""Which settings differ from those that a trial is compared with."""
_Grids = tuple[tuple[int, int, int], ...]

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
    """Labels at one cutoff and spacing, and how far they are from those of tighter settings."""

    series: Series
    cutoff_ev: float
    spacing_per_ang: float
    calculated: Calculated
    errors: Differences
    worst: float
    """Largest error over its tolerance; infinite where a structure has no label."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Settings that are tried, each series from coarse to fine, and those that they are compared with."""

    cutoffs_ev: tuple[float, ...]
    spacings_per_ang: tuple[float, ...]
    usual: tuple[float, float]
    """Cutoff (eV) and spacing (1/Å) of the campaign, at which the other series is tried."""
    tight: tuple[float, float]
    """Cutoff and spacing to compare with."""

    def reference(self, series: Series) -> tuple[float, float]:
        """What trials of a series are compared with: what is not tried is as in the trial."""
        tight_cutoff, tight_spacing = self.tight
        if series == "cutoff":
            return tight_cutoff, self.usual[1]
        return (self.usual[0], tight_spacing) if series == "spacing" else self.tight


@dataclass(frozen=True, slots=True, eq=False)
class Convergence:
    """A study of convergence."""

    grid: Grid
    trials: tuple[Trial, ...]
    """In the order in which they were made."""
    found: Trial | None
    """The cheapest one within tolerance; None where none is."""
    cpu_s: float
    """Processor time of all calculations."""


def grid_of(
    settings: EngineSettings,
    structures: Sequence[Structure],
    tight_cutoff_ev: float | None = None,
    tight_spacing_per_ang: float | None = None,
) -> Grid:
    """Cutoffs and spacings around those of the settings, up to the tight ones.

    Of spacings that give the same grids of k-points on all structures the largest stays, and none of those that give
    the tight ones.

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
    by_grids: dict[_Grids, float] = {}
    for tried in (float(f"{factor * spacing:.3g}") for factor in SPACING_FACTORS):
        by_grids.setdefault(_grids(structures, tried), tried)
    by_grids.pop(_grids(structures, spacing), None)
    cutoffs = tuple(step * number for number in numbers)
    return Grid(cutoffs, tuple(by_grids.values()), (given[CUTOFF_KEY], given[SPACING_KEY]), (cutoff, spacing))


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
    """Search cutoff and spacing separately, each with the other as usual, and check the pair that is found.

    Errors of cutoff and of k-points are nearly independent of each other, so that only the pair is computed beside
    labels that are tight in both.

    Parameters
    ----------
    structures : strained and rattled ones, so that forces are there and energies differ.
    folder : where the calculations are made.
    tell : called with each trial when it is done.

    Raises
    ------
    InputError
        A calculation to compare with failed, or lacks the stress, the tolerance of which is given.
    """
    study = _Study(settings, tuple(structures), grid, tolerances, folder, tell)
    cutoffs, spacings = grid.cutoffs_ev, grid.spacings_per_ang
    found = cheapest_within(
        (len(cutoffs), len(spacings)),
        (
            lambda i: study.trial("cutoff", cutoffs[i], grid.usual[1]).worst,
            lambda j: study.trial("spacing", grid.usual[0], spacings[j]).worst,
        ),
        lambda i, j: study.trial("both", cutoffs[i], spacings[j]).worst,
    )
    best = study.trial("both", cutoffs[found[0]], spacings[found[1]]) if found else None
    cpu_s = sum(calculated.cpu_s for calculated in study.calculations.values())
    return Convergence(grid, tuple(study.trials.values()), best, cpu_s)


@dataclass(slots=True, eq=False)
class _Study:
    settings: EngineSettings
    structures: tuple[Structure, ...]
    grid: Grid
    tolerances: Tolerances
    folder: Path
    tell: Callable[[Trial], None]
    trials: dict[tuple[Series, float, float], Trial] = field(default_factory=dict)
    calculations: dict[tuple[float, _Grids], Calculated] = field(default_factory=dict)

    def trial(self, series: Series, cutoff: float, spacing: float) -> Trial:
        """One trial of a series; made once."""
        key = (series, cutoff, spacing)
        if key not in self.trials:
            self.trials[key] = self._made(series, cutoff, spacing)
            self.tell(self.trials[key])
        return self.trials[key]

    def _made(self, series: Series, cutoff: float, spacing: float) -> Trial:
        tight = self._calculated(*self.grid.reference(series))
        _require_labels(tight, self.grid.reference(series), self.tolerances)
        calculated = self._calculated(cutoff, spacing)
        errors = differences(calculated.labels, tight.labels)
        worst = math.inf if calculated.failures else self.tolerances.worst(errors)
        return Trial(series, cutoff, spacing, calculated, errors, worst)

    def _calculated(self, cutoff: float, spacing: float) -> Calculated:
        key = (cutoff, _grids(self.structures, spacing))
        if key not in self.calculations:
            settings = with_grid(self.settings, cutoff, spacing)
            folder = self.folder / f"{cutoff:g}-{spacing:g}"
            self.calculations[key] = calculate(settings, self.structures, folder)
        return self.calculations[key]


def _require_labels(tight: Calculated, at: tuple[float, float], tolerances: Tolerances) -> None:
    if tight.failures:
        number, failure = tight.failures[0]
        raise InputError(
            f"structure {number} has no label at {at[0]:g} eV and {at[1]:g} 1/Å, with which others are compared "
            f"({failure.failure}: {failure.message}); mend that first"
        )
    if tolerances.stress_gpa is not None and not all(label is not None and label.stress.size for label in tight.labels):
        raise InputError("the engine gives no stress with these settings; leave the tolerance of the stress out")


def _grids(structures: Sequence[Structure], spacing: float) -> _Grids:
    return tuple(kpoint_grid(structure.cell, spacing) for structure in structures)


def _round_step(step: float) -> float:
    """The nearest of 1, 2 and 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(step))
    return min((factor * power for factor in (1.0, 2.0, 5.0, 10.0)), key=lambda found: abs(math.log(found / step)))
