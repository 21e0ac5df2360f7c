"""What can happen in a campaign: the events of its journal. State is a fold over them and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from hpcmat.records import Execution, Failure, Structure, Task
from hpcmat.steering.audit import Audit

Purpose = Literal["train", "validation", "reference", "explore", "fit", "screen"]
"""What a task is for. Validation and reference labels are never trained on; `screen` labels belong to a recipe."""

Fidelity = Literal["cheap", "dear"]
"""Of a calculation of a screening: dear ones count, cheap ones inform the choice."""

BIASED = "biased dynamics"
"""Rule of explorations that are drawn to what the potential does not know: they give candidates, and are no sample of
what it visits."""

Adoption = Literal["", "earlier driver", "earlier campaign", "other task"]
"""Where a result came from if this driver did not see it being computed. Only the first two cost anything.

Two candidates of a screening may need one label, and then have a task for it each.
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One explored frame, named by its exploration and its number in it."""

    exploration: str
    """Content key of the exploration."""
    frame: int
    key: str
    """Content key of its label."""
    sigma: float
    """Largest epistemic standard deviation of an atom's force when it was found, eV/Å; 0 in a cold start."""
    reserved: bool
    """Drawn at random for the validation stream: never trained on."""
    step: int = 0
    temperature_k: float = 0.0

    @property
    def id(self) -> str:
        """Short name for people: first digits of the exploration, then the frame."""
        return f"{self.exploration[:8]}/{self.frame}"


@dataclass(frozen=True, slots=True)
class Condition:
    """Where a campaign explores."""

    temperature_k: float
    seed: int
    """Number of the seed structure."""
    end_temperature_k: float | None = None
    """Where the temperature changes along the trajectory, its last one."""

    def __str__(self) -> str:
        text = f"{self.temperature_k:g} K"
        if self.end_temperature_k is not None:
            return f"{text} to {self.end_temperature_k:g} K"
        return text


@dataclass(frozen=True, slots=True)
class Decision:
    """What was chosen, from what, by which rule, and what was passed over."""

    id: str
    purpose: Purpose
    rule: str
    """`cold-start`, `random`, `i-optimal`, `reference`, `refit`, ..."""
    reason: str
    """One sentence for people."""
    task: Task
    candidate: Candidate | None = None
    model: str | None = None
    """Key of the fit on which the decision rests."""
    score: float | None = None
    pool_size: int = 0
    passed_over: tuple[tuple[str, float], ...] = ()
    """(candidate, score) of the best that were not chosen."""
    predicted_s: float | None = None
    """Predicted duration."""
    train: tuple[str, ...] = ()
    """For a fit: keys of the labels trained on."""
    validation: tuple[str, ...] = ()
    """For a fit: keys of the labels it is judged by."""
    condition: Condition | None = None
    """For an exploration: where."""
    crystal: int | None = None
    """For a screening: number of the candidate that the label belongs to."""
    fidelity: Fidelity = "dear"
    """For a screening: which of the candidate's two calculations it belongs to."""


@dataclass(frozen=True, slots=True)
class Created:
    """The campaign began to exist."""

    identity: str
    """Name and a random part: tells this campaign from others in the shared result store."""
    spec: str
    """Canonical JSON of the campaign file with all defaults."""
    version: str
    store: str
    """Root of the result store."""
    seeds: tuple[Structure, ...]
    references: tuple[Structure, ...]
    """Cells of the reference equation of state."""
    names: tuple[str, ...] = ()
    """Of a screening: names of the candidates, which are its seeds."""
    kind: Literal["created"] = "created"


@dataclass(frozen=True, slots=True)
class Amended:
    """The campaign goes on with another budget, target or other rule that changes no calculation."""

    spec: str
    """Canonical JSON of the new campaign file."""
    changes: tuple[str, ...]
    """Keys that changed."""
    kind: Literal["amended"] = "amended"


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A driver took the campaign up."""

    epoch: str
    host: str
    pid: int
    site: str
    workers: int
    cores_per_node: int
    software: tuple[tuple[str, str], ...]
    nodes: int = 1
    cores: int = 0
    """Cores on all nodes that tasks share out among them; 0 where an older version did not tell."""
    kind: Literal["run-started"] = "run-started"


@dataclass(frozen=True, slots=True)
class Decided:
    """A task was chosen; written before it is submitted."""

    decision: Decision
    kind: Literal["decided"] = "decided"


@dataclass(frozen=True, slots=True)
class Submitted:
    """An attempt at a task is about to be handed to a worker."""

    task_id: str
    remedies: tuple[str, ...]
    attempts_before: int
    """Attempts at the key that the result store held; what comes after them answers this submission."""
    nodes: float = 0.0
    """Nodes that it will occupy, a fraction for a part of one; 0 where an older version did not tell."""
    kind: Literal["submitted"] = "submitted"


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """What the driver needs of a label."""

    energy_per_atom: float
    max_force: float
    scf_steps: int
    n_atoms: int
    audit: Audit | None = None
    """Of the exploration that found the structure; None where no potential ran it, or an older version did not tell."""
    kind: Literal["label"] = "label"


@dataclass(frozen=True, slots=True)
class ExploreSummary:
    """What the driver needs of an exploration."""

    candidates: tuple[Candidate, ...]
    stopped: str
    steps_run: int
    model: str | None
    kind: Literal["explore"] = "explore"


@dataclass(frozen=True, slots=True)
class Scores:
    """Errors of a model on frames it was not trained on, with the model's own opinion of them."""

    n_frames: int
    forces_mse: tuple[float, ...]
    """(eV/Å)² per frame."""
    energy_errors: tuple[float, ...]
    """eV/atom per frame, predicted minus label."""
    forces_z2: tuple[float, ...]
    """Mean squared error over predicted variance, per frame."""
    coverage_95: tuple[float, ...]
    """Fraction of force components within the predicted 95 % interval, per frame."""


@dataclass(frozen=True, slots=True)
class ReferenceComparison:
    """Equation of state of the perfect crystal: engine against potential."""

    lattice_label_ang: float
    lattice_potential_ang: float | None
    bulk_modulus_label_gpa: float
    bulk_modulus_potential_gpa: float | None


@dataclass(frozen=True, slots=True)
class FitSummary:
    """What the driver needs of a fit."""

    n_train: int
    n_features: int
    effective_parameters: float
    train_energy_rmse: float
    """eV/atom."""
    train_forces_rmse: float
    """eV/Å."""
    noise_forces: float
    validation: Scores
    prequential: Scores
    reference: ReferenceComparison | None
    force_rmse: float | None = None
    """Validation force RMSE, eV/Å; None without validation frames."""
    force_rmse_bound: float | None = None
    """Upper confidence bound of it, corrected for how often it was looked at."""
    force_rmse_lower: float | None = None
    kind: Literal["fit"] = "fit"


@dataclass(frozen=True, slots=True)
class ScreenSummary:
    """What the driver needs of a label of a recipe, and what the recipe gave when this was its last."""

    label: LabelSummary
    properties: tuple[tuple[str, float], ...] = ()
    refused: str = ""
    """Why the candidate has no such property, though all its labels are there."""
    kind: Literal["screen"] = "screen"


Summary = Annotated[LabelSummary | ExploreSummary | FitSummary | ScreenSummary, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Finished:
    """A task has its result."""

    task_id: str
    summary: Summary
    execution: Execution
    adopted: Adoption = ""
    kind: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True)
class Failed:
    """One attempt at a task failed."""

    task_id: str
    failure: Failure
    execution: Execution | None
    """None where the process vanished without a record, or another campaign ran and paid it."""
    remedies: tuple[str, ...] | None
    """What the next attempt tries; None gives the task up."""
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True)
class Stopping:
    """No further label is started; what runs may end, and a last fit takes all in."""

    reason: Literal["target", "budget", "walltime", "plateau", "failures", "asked", "allocation"]
    sentence: str
    kind: Literal["stopping"] = "stopping"

    @property
    def resumable(self) -> bool:
        """Whether the campaign goes on when a driver takes it up again: someone or the scheduler ended it early."""
        return self.reason in {"asked", "allocation"}


@dataclass(frozen=True, slots=True)
class Ended:
    """The driver left: the campaign is complete, or stopped on request and can go on."""

    complete: bool
    sentence: str
    kind: Literal["ended"] = "ended"


Event = Annotated[
    Created | Amended | RunStarted | Decided | Submitted | Finished | Failed | Stopping | Ended,
    Field(discriminator="kind"),
]

_EVENTS: TypeAdapter[Event] = TypeAdapter(Event)


def event_json(event: Event) -> str:
    """Payload for the journal."""
    return _EVENTS.dump_json(event).decode()


def read_event(payload: str) -> Event:
    """Event from its payload."""
    return _EVENTS.validate_json(payload)
