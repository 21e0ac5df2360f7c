"""Settings of SIESTA."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hpcmat.engines.settings.external import ExternalSettings, RawValue, refuse_contradictions
from hpcmat.engines.settings.models import NonNegative, Positive

_OURS = {
    "systemname": "",
    "systemlabel": "",
    "numberofatoms": "",
    "numberofspecies": "",
    "latticeconstant": "",
    "atomiccoordinatesformat": "",
    "kgridcutoff": "kpoint_spacing_per_ang",
    "xcfunctional": "xc",
    "xcauthors": "xc",
    "meshcutoff": "cutoff_ev",
    "paobasissize": "basis",
    "paoenergyshift": "energy_shift_ev",
    "electronictemperature": "smearing_ev",
    "occupationfunction": "smearing_ev",
    "spin": "spin_polarized",
    "spinpolarized": "spin_polarized",
    "scfdmtolerance": "density_tolerance",
    "dmtolerance": "density_tolerance",
    "maxscfiterations": "",
    "scfmixerweight": "",
    "dmmixingweight": "",
    "scfmustconverge": "",
    "mdtypeofrun": "",
    "mdsteps": "",
    "writeforces": "",
    "solutionmethod": "",
}
"""Keys of the fdf file that are not free, without their dots and dashes, and the setting that decides each."""


class SiestaSettings(ExternalSettings):
    """SIESTA with its numerical orbitals; not run where this package is tested."""

    name: Literal["siesta"] = "siesta"
    xc: Literal["PBE", "LDA", "PBEsol", "RPBE"] = Field(default="PBE", description="Exchange-correlation functional.")
    basis: Literal["SZ", "SZP", "DZ", "DZP", "TZP"] = Field(default="DZP", description="Size of the basis set.")
    energy_shift_ev: Positive = Field(default=0.05, description="Confinement of the orbitals, eV; smaller is longer.")
    cutoff_ev: Positive = Field(default=5500.0, description="Cutoff of the density grid, eV.")
    smearing_ev: NonNegative = Field(
        default=0.0, description="Width of the Fermi-Dirac smearing, eV; a narrow one, 0.01, if zero."
    )
    spin_polarized: bool = Field(default=False, description="Two spins.")
    density_tolerance: Positive = Field(default=1e-5, description="Convergence of the density matrix.")
    pseudopotentials: str = Field(
        default="", description="Folder with one psml or psf file for each element; that of SIESTA_PP_PATH if empty."
    )
    extra: dict[str, RawValue] = Field(
        default={}, description="Raw keys of the fdf file, in its own units; they enter the content key."
    )

    @model_validator(mode="after")
    def _raw_keys_contradict_nothing(self) -> SiestaSettings:
        for key in self.extra:
            plain = "".join(character for character in key.lower() if character not in ".-_")
            if plain in _OURS:
                refuse_contradictions([plain], "extra", _OURS)
        return self
