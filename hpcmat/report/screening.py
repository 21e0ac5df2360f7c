"""A screening in numbers and words: ranking, what was found after how many labels, values against those known."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from hpcmat.campaign.events import ScreenSummary
from hpcmat.campaign.screen.fidelities import standings
from hpcmat.campaign.screen.search import ranking
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.screen.standing import CrystalState
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.records import SCHEMA_VERSION, encode
from hpcmat.report import tasks
from hpcmat.report.outcome import outcome, phase_now
from hpcmat.report.schema import DecisionRow, FailedAttemptRow, Phase
from hpcmat.report.text import number, plural
from hpcmat.report.toml_text import campaign_toml

UNITS = {
    "bulk_modulus_gpa": ("bulk modulus", "GPa"),
    "lattice_constant_ang": ("lattice constant", "Å"),
    "volume_ang3": ("volume per atom", "Å³"),
    "energy_ev": ("energy per atom", "eV"),
    "density_g_cm3": ("density", "g/cm³"),
    "shear_modulus_gpa": ("shear modulus", "GPa"),
    "young_modulus_gpa": ("Young's modulus", "GPa"),
    "poisson_ratio": ("Poisson's ratio", ""),
    "c11_gpa": ("C11", "GPa"),
    "c12_gpa": ("C12", "GPa"),
    "c44_gpa": ("C44", "GPa"),
    "formation_energy_ev": ("formation energy per atom", "eV"),
    "vacancy_energy_ev": ("vacancy energy", "eV"),
    "surface_energy_j_m2": ("surface energy", "J/m²"),
}


@dataclass(frozen=True, slots=True)
class KnownValue:
    """A value from the literature beside the computed one."""

    candidate: str
    property: str
    computed: float
    literature: float
    relative_difference: float
    source: str


@dataclass(frozen=True, slots=True)
class CrystalRow:
    """One candidate."""

    name: str
    status: str
    rank: int | None
    """Among those computed that fulfil the constraints, by the first objective."""
    properties: dict[str, float]
    labels: int
    node_hours: float
    reason: str
    cheap_status: str = ""
    """Empty in a campaign without a cheap engine."""
    cheap_properties: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CheapPart:
    """The cheap calculations of a campaign."""

    engine: str
    computed: int
    failed: int
    labels: int
    node_hours: float


@dataclass(frozen=True, slots=True)
class FoundPoint:
    """After one more candidate was computed."""

    labels: int
    """Dear ones."""
    candidates: int
    candidate: str
    value: float
    """Of the first objective."""
    found: int
    """How many of the best candidates known in the end were computed by then."""


@dataclass(frozen=True, slots=True)
class ScreeningReport:
    """Everything that the report of a screening says."""

    schema_version: int
    kind: str
    name: str
    phase: Phase
    outcome: str
    engine: str
    objectives: tuple[str, ...]
    top: int
    candidates: int
    computed: int
    failed: int
    labels: int
    labels_exhaustive: int | None
    """What all candidates would take, at the mean of those computed."""
    node_hours: float
    """Of labels of both fidelities."""
    cheap: CheapPart | None
    crystals: tuple[CrystalRow, ...]
    found: tuple[FoundPoint, ...]
    literature: tuple[KnownValue, ...]
    failed_attempts: tuple[FailedAttemptRow, ...]
    decisions: tuple[DecisionRow, ...]
    campaign_file: str
    version: str

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON data."""
        data: dict[str, Any] = json.loads(encode(self))
        return data


def screening_report(state: CampaignState, driver_runs: bool = True) -> ScreeningReport:
    """Everything a report says of a screening, finished or not.

    Parameters
    ----------
    driver_runs : whether a driver holds the campaign; a journal cannot tell that its driver was killed.
    """
    phase = phase_now(state, driver_runs)
    campaign, both = state.screen, standings(state)
    crystals = both.dear
    best = ranking(campaign, crystals)
    computed = [crystal for crystal in crystals if crystal.status == "done"]
    labels = sum(crystal.labels for crystal in crystals)
    each = sum(crystal.labels for crystal in computed) / len(computed) if computed else None
    return ScreeningReport(
        schema_version=SCHEMA_VERSION,
        kind="screen",
        name=campaign.name,
        phase=phase,
        outcome=outcome(state, phase),
        engine=campaign.engine.name,
        objectives=tuple(_goal(item.property, item.goal, item.value) for item in campaign.objectives),
        top=campaign.search.top,
        candidates=len(crystals),
        computed=len(computed),
        failed=sum(crystal.status == "failed" for crystal in crystals),
        labels=labels,
        labels_exhaustive=round(each * len(crystals)) if each else None,
        node_hours=state.node_hours,
        cheap=_cheap_part(campaign, both.cheap),
        crystals=tuple(_row(crystal, best, both.cheap) for crystal in _sorted(crystals, best)),
        found=_found(state, crystals, best),
        literature=_literature(state, crystals),
        failed_attempts=tasks.failed_attempts(state),
        decisions=tasks.decisions(state),
        campaign_file=campaign_toml(campaign),
        version=state.created.version if state.created else "",
    )


def screening_text(report: ScreeningReport) -> str:
    """The report for a terminal: where the campaign is, and the best candidates."""
    lines = [
        f"{report.name}: {report.phase}. {report.outcome}",
        f"{report.computed} of {plural(report.candidates, 'candidate')} computed, {report.failed} failed; "
        f"{plural(report.labels, 'label')} of about {report.labels_exhaustive or '–'} for all; "
        f"{number(report.node_hours)} node-hours",
        *([_cheap_line(report.cheap)] if report.cheap else []),
    ]
    best = (row for row in report.crystals if row.rank is not None and row.rank <= report.top)
    return "\n".join([*lines, *(f"{row.rank:3d}  {row.name:24s} {_values(row.properties)}" for row in best)])


def screening_line(state: CampaignState) -> str:
    """One line on where a running screening is."""
    crystals = standings(state)
    computed, cheap = (sum(each.status == "done" for each in some) for some in (crystals.dear, crystals.cheap))
    labels, total = sum(crystal.labels for crystal in crystals.dear), len(crystals.dear)
    cheaply = f"{cheap} cheaply, " if crystals.cheap else ""
    return f"{computed} of {total} candidates computed, {cheaply}{labels} labels, {state.node_hours:.3f} node-hours"


def recipe_line(summary: ScreenSummary, task: TaskState, state: CampaignState) -> str:
    """What one finished label of a recipe brought."""
    assert state.created is not None and task.decision.crystal is not None
    name = state.created.names[task.decision.crystal] + (", cheap" if task.decision.fidelity == "cheap" else "")
    if summary.refused:
        return f"{name}: given up: {summary.refused}"
    if summary.properties:
        return f"{name}: {_values(dict(summary.properties))}"
    return f"{name}: {summary.label.energy_per_atom:.4f} eV/atom"


def _values(properties: dict[str, float]) -> str:
    return ", ".join(f"{UNITS[name][0]} {number(value, 4)} {UNITS[name][1]}" for name, value in properties.items())


def _goal(name: str, goal: str, value: float | None) -> str:
    words, unit = UNITS[name]
    return f"{goal} {words}" + (f" {value:g} {unit}" if value is not None else "")


def _sorted(crystals: list[CrystalState], best: list[CrystalState]) -> list[CrystalState]:
    places = {crystal.number: place for place, crystal in enumerate(best)}
    return sorted(crystals, key=lambda crystal: (places.get(crystal.number, len(crystals)), crystal.number))


def _cheap_part(campaign: ScreenCampaign, cheap: list[CrystalState]) -> CheapPart | None:
    if campaign.cheap_engine is None:
        return None
    status = [crystal.status for crystal in cheap]
    labels, hours = sum(crystal.labels for crystal in cheap), sum(crystal.node_hours for crystal in cheap)
    return CheapPart(campaign.cheap_engine.name, status.count("done"), status.count("failed"), labels, hours)


def _cheap_line(cheap: CheapPart) -> str:
    return (
        f"{plural(cheap.computed, 'candidate')} computed cheaply, {cheap.failed} failed; "
        f"{plural(cheap.labels, 'cheap label')}, {number(cheap.node_hours)} of the node-hours"
    )


def _row(crystal: CrystalState, best: list[CrystalState], cheap: list[CrystalState]) -> CrystalRow:
    rank = 1 + best.index(crystal) if crystal in best else None
    row = CrystalRow(
        crystal.name, crystal.status, rank, crystal.properties, crystal.labels, crystal.node_hours, crystal.reason
    )
    if not cheap:
        return row
    other = cheap[crystal.number]
    return replace(row, cheap_status=other.status, cheap_properties=other.properties)


def _found(state: CampaignState, crystals: list[CrystalState], best: list[CrystalState]) -> tuple[FoundPoint, ...]:
    top = {crystal.number for crystal in best[: state.screen.search.top]}
    objective = state.screen.objectives[0].property
    dear = [task for crystal in crystals for task in crystal.tasks if task.status == "done"]
    ended = sorted(task.finished for task in dear if task.finished is not None)
    points: list[FoundPoint] = []
    found = 0
    done = [crystal for crystal in crystals if crystal.status == "done" and crystal.finished is not None]
    for count, crystal in enumerate(sorted(done, key=lambda item: (item.finished or 0.0, item.number)), start=1):
        found += crystal.number in top
        labels = sum(time <= (crystal.finished or 0.0) for time in ended)
        points.append(FoundPoint(labels, count, crystal.name, crystal.properties[objective], found))
    return tuple(points)


def _literature(state: CampaignState, crystals: list[CrystalState]) -> tuple[KnownValue, ...]:
    computed = {crystal.name: crystal.properties for crystal in crystals if crystal.status == "done"}
    return tuple(
        KnownValue(
            known.candidate,
            known.property,
            computed[known.candidate][known.property],
            known.value,
            computed[known.candidate][known.property] / known.value - 1.0,
            known.source,
        )
        for known in state.screen.literature
        if known.candidate in computed
    )
