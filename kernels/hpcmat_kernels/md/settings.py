"""What steers a run."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Langevin:
    """Bath of Langevin dynamics, see `integrators`."""

    temperature_k: float
    friction_per_fs: float
    """γ; 0.01 couples within 100 fs."""
    seed: int


@dataclass(frozen=True, slots=True)
class CellRescaling:
    """Isotropic stochastic rescaling of the cell, see `integrators`; needs a bath."""

    pressure: float
    """P₀, eV/Å³, positive where it compresses."""
    compressibility: float
    """β, Å³/eV; a wrong one changes the speed of the relaxation, not the ensemble."""
    time_fs: float
    """τ; some hundred time steps or more."""


@dataclass(frozen=True, slots=True)
class UncertaintyStop:
    """End of a run where the potential is asked what it does not know.

    One measure is the largest spread of a force over the committee, `uncertainty.force_spread`, which sees single atoms
    that are unlike all others. The other is the standard deviation of the energy over the committee, which sees
    crystals under pressure or tension: their forces vanish by symmetry in every member.
    """

    every: int
    """Steps between checks; each costs a pass of the committee."""
    limit: float
    """eV/Å"""
    energy_limit: float = math.inf
    """eV/atom; infinite where energies are not watched."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a run; without bath and barostat the energy is conserved."""

    timestep_fs: float
    bath: Langevin | None = None
    barostat: CellRescaling | None = None
    stop: UncertaintyStop | None = None
    sample_every: int = 100
    """Steps between frames."""
    skin_ang: float = 0.7
    """Neighbours are searched again when an atom has moved half of this; it costs or saves time, nothing else."""


def check_settings(settings: Settings, periodic: bool) -> None:
    """Refuse settings that cannot be right; `periodic` says whether all three axes are."""
    _positive("time step (fs)", settings.timestep_fs)
    _positive("skin (Å)", settings.skin_ang)
    _positive("number of steps between frames", settings.sample_every)
    if settings.bath is not None:
        _check_bath(settings.bath)
    if settings.barostat is not None:
        _check_barostat(settings.barostat, settings.bath is not None, periodic)
    if settings.stop is not None:
        _positive("number of steps between checks", settings.stop.every)
        _positive("limit of the uncertainty (eV/Å)", settings.stop.limit)
        if not settings.stop.energy_limit > 0:
            raise ValueError(f"The limit of the energy must be positive, not {settings.stop.energy_limit}: correct it.")


def _check_bath(bath: Langevin) -> None:
    _positive("friction (1/fs)", bath.friction_per_fs)
    if not (math.isfinite(bath.temperature_k) and bath.temperature_k >= 0):
        raise ValueError(f"The temperature must be 0 K or more, not {bath.temperature_k}: correct the settings.")
    if not 0 <= bath.seed < 2**63:
        raise ValueError(f"The seed must be 0 .. 2^63 - 1, not {bath.seed}: choose another.")


def _check_barostat(barostat: CellRescaling, with_bath: bool, periodic: bool) -> None:
    _positive("compressibility (Å³/eV)", barostat.compressibility)
    _positive("time of the barostat (fs)", barostat.time_fs)
    if not math.isfinite(barostat.pressure):
        raise ValueError(f"The pressure must be finite, not {barostat.pressure}: correct the settings.")
    if not with_bath:
        raise ValueError("The cell fluctuates at the temperature of a bath: add one to the settings.")
    if not periodic:
        raise ValueError("The cell can be scaled only where all three axes are periodic: leave the barostat out.")


def _positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"The {name} must be positive and finite, not {value}: correct the settings.")
