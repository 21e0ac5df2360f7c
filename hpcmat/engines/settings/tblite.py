"""Settings of tblite."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpcmat.engines.settings.models import EngineModel, Positive


class TbliteSettings(EngineModel):
    """Extended tight binding with tblite: molecules, and crystals whose cells are large enough for the Γ point."""

    name: Literal["tblite"] = "tblite"
    parameters: Literal["GFN1-xTB", "GFN2-xTB"] = Field(default="GFN1-xTB", description="Published parameter set.")
    kpoint_spacing_per_ang: Positive = Field(
        default=0.6,
        description="Largest distance between k-points that you accept, 1/Å (with the factor 2π). tblite has the Γ "
        "point alone: a cell that would need more points is refused, and none is ever folded out.",
    )
    electronic_temperature_k: Positive = Field(default=300.0, description="Temperature of the electrons, K.")
    charge_e: int = Field(default=0, description="Charge of the cell or molecule, elementary charges.")
    unpaired_electrons: int | None = Field(
        default=None, ge=0, description="Unpaired electrons; the fewest that the number of electrons allows if unset."
    )
    accuracy: Positive = Field(
        default=0.1,
        description="tblite's factor on its thresholds of convergence: 1 converges the energy to 3e-5 eV.",
    )
