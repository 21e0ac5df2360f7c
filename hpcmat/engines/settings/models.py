"""What the settings of all engines have in common: strict types, and which of them are physics."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class StrictModel(BaseModel):
    """Frozen, no coercion, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class EngineModel(StrictModel):
    """Settings of one engine. All of them enter the content key of a label, except those named in `not_physics`."""

    not_physics: ClassVar[frozenset[str]] = frozenset()

    def __hash__(self) -> int:
        """By content, since raw keys are tables, which Python does not hash."""
        return hash(self.model_dump_json())
