"""Settings of GPAW."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from hpcmat.engines.settings.models import EngineModel, NonNegative, Positive


class GpawSettings(EngineModel):
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
