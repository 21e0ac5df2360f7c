"""Everything a report says, as frozen records; the same structure is what `hpcmat report --json` prints.

Every quantity has its unit in its name. `None` means: not known yet. Times are seconds since the epoch, or hours and
seconds since the campaign's first driver started where the name says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from hpcmat.campaign.events import Fidelity, Purpose
from hpcmat.records import encode
from hpcmat.report.statistics import Interval

Phase = Literal["not started", "running", "interrupted", "stopped", "complete"]
Severity = Literal["problem", "warning", "note", "good"]
Ending = Literal["cured", "given up", "open"]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One fit on the learning curve."""

    fit: str
    hours: float
    """Since the first driver started."""
    train_labels: int
    validation_frames: int
    node_hours: float
    """Spent by the end of this fit."""
    validation_force_rmse_ev_per_ang: float | None
    validation_force_rmse_ev_per_ang_interval: Interval | None
    validation_force_rmse_bound_ev_per_ang: float | None
    """Upper bound that the stopping rule uses: one-sided, corrected for repeated looks."""
    validation_energy_rmse_ev_per_atom: float | None
    validation_energy_rmse_ev_per_atom_interval: Interval | None
    train_force_rmse_ev_per_ang: float
    train_energy_rmse_ev_per_atom: float
    noise_forces_ev_per_ang: float
    features: int
    effective_parameters: float
    prequential_force_rmse_ev_per_ang: float | None
    rms_z: float | None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far the predicted uncertainty of force components can be trusted, on frames not trained on."""

    on: Literal["validation", "prequential"]
    frames: int
    rms_z: float
    """Root of the mean of squared error over predicted variance; 1 is perfect, above 1 is overconfident."""
    rms_z_interval: Interval | None
    coverage_95: float
    """Fraction of force components within the predicted 95 % interval."""
    coverage_95_interval: Interval | None
    conformal_95: float | None = None
    """The rms force error of a new frame like these stays within this times its rms predicted one with a probability
    of 95 % at least, whatever the distribution (split conformal prediction); None with fewer than 19 frames."""


@dataclass(frozen=True, slots=True)
class ReliabilityPoint:
    """Fraction of force components predicted and found to lie within a central interval (validation frames)."""

    predicted_fraction: float
    observed_fraction: float


@dataclass(frozen=True, slots=True)
class EquationOfStatePoint:
    """One reference cell."""

    volume_ang3_per_atom: float
    engine_ev_per_atom: float
    potential_ev_per_atom: float | None


@dataclass(frozen=True, slots=True)
class LabelCount:
    """Labels for one purpose."""

    purpose: Purpose
    done: int
    running: int
    waiting: int
    given_up: int
    reused: int
    """Of the done ones: taken over from an earlier campaign at no cost."""


@dataclass(frozen=True, slots=True)
class AuditCount:
    """Explorations with a potential, judged by the labels of frames drawn at random from them."""

    explorations: int
    explorations_failed: int
    """With a frame whose forces the potential had wrong, far beyond what it stated."""
    frames: int
    frames_failed: int
    candidates_withdrawn: int


@dataclass(frozen=True, slots=True)
class FailedAttemptRow:
    """One attempt that gave no result."""

    task: str
    purpose: Purpose
    attempt: int
    time: float
    kind: str
    free: bool
    """The machine was to blame; the task lost no attempt."""
    message: str
    log_tail: str
    worker: str
    host: str
    wall_s: float | None
    tried: tuple[str, ...]
    """Remedies of this attempt."""
    next_remedies: tuple[str, ...] | None
    """What the next attempt tried; None where there was none."""
    ending: Ending
    """What became of the task."""


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failures of one kind."""

    kind: str
    free: bool
    attempts: int
    tasks: int
    cured: int
    given_up: int
    open: int
    node_hours: float
    remedies: tuple[str, ...]
    """Remedies that were tried after it."""


@dataclass(frozen=True, slots=True)
class PurposeCost:
    """Node-hours spent on one purpose, and how much of it gave no result."""

    purpose: Purpose
    node_hours: float
    failed_node_hours: float
    executions: int
    median_wall_s: float | None


@dataclass(frozen=True, slots=True)
class Cost:
    """What the campaign used."""

    node_hours: float
    node_hours_budget: float | None
    failed_node_hours: float
    by_purpose: tuple[PurposeCost, ...]
    wall_hours: float
    """With a driver at work."""
    workers: int
    """Of the last run."""
    busy_worker_hours: float
    available_worker_hours: float
    """Workers times the time between the first start and the last end, summed over the runs."""
    idle_worker_hours: float
    utilisation: float | None
    cpu_efficiency: float | None
    """Processor time over cores times wall time."""
    peak_memory_mib: float | None
    labels_reused: int
    node_hours_saved: float
    """What the reused labels had cost their campaign."""
    median_wait_s: float | None
    """Between submission and start of an attempt."""


@dataclass(frozen=True, slots=True)
class Span:
    """One attempt on one worker, for the timeline."""

    worker: str
    start_s: float
    end_s: float
    task: str
    purpose: Purpose
    attempt: int
    failure: str | None


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """What was decided, why, and what it led to."""

    id: str
    task: str
    hours: float
    purpose: Purpose
    rule: str
    reason: str
    status: str
    candidate: str | None
    sigma_ev_per_ang: float | None
    score: float | None
    pool_size: int
    passed_over: tuple[tuple[str, float], ...]
    model: str | None
    predicted_s: float | None
    actual_s: float | None
    node_hours: float
    fidelity: Fidelity
    """Of a screening: whether the label belongs to the candidate's cheap calculation."""
    audit: str = ""
    """What audits said of the exploration that it is, or that its candidate comes from."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the target will be reached if the learning curve goes on as it did: a power law in training labels."""

    train_labels: float
    train_labels_interval: Interval
    more_labels: float
    """Training and validation labels still to come."""
    more_node_hours: float
    more_wall_hours: float | None
    sentence: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something a reader should know, and what to do about it."""

    severity: Severity
    title: str
    detail: str
    next_step: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """One driver's spell."""

    started: float
    ended: float | None
    host: str
    site: str
    workers: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a stranger needs to judge the numbers and to compute them again."""

    hpcmat_version: str
    command: str
    campaign_file: str
    """TOML with every value, given and default."""
    software: tuple[tuple[str, str], ...]
    engine_code: str
    engine_version: str
    engine_settings_hash: str
    engine_inputs: tuple[str, ...]
    model_key: str | None
    store: str
    hosts: tuple[str, ...]
    runs: tuple[RunRow, ...]
    creators: tuple[str, ...]
    licence: str
    tier: str


@dataclass(frozen=True, slots=True)
class Report:
    """A campaign in numbers."""

    schema_version: int
    name: str
    phase: Phase
    outcome: str
    """One sentence."""
    elements: tuple[str, ...]
    engine: str
    created: float
    last_event: float
    target_force_rmse_ev_per_ang: float
    target_confidence: float
    target_reached: bool
    validation_frames: int
    validation_force_rmse_ev_per_ang: float | None
    validation_force_rmse_ev_per_ang_interval: Interval | None
    validation_force_rmse_bound_ev_per_ang: float | None
    validation_energy_rmse_ev_per_atom: float | None
    validation_energy_rmse_ev_per_atom_interval: Interval | None
    train_force_rmse_ev_per_ang: float | None
    train_energy_rmse_ev_per_atom: float | None
    labels: int
    """Training and validation labels that are done; reference cells are counted apart."""
    labels_budget: int
    reference_labels: int
    failures: int
    """Failed attempts of any task."""
    tasks_given_up: int
    node_hours: float
    lattice_constant_engine_ang: float | None
    lattice_constant_potential_ang: float | None
    lattice_constant_relative_difference: float | None
    bulk_modulus_engine_gpa: float | None
    bulk_modulus_potential_gpa: float | None
    bulk_modulus_relative_difference: float | None
    labels_by_purpose: tuple[LabelCount, ...]
    audits: AuditCount
    cost: Cost
    provenance: Provenance
    forecast: Forecast | None = None
    findings: tuple[Finding, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    learning_curve: tuple[CurvePoint, ...] = ()
    reliability: tuple[ReliabilityPoint, ...] = ()
    equation_of_state: tuple[EquationOfStatePoint, ...] = ()
    failures_by_kind: tuple[FailureGroup, ...] = ()
    failed_attempts: tuple[FailedAttemptRow, ...] = ()
    decisions: tuple[DecisionRow, ...] = ()
    timeline: tuple[Span, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the same as JSON data: keys are the names of the fields, numbers that are not finite become null."""
        data: dict[str, Any] = json.loads(encode(self))
        return data
