"""Settings of the engines: physical quantities with their unit in the key, strict types, unknown keys refused.

Everything here is physics and enters the content key of a label. What only changes the road to the same answer
(mixing, iteration limits) is chosen by the failure ladder and stays out of the key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, le=1)]


class StrictModel(BaseModel):
    """Frozen, no coercion, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class GpawSettings(StrictModel):
    """GPAW in plane-wave mode with the PAW data sets of its package."""

    name: Literal["gpaw"] = "gpaw"
    xc: Literal["PBE", "LDA", "PBEsol", "RPBE"] = "PBE"
    cutoff_ev: Positive = Field(default=300.0, description="Plane-wave cutoff, eV.")
    kpoint_spacing_per_ang: Positive = Field(
        default=0.6, description="Largest distance between k-points, 1/Å (with the factor 2π)."
    )
    kpoint_grid: Literal["monkhorst-pack", "gamma"] = Field(
        default="monkhorst-pack",
        description="`gamma` centres every grid on Γ (hexagonal and face-centred primitive cells keep their symmetry); "
        "`monkhorst-pack` shifts even grids off Γ, which needs about half as many points.",
    )
    smearing_ev: NonNegative = Field(default=0.0, description="Width of the Fermi-Dirac smearing, eV.")
    spin_polarized: bool = False
    energy_tolerance_ev: Positive = Field(default=5e-4, description="Convergence of the energy per electron, eV.")
    density_tolerance: Positive = Field(
        default=1e-5, description="Convergence of the density, electrons per valence electron."
    )


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


class TeacherSettings(StrictModel):
    """Any ASE calculator standing in for first principles: rehearsals and tests."""

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


EngineSettings = Annotated[GpawSettings | TeacherSettings, Field(discriminator="name")]
