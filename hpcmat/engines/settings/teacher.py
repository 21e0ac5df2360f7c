"""Settings of the teacher."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from hpcmat.engines.settings.models import EngineModel, NonNegative, Probability, StrictModel


class FaultSettings(StrictModel):
    """Probabilities that one execution of the teacher fails in each way; drawn from the content key and the attempt."""

    crash: Probability = 0.0
    hang: Probability = 0.0
    not_finite: Probability = 0.0
    not_converged: Probability = 0.0
    truncated: Probability = 0.0


class DurationSettings(StrictModel):
    """Log-normal durations of the teacher, seconds."""

    median_s: NonNegative = 0.0
    sigma: NonNegative = 0.0
    drawn_by: Literal["structure", "order"] = Field(
        default="structure",
        description="Each structure has its own duration, or the n-th execution in the ledger has the n-th one.",
    )


class TeacherSettings(EngineModel):
    """Any ASE calculator standing in for first principles: rehearsals and tests."""

    not_physics: ClassVar[frozenset[str]] = frozenset({"duration", "faults", "ledger"})

    name: Literal["teacher"] = "teacher"
    calculator: Literal["lj", "emt", "morse", "stillinger-weber", "tersoff"] = "stillinger-weber"
    noise_ev_per_ang: NonNegative = Field(default=0.0, description="Standard deviation added to each force.")
    seed: int = Field(default=0, ge=0)
    duration: DurationSettings = DurationSettings()
    faults: FaultSettings = FaultSettings()
    ledger: str | None = Field(
        default=None, description="File to which each execution appends one line when it starts and one when it ends."
    )

    @model_validator(mode="after")
    def _order_needs_a_ledger(self) -> TeacherSettings:
        if self.duration.drawn_by == "order" and self.ledger is None:
            raise ValueError('duration.drawn_by = "order" needs a ledger, in which executions are counted; name a file')
        return self
