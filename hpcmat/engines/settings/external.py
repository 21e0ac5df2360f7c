"""What the settings of all codes that run as programs of their own have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from hpcmat.engines.settings.models import EngineModel, NonNegative, Positive
from hpcmat.toml_input import did_you_mean

RawValue = bool | int | float | str | tuple[bool | int | float | str, ...]
Smearing = Literal["fermi-dirac", "gaussian", "methfessel-paxton"]


class ExternalSettings(EngineModel):
    """A code that runs as a program of its own; what is not physics here changes no content key."""

    not_physics: ClassVar[frozenset[str]] = frozenset({"code_version", "keep_files", "pseudopotentials"})

    code_version: str | None = Field(
        default=None,
        description="Version of the code, where its program does not run on the machine of the driver; asked of the "
        "program if unset. A result of another version is refused.",
    )
    keep_files: Literal["all", "failures", "none"] = Field(
        default="all",
        description="Of which calculations the input and output files stay in the result store, with checksums.",
    )
    kpoint_spacing_per_ang: Positive = Field(
        default=0.6, description="Largest distance between k-points, 1/Å (with the factor 2π)."
    )
    kpoint_grid: Literal["monkhorst-pack", "gamma"] = Field(
        default="monkhorst-pack",
        description="`gamma` centres every grid on Γ; `monkhorst-pack` shifts even grids off Γ.",
    )
    stress: bool = Field(default=True, description="Compute the stress too.")


class PlaneWaveSettings(ExternalSettings):
    """Density functional theory in plane waves with pseudopotentials."""

    xc: Literal["PBE", "LDA", "PBEsol", "RPBE"] = Field(default="PBE", description="Exchange-correlation functional.")
    cutoff_ev: Positive = Field(default=400.0, description="Plane-wave cutoff of the wave functions, eV.")
    smearing_ev: NonNegative = Field(
        default=0.0, description="Width of the smearing, eV; without one, the occupations are those of an insulator."
    )
    smearing: Smearing = Field(default="fermi-dirac", description="How occupations are smeared.")
    spin_polarized: bool = Field(default=False, description="Two spins, from a moment of 1 μB on each atom.")
    energy_tolerance_ev: Positive = Field(
        default=1e-7, description="Convergence of the self-consistent energy per atom, eV."
    )
    pseudopotentials: str = Field(
        default="",
        description="Family: a folder with one file for each element, by its path or its name in a folder that is "
        "searched. If empty, what the code's packages bring for the functional. The files enter the key by content.",
    )

    @model_validator(mode="after")
    def _spins_need_smearing(self) -> PlaneWaveSettings:
        refuse_fixed_moment(self.spin_polarized, self.smearing_ev)
        return self


def refuse_fixed_moment(spin_polarized: bool, smearing_ev: float) -> None:
    """Refuse two spins without smearing where fixed occupations mean a fixed moment; raises ValueError."""
    if spin_polarized and smearing_ev == 0.0:
        raise ValueError(
            "spin_polarized needs smearing_ev above 0, since fixed occupations would fix the magnetic moment too; "
            "set smearing_ev, for example 0.1"
        )


def refuse_contradictions(keys: Iterable[str], table: str, ours: Mapping[str, str]) -> None:
    """Refuse raw keys that would contradict a setting, or what is written for every calculation.

    Parameters
    ----------
    keys : names of raw keys, in any case.
    table : where they stand, such as `extra.system`.
    ours : for each raw key that is decided elsewhere, the setting to use instead; empty where there is none.

    Raises
    ------
    ValueError
        Names the first such key and what to write instead.
    """
    for key in keys:
        setting = ours.get(key.lower().partition("(")[0])
        if setting is not None:
            cure = f"set {setting} instead" if setting else "leave it out"
            raise ValueError(f"{table}.{key} is decided by the engine's own settings; {cure}")


def refuse_unknown(keys: Iterable[str], table: str, known: Iterable[str]) -> None:
    """Refuse raw keys that the code does not know, with a suggestion; raises `ValueError`."""
    names = {name.lower() for name in known}
    for key in keys:
        if key.lower().partition("(")[0] not in names:
            hint = did_you_mean(key, names) or "see the input description of the code"
            raise ValueError(f"{table}.{key} is no key of this code; {hint}")
