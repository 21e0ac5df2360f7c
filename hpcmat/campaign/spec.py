"""The campaign file as frozen models: every quantity has its unit in its key, a bound and, mostly, a default.

A campaign states the science and what it may cost; where it runs is said by a site file, so that one campaign
runs anywhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, PrivateAttr, Tag

from hpcmat.engines.recipes.spec import SlabSpec
from hpcmat.engines.settings import EngineSettings, NonNegative, Positive, Probability, StrictModel
from hpcmat.errors import InputError
from hpcmat.records import Governance, canonical_json
from hpcmat.toml_input import did_you_mean, parse_model, read_toml

Count = Annotated[int, Field(ge=1)]
Repeat = tuple[Count, Count, Count]
OpenProbability = Annotated[float, Field(gt=0, lt=1)]

SPDX_LICENCES = (
    "CC-BY-4.0",
    "CC0-1.0",
    "CC-BY-SA-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0",
    "CC-BY-NC-ND-4.0",
    "ODbL-1.0",
    "ODC-By-1.0",
    "PDDL-1.0",
    "CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Apache-2.0",
    "GPL-3.0-or-later",
    "LGPL-3.0-or-later",
)
"""SPDX identifiers accepted for the data of a campaign; anything else is named `LicenseRef-...`."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LICENCE_REF = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")


def _known_licence(value: str) -> str:
    if value in SPDX_LICENCES or _LICENCE_REF.fullmatch(value):
        return value
    hint = did_you_mean(value, SPDX_LICENCES) or f"choose one of {', '.join(SPDX_LICENCES)}."
    raise ValueError(f"'{value}' is no known SPDX licence; {hint} For any other, write LicenseRef-NAME")


def plain_name(value: str) -> str:
    """The name where it can stand in paths and job names; raises ValueError."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"'{value}' cannot be part of a file name; use letters, digits, '.', '_' and '-', beginning with a letter "
            "or digit"
        )
    return value


def _rising_around_one(value: tuple[float, float]) -> tuple[float, float]:
    if not 0.0 < value[0] < 1.0 < value[1]:
        raise ValueError(
            f"the range {list(value)} must begin below 1 and end above 1, so that it brackets the minimum; "
            "write for example [0.94, 1.06]"
        )
    return value


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise ValueError(f"the window {list(value)} must rise; write for example [0.05, 0.15]")
    return value


def _enough_volumes(value: int) -> int:
    if 0 < value < 5:
        raise ValueError(
            f"{value} volumes cannot determine the four parameters of an equation of state; "
            "write at least 5, or 0 to leave the reference out"
        )
    return value


class CrystalSeed(StrictModel):
    """A crystal in its conventional cell, perfect unless defects are asked for."""

    crystal: Literal["diamond", "fcc", "bcc", "sc", "hcp", "rocksalt", "zincblende", "cesiumchloride"] = Field(
        description="Crystal structure."
    )
    element: str = Field(
        description="Chemical symbol; for rocksalt, zincblende and cesiumchloride a formula such as MgO."
    )
    a_ang: Positive = Field(description="Lattice constant a of the conventional cell, Å.")
    c_ang: Positive | None = Field(
        default=None, description="Lattice constant c of hcp, Å; the ideal ratio c/a when left out."
    )
    repeat: Repeat = Field(default=(1, 1, 1), description="Conventional cells along each lattice vector.")
    surface: SlabSpec | None = Field(
        default=None, description="Cut a slab instead; `repeat` then counts cells of the surface."
    )
    vacancies: int = Field(default=0, ge=0, description="Atoms removed at random.")
    interstitials: int = Field(default=0, ge=0, description="Atoms put into the largest holes, elements in turn.")
    antisites: int = Field(default=0, ge=0, description="Pairs of unlike atoms that change places at random.")

    @property
    def perfect(self) -> bool:
        """Whether nothing is missing, added, exchanged or cut."""
        return self.surface is None and not (self.vacancies or self.interstitials or self.antisites)


class FileSeed(StrictModel):
    """Structures from any file that ASE reads."""

    file: str = Field(min_length=1, description="Path of the file, relative to the campaign file.")
    index: str = Field(default=":", description="Which structures of the file, as an ASE index.")
    repeat: Repeat = Field(default=(1, 1, 1), description="Cells along each lattice vector.")


def _seed_tag(value: Any) -> str | None:
    keys = value.keys() if isinstance(value, dict) else type(value).model_fields.keys()
    if "file" in keys:
        return "FileSeed"
    return "CrystalSeed" if "crystal" in keys else None


Seed = Annotated[
    Annotated[CrystalSeed, Tag("CrystalSeed")] | Annotated[FileSeed, Tag("FileSeed")],
    Discriminator(
        _seed_tag,
        custom_error_type="missing_tag",
        custom_error_message="a structure needs either the key 'crystal' or the key 'file'; "
        'write for example {crystal = "diamond", element = "Si", a_ang = 5.47}',
    ),
]


class ReferenceSpec(StrictModel):
    """Perfect crystals at several volumes: the potential must match their equation of state, without training."""

    volumes: Annotated[tuple[float, float], AfterValidator(_rising_around_one)] = Field(
        default=(0.94, 1.06), description="First and last volume as fractions of the seed's volume."
    )
    points: Annotated[int, AfterValidator(_enough_volumes)] = Field(
        default=7, ge=0, le=99, description="Number of volumes, evenly spaced; 0 leaves the reference out."
    )
    structure: int = Field(
        default=0, ge=0, description="Which seed structure is scaled, counted from 0; it must be a perfect crystal."
    )


class SystemSpec(StrictModel):
    """What is studied."""

    elements: tuple[str, ...] = Field(min_length=1, description="Chemical symbols of all elements that occur.")
    structures: tuple[Seed, ...] = Field(min_length=1, description="Seed structures: crystals or files.")
    reference: ReferenceSpec = Field(default=ReferenceSpec(), description="Equation of state computed with the engine.")


class SurrogateSpec(StrictModel):
    """The interatomic potential: linear ACE with a Gaussian posterior."""

    cutoff_ang: Positive = Field(default=5.0, le=20.0, description="Distance beyond which atoms do not interact, Å.")
    inner_ang: Positive = Field(
        default=1.0, description="Distance below which the repulsive core takes over from the basis, Å."
    )
    size: Literal["small", "medium", "large"] = Field(
        default="small", description="Size of the basis: accuracy against time."
    )
    seed: int = Field(default=0, ge=0, description="Seed of the committee drawn from the posterior.")


class ExploreSpec(StrictModel):
    """Where candidates come from."""

    method: Literal["md", "rattle"] = Field(
        default="md", description="Molecular dynamics with the current potential, or rattled seeds."
    )
    temperatures_k: tuple[Positive, ...] = Field(
        default=(300.0, 600.0, 1000.0), min_length=1, description="Temperatures sampled in turn, K."
    )
    quenches_k: tuple[tuple[Positive, Positive], ...] = Field(
        default=(),
        description="Trajectories that change their temperature, K: [hot, cold] holds the first for half of the steps "
        "and then goes to the second evenly.",
    )
    strain: NonNegative = Field(
        default=0.03, le=0.3, description="Largest component of the random strain of each trajectory's cell."
    )
    rattle_ang: NonNegative = Field(
        default=0.1, le=1.0, description="Standard deviation of the displacements of rattled seeds, Å."
    )
    conditions: Literal["least-known", "in-turn"] = Field(
        default="least-known",
        description="Seeds and temperatures whose trajectories ended early come first, or each in its turn.",
    )
    steps: Count = Field(default=400, description="Time steps of one trajectory.")
    timestep_fs: Positive = Field(default=2.0, le=20.0, description="Time step, fs.")
    sample_every: Count = Field(default=20, description="Time steps between two candidates.")
    sigma_stop_ev_per_ang: Positive | None = Field(
        default=None,
        description="A trajectory stops where any atom's force is more uncertain than this, eV/Å; the target if unset.",
    )
    bias: NonNegative = Field(
        default=0.0,
        le=1.0,
        description="Every second trajectory is drawn to what the potential does not know, by forces that are so large "
        "a fraction of its own. Its frames are candidates alone: what validates, and what choices aim at, comes from "
        "the other trajectories. 0 biases none.",
    )
    repeat: Repeat = Field(default=(1, 1, 1), description="Repetition of the seed cell in trajectories.")
    cold_start: int = Field(
        default=10,
        ge=2,
        description="Labels of rattled and strained seeds, each material alike, for the first potential; a quarter "
        "more may be under way.",
    )


class SteeringSpec(StrictModel):
    """How the next label is chosen."""

    acquisition: Literal["i-optimal", "d-optimal", "trusted", "uncertain", "farthest-point", "maxvol", "random"] = (
        Field(
            default="i-optimal",
            description="Chosen are the candidates that most reduce the expected error on what is explored; that tell "
            "most of the coefficients; any whose uncertainty lies in a window; the most uncertain; the farthest from "
            "what is labelled; those that extrapolate most; or any.",
        )
    )
    cost_aware: bool = Field(
        default=True, description="Weigh gains by the expected cost and chance of success of a label (i-optimal)."
    )
    misfit_aware: bool = Field(
        default=True, description="Count against a candidate what its expected misfit would spoil (i-optimal)."
    )
    trust_ev_per_ang: Annotated[tuple[Positive, Positive], AfterValidator(_rising)] | None = Field(
        default=None,
        description="Window of the largest force uncertainty in a frame, eV/Å (trusted); 1 to 3 targets if unset.",
    )
    random_fraction: Probability = Field(
        default=0.3,
        description="Share of training labels drawn at random from what is explored, once misfit outweighs ignorance; "
        "less before, and more among what is decided far ahead of the potential.",
    )
    validation_fraction: OpenProbability = Field(
        default=0.2,
        description="Share of labels after the cold start drawn at random and never trained on.",
    )
    schedule: Literal["asynchronous", "barrier"] = Field(
        default="asynchronous", description="Start a task whenever a worker is free, or wait for whole batches."
    )
    batch_size: Count = Field(default=8, description="Labels in one batch of the barrier schedule.")
    refit_every: Count = Field(
        default=4,
        description="New training labels between two fits; fewer while there are few, one for each eight fitted.",
    )
    roll_back: bool = Field(
        default=False,
        description="Where a validation label shows that the potential that ran its trajectory had erred far beyond "
        "what it stated, withdraw what the trajectory found from there on. Published figures are without: it saved no "
        "labels.",
    )
    pool_min: Count = Field(default=20, description="Explore when fewer candidates than this are waiting.")
    pool_max: Count = Field(default=200, description="Candidates kept; the oldest are dropped first.")


class TargetSpec(StrictModel):
    """When the potential is good enough, judged on the validation stream alone."""

    force_rmse_ev_per_ang: Positive = Field(description="Root mean square error of a force component, eV/Å.")
    confidence: float = Field(
        default=0.95, gt=0.5, lt=1.0, description="Probability with which the bound on the error holds."
    )
    min_validation: int = Field(
        default=10, ge=2, description="Validation frames needed before the target can be declared reached."
    )
    plateau_fits: int = Field(
        default=0, ge=0, description="Stop when this many fits brought no gain; 0 never stops for a plateau."
    )
    plateau_gain: OpenProbability = Field(
        default=0.02, description="Relative fall of the validation error that counts as a gain."
    )


class SpendingSpec(StrictModel):
    """What any campaign may spend; it ends at the first limit reached."""

    node_hours: Positive | None = Field(
        default=None, description="Node-hours: cores / cores per node × hours, over all tasks and attempts."
    )
    walltime_s: Positive | None = Field(default=None, description="Time from start to end of the campaign, s.")


class BudgetSpec(SpendingSpec):
    """What the campaign may spend; it ends at the first limit reached."""

    labels: Count = Field(default=200, description="Training and validation labels, without the reference cells.")


class TaskWalltimes(StrictModel):
    """Longest duration of one attempt."""

    label: Positive = Field(default=3600.0, description="One engine calculation, s.")
    explore: Positive = Field(default=1800.0, description="One trajectory, s.")
    fit: Positive = Field(default=1800.0, description="One fit of the potential, s.")


class FailureSpec(StrictModel):
    """How failures are met. Those that are the machine's fault cost no attempt."""

    max_attempts: Count = Field(default=3, description="Attempts before a task is given up.")
    task_walltime_s: TaskWalltimes = Field(default=TaskWalltimes(), description="Longest duration of one attempt, s.")


class GovernanceSpec(StrictModel):
    """Who owns the data and who may see them; written into each record."""

    creators: tuple[str, ...] = Field(default=(), description="Names or ORCID identifiers.")
    licence: Annotated[str, AfterValidator(_known_licence)] = Field(
        default="CC-BY-4.0", description="SPDX identifier, or LicenseRef-NAME."
    )
    tier: Literal["open", "shared", "closed"] = Field(default="closed", description="Who may see the data.")

    def record(self) -> Governance:
        """Return the same as the record that accompanies each result."""
        return Governance(creators=self.creators, licence=self.licence, tier=self.tier)


class FiledModel(StrictModel):
    """A campaign of any kind, which knows where its file lies."""

    _folder: Path = PrivateAttr(default=Path())

    @property
    def folder(self) -> Path:
        """Folder of the campaign file, from which relative paths count."""
        return self._folder


class Campaign(FiledModel):
    """An active-learning campaign that ends in an interatomic potential."""

    kind: Literal["potential"] = Field(description="Kind of campaign.")
    name: Annotated[str, AfterValidator(plain_name)] = Field(description="Name: letters, digits, '.', '_' and '-'.")
    seed: int = Field(default=0, ge=0, description="Seed of every random choice.")
    system: SystemSpec = Field(description="What is studied.")
    engine: EngineSettings = Field(description="What computes the labels.")
    surrogate: SurrogateSpec = Field(default=SurrogateSpec(), description="The interatomic potential.")
    explore: ExploreSpec = Field(default=ExploreSpec(), description="Where candidates come from.")
    steering: SteeringSpec = Field(default=SteeringSpec(), description="How the next label is chosen.")
    target: TargetSpec = Field(description="When the potential is good enough.")
    budget: BudgetSpec = Field(default=BudgetSpec(), description="What the campaign may spend.")
    failures: FailureSpec = Field(default=FailureSpec(), description="How failures are met.")
    governance: GovernanceSpec = Field(default=GovernanceSpec(), description="Who owns the data.")

    @property
    def sigma_stop_ev_per_ang(self) -> float:
        """Force deviation of an atom at which trajectories stop, eV/Å."""
        return self.explore.sigma_stop_ev_per_ang or self.target.force_rmse_ev_per_ang


def load_campaign(path: Path | str) -> Campaign:
    """Read, validate and cross-check a campaign file.

    Raises
    ------
    InputError
        With the first problem found and what to do about it; nothing is written.
    """
    from hpcmat.campaign.spec_checks import check_campaign

    source = Path(path)
    campaign = parse_campaign(read_toml(source), source)
    check_campaign(campaign, source)
    return campaign


def parse_campaign(data: dict[str, Any], source: Path) -> Campaign:
    """Campaign from the tables of its file, without looking at structures or engines."""
    if data.get("kind") == "screen":
        raise InputError(f"{source}: kind: this is a screening campaign; here a campaign of kind 'potential' is needed")
    campaign = parse_model(Campaign, data, source)
    campaign._folder = source.parent
    return campaign


def canonical_spec_json(campaign: StrictModel) -> str:
    """All values, given and default, as JSON with sorted keys: equal specifications give equal text."""
    return canonical_json(campaign.model_dump_json())
