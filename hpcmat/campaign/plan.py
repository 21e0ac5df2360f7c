"""What a campaign will run and cost, before anything is spent. Reads the result store, writes nothing."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hpcmat.campaign.events import Fidelity
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.spec_checks import validation_expected
from hpcmat.campaign.specification import Specification, contents_of
from hpcmat.campaign.structures import reference_structures, seed_structures
from hpcmat.engines.settings import Cp2kSettings, EngineSettings, SiestaSettings, TbliteSettings, TeacherSettings
from hpcmat.records import Record, Structure, decode
from hpcmat.steering.schedule import refit_after
from hpcmat.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from hpcmat.dispatch.sites import Machine

RECORDS_READ = 500
"""The newest records of a store are enough for a median."""

SI64_TIGHT_BINDING_SECONDS = 3.0
"""tblite, 64 silicon atoms, GFN1 or GFN2."""
SI8_CP2K_SECONDS = 20.0
"""CP2K, 8 silicon atoms, double zeta, 300 Ry, 2 × 2 × 2 k-points."""
SI8_SECONDS = 2.5
"""GPAW, 8 silicon atoms, 250 eV, 2 × 2 × 2 k-points: energy, forces and stress on one core of 2024."""
TEACHER_SECONDS = 0.1
MD_SECONDS_PER_ATOM_STEP = 1e-4
FIT_SECONDS_PER_LABEL = 0.05
START_SECONDS = 1.0
"""What a trajectory or a fit takes before its first step."""

Source = Literal["measured", "guess"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Tasks of one purpose: how many, how long each, and how that is known."""

    purpose: str
    count: int
    stored: int
    """How many of them the result store already holds; they cost nothing."""
    seconds_each: float
    source: Source
    fidelity: Fidelity = "dear"

    @property
    def seconds(self) -> float:
        """Time of all tasks that must still run, one after another."""
        return (self.count - self.stored) * self.seconds_each


@dataclass(frozen=True, slots=True)
class Plan:
    """Forecasts at the full label budget, or for all candidates; a campaign that reaches its target ends earlier."""

    forecasts: tuple[Forecast, ...]
    node_hours: float
    wall_s: float
    cheap_node_hours: float = 0.0
    """Those of cheap labels among them."""


def make_plan(campaign: Specification, machine: Machine, store: Path) -> Plan:
    """Forecast of all tasks of a campaign on a machine.

    Labels of the same engine settings and number of atoms found in the store give measured durations; without
    them the durations are guesses, right within about a factor of three (`guess_label_seconds`).
    """
    if isinstance(campaign, Campaign):
        forecasts = (*_label_forecasts(campaign, store), _explore_forecast(campaign), _fit_forecast(campaign))
    else:
        forecasts = tuple(_recipe_forecasts(campaign, store))
    seconds = sum(forecast.seconds for forecast in forecasts)
    cheap = sum(forecast.seconds for forecast in forecasts if forecast.fidelity == "cheap")
    share = machine.cores_per_worker / machine.cores_per_node / SECONDS_PER_HOUR
    return Plan(forecasts, share * seconds, seconds / machine.workers, share * cheap)


def guess_label_seconds(structure: Structure, engine: EngineSettings) -> float:
    """Duration of one label on one core.

    For plane waves t = 2.5 s × (atoms / 8)² × (cutoff / 250 eV) × (k-points / 8), from one measured calculation;
    it errs towards too long for dense k-point grids, whose symmetry is not counted. For CP2K and SIESTA t = 20 s ×
    (atoms / 8)² × (k-points / 8), for tight binding t = 3 s × (atoms / 64)³. For a teacher the mean of its log-normal
    duration, median × exp(sigma² / 2).
    """
    if isinstance(engine, TeacherSettings):
        duration = engine.duration
        return TEACHER_SECONDS + duration.median_s * math.exp(duration.sigma**2 / 2)
    if isinstance(engine, TbliteSettings):
        return SI64_TIGHT_BINDING_SECONDS * (len(structure) / 64) ** 3
    kpoints = number_of_kpoints(structure, engine)
    if isinstance(engine, Cp2kSettings | SiestaSettings):
        return SI8_CP2K_SECONDS * (len(structure) / 8) ** 2 * (kpoints / 8)
    return SI8_SECONDS * (len(structure) / 8) ** 2 * (engine.cutoff_ev / 250.0) * (kpoints / 8)


def number_of_kpoints(structure: Structure, engine: EngineSettings) -> int:
    """Points of the grid for a structure, without symmetry; 1 where a label does not take longer for more of them."""
    from hpcmat.engines.kpoints import kpoint_grid

    if isinstance(engine, TeacherSettings | TbliteSettings):
        return 1
    return math.prod(kpoint_grid(structure.cell, engine.kpoint_spacing_per_ang))


def _label_forecasts(campaign: Campaign, store: Path) -> Iterator[Forecast]:
    references = reference_structures(campaign)
    explored = max(campaign.budget.labels - campaign.explore.cold_start, 0)
    validation = validation_expected(campaign)
    cold = min(campaign.explore.cold_start, campaign.budget.labels)
    if references:
        stored = _already_stored(references, campaign.engine, store)
        yield Forecast("reference labels", len(references), stored, *_seconds(references, campaign.engine, store))
    seeds = seed_structures(campaign)
    seconds, source = _seconds(seeds, campaign.engine, store)
    yield Forecast("cold-start labels", cold, 0, seconds, source)
    cells = math.prod(campaign.explore.repeat)
    if cells > 1:
        seconds, source = seconds * cells**2, "guess"
    yield Forecast("training labels", explored - validation, 0, seconds, source)
    yield Forecast("validation labels", validation, 0, seconds, source)


def _recipe_forecasts(campaign: ScreenCampaign, store: Path) -> Iterator[Forecast]:
    """Labels of the candidates that the budget allows, those in the cells of crystals apart from larger ones.

    Of cheap ones as many are expected; a campaign asks for fewer, where it needs them to choose.
    """
    from hpcmat.campaign.screen.forecast import expected_labels, stored_labels
    from hpcmat.store.results import ResultStore

    contents = contents_of(campaign)
    share = min(1.0, (campaign.budget.candidates or math.inf) / len(contents.seeds))
    sizes = {len(crystal) for crystal in (*contents.seeds, *contents.references)}
    for fidelity in campaign.fidelities:
        expected, stored = expected_labels(campaign, fidelity), stored_labels(campaign, ResultStore(store), fidelity)
        for purpose, small in (("crystal labels", True), ("supercell and slab labels", False)):
            labels, known = (
                tuple(structure for structure in group.values() if (len(structure) in sizes) is small)
                for group in (expected, stored)
            )
            if labels:
                count = math.ceil(share * len(labels))
                seconds = _seconds(labels, campaign.engine_of(fidelity), store)
                name = purpose if fidelity == "dear" else f"cheap {purpose}"
                yield Forecast(name, count, min(count, len(known)), *seconds, fidelity=fidelity)


def _explore_forecast(campaign: Campaign) -> Forecast:
    """One exploration for the cold start, then as many as fill the pool and replace what is labelled."""
    explore = campaign.explore
    atoms = statistics.fmean(len(seed) for seed in seed_structures(campaign)) * math.prod(explore.repeat)
    candidates = max(campaign.budget.labels - explore.cold_start, 0) + campaign.steering.pool_min
    count = 1 + math.ceil(candidates / (explore.steps // explore.sample_every))
    seconds = START_SECONDS + explore.steps * atoms * MD_SECONDS_PER_ATOM_STEP
    return Forecast("explorations", count, 0, seconds, "guess")


def _fit_forecast(campaign: Campaign) -> Forecast:
    labels = campaign.budget.labels
    training, fitted, count = labels - validation_expected(campaign), campaign.explore.cold_start, 1
    while fitted < training:
        fitted, count = fitted + refit_after(fitted, campaign.steering.refit_every), count + 1
    return Forecast("fits", count, 0, START_SECONDS + FIT_SECONDS_PER_LABEL * labels, "guess")


def _seconds(structures: tuple[Structure, ...], engine: EngineSettings, store: Path) -> tuple[float, Source]:
    sizes = {len(structure) for structure in structures}
    measured = [record.execution.wall_s for record in _label_records(store, engine, sizes)]
    if measured:
        return statistics.median(measured), "measured"
    return statistics.fmean(guess_label_seconds(item, engine) for item in structures), "guess"


def _label_records(store: Path, engine: EngineSettings, sizes: set[int]) -> Iterator[Record]:
    from hpcmat.engines.base import physics_of
    from hpcmat.engines.labelling import LabelRequest
    from hpcmat.store.results import ResultStore

    results = ResultStore(store)
    keys = sorted(store.glob("??/*"), key=lambda folder: folder.stat().st_mtime, reverse=True)
    for folder in keys[:RECORDS_READ]:
        record = results.read(folder.name)
        if record is None or record.task_kind != "label":
            continue
        request = decode(LabelRequest, record.request)
        if len(request.structure) in sizes and physics_of(request.engine) == physics_of(engine):
            yield record


def _already_stored(structures: tuple[Structure, ...], engine: EngineSettings, store: Path) -> int:
    from hpcmat.engines.labelling import label_key
    from hpcmat.store.results import ResultStore

    results = ResultStore(store)
    return sum(results.read(label_key(structure, engine)) is not None for structure in structures)
