"""The campaign file of a screening: candidates, recipe, objectives, and when to stop."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from hpcmat.campaign.events import Fidelity
from hpcmat.campaign.spec import (
    Count,
    FailureSpec,
    FiledModel,
    FileSeed,
    GovernanceSpec,
    SpendingSpec,
    plain_name,
)
from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Property
from hpcmat.engines.settings import EngineSettings, NonNegative, Positive, StrictModel
from hpcmat.steering.goals import Goal, Sense

Prototype = Literal["fcc", "bcc", "sc", "diamond", "rocksalt", "zincblende", "cesiumchloride", "L1_0", "L1_2"]


class PrototypeSource(StrictModel):
    """All crystals of one prototype that the elements of its sites can form."""

    prototype: Prototype = Field(description="Crystal structure; L1_0 (AuCu) and L1_2 (Cu3Au) are ordered alloys.")
    sites: tuple[tuple[str, ...], ...] = Field(
        min_length=1, max_length=2, description="Chemical symbols for each site; L1_2 has three of its second one."
    )
    bond_scale: Positive = Field(
        default=1.0, ge=0.5, le=2.0, description="Factor of the first guess of the distance between neighbours."
    )


def _source_tag(value: Any) -> str | None:
    keys = value.keys() if isinstance(value, dict) else type(value).model_fields.keys()
    return "FileSeed" if "file" in keys else "PrototypeSource" if "prototype" in keys else None


Source = Annotated[
    Annotated[PrototypeSource, Tag("PrototypeSource")] | Annotated[FileSeed, Tag("FileSeed")],
    Discriminator(
        _source_tag,
        custom_error_type="missing_tag",
        custom_error_message="candidates need either the key 'prototype' or the key 'file'; "
        'write for example {prototype = "zincblende", sites = [["Al", "Ga"], ["P", "As"]]}',
    ),
]


class ObjectiveSpec(StrictModel):
    """What makes a candidate good."""

    property: Property = Field(description="A property that the recipe gives.")
    goal: Sense = Field(description="Whether more, less or one value is best.")
    value: float | None = Field(default=None, description="The value to reach, in the unit of the property.")

    @model_validator(mode="after")
    def _value_goes_with_reach(self) -> ObjectiveSpec:
        if (self.goal == "reach") != (self.value is not None):
            raise ValueError('`value` goes with goal = "reach", and with it alone; give both or neither')
        return self

    def aim(self) -> Goal:
        """The goal with its value."""
        return Goal(self.goal, self.value or 0.0)


class ConstraintSpec(StrictModel):
    """What a candidate must fulfil to count."""

    property: Property = Field(description="A property that the recipe gives.")
    at_least: float | None = Field(default=None, description="Smallest value allowed.")
    at_most: float | None = Field(default=None, description="Largest value allowed.")

    @model_validator(mode="after")
    def _says_something(self) -> ConstraintSpec:
        if self.at_least is None and self.at_most is None:
            raise ValueError("a constraint needs at_least or at_most; give one of them")
        return self


def _not_zero(value: float) -> float:
    if value == 0.0:
        raise ValueError("no difference can be relative to 0; leave the entry out")
    return value


class LiteratureSpec(StrictModel):
    """What is known of a candidate from elsewhere, for comparison: it decides nothing."""

    candidate: str = Field(min_length=1, description="Name of the candidate, as `hpcmat check` lists it.")
    property: Property = Field(description="A property that the recipe gives.")
    value: Annotated[float, AfterValidator(_not_zero)] = Field(description="In the unit of the property; not 0.")
    source: str = Field(min_length=1, description="Where it is from.")


class SearchSpec(StrictModel):
    """How the next candidate is chosen, and when enough are known."""

    policy: Literal["informed", "random"] = Field(
        default="informed",
        description="The most probable members of the best (largest hypervolume gain for several objectives), or any.",
    )
    first: Count = Field(default=5, description="Candidates drawn at random before the first surrogate.")
    top: Count = Field(default=5, description="How many of the best are sought; for one objective.")
    missed: NonNegative = Field(
        default=0.1, description="Stop when so many of the best are expected not to be computed yet; 0 never stops."
    )
    hypervolume_gain: NonNegative = Field(
        default=0.01,
        description="Stop when the next candidate is expected to add less than this share of the hypervolume.",
    )
    draws: int = Field(default=1000, ge=100, le=100_000, description="Draws from the posterior for each choice.")


class ScreenBudget(SpendingSpec):
    """What the campaign may spend; it ends at the first limit reached."""

    candidates: Count | None = Field(default=None, description="Candidates begun; all of them when left out.")


class ScreenCampaign(FiledModel):
    """A campaign that finds the best of many candidates."""

    kind: Literal["screen"] = Field(description="Kind of campaign.")
    name: Annotated[str, AfterValidator(plain_name)] = Field(description="Name: letters, digits, '.', '_' and '-'.")
    seed: int = Field(default=0, ge=0, description="Seed of every random choice.")
    candidates: tuple[Source, ...] = Field(min_length=1, description="Crystals to choose from: prototypes or files.")
    references: tuple[Source, ...] = Field(
        default=(),
        description="Crystals of the elements, for energies of formation; of several the one of least energy counts.",
    )
    engine: EngineSettings = Field(description="What computes the labels.")
    cheap_engine: EngineSettings | None = Field(
        default=None, description="What computes cheap values: they help to choose candidates, and count nowhere else."
    )
    recipe: RecipeSpec = Field(default=RecipeSpec(), description="How properties are computed.")
    objectives: tuple[ObjectiveSpec, ...] = Field(min_length=1, max_length=3, description="What is sought.")
    constraints: tuple[ConstraintSpec, ...] = Field(default=(), description="What a candidate must fulfil to count.")
    literature: tuple[LiteratureSpec, ...] = Field(default=(), description="Known values, for the report.")
    search: SearchSpec = Field(default=SearchSpec(), description="How the next candidate is chosen.")
    budget: ScreenBudget = Field(default=ScreenBudget(), description="What the campaign may spend.")
    failures: FailureSpec = Field(default=FailureSpec(), description="How failures are met.")
    governance: GovernanceSpec = Field(default=GovernanceSpec(), description="Who owns the data.")

    def engine_of(self, fidelity: Fidelity) -> EngineSettings:
        """What computes labels of one fidelity; of the cheap one only where there is an engine for it."""
        if fidelity == "dear":
            return self.engine
        assert self.cheap_engine is not None, "cheap labels come with an engine for them"
        return self.cheap_engine

    @property
    def fidelities(self) -> tuple[Fidelity, ...]:
        """Those at which candidates are computed."""
        return ("dear",) if self.cheap_engine is None else ("dear", "cheap")

    @property
    def asked(self) -> frozenset[Property]:
        """Properties that the recipe must give."""
        sought = [objective.property for objective in self.objectives]
        needed = [constraint.property for constraint in self.constraints]
        return frozenset([*self.recipe.properties, *sought, *needed])
