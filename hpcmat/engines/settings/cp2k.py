"""Settings of CP2K."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from hpcmat.engines.settings.external import ExternalSettings, RawValue, refuse_contradictions, refuse_fixed_moment
from hpcmat.engines.settings.models import NonNegative, Positive

_OURS: dict[str, dict[str, str]] = {
    "FORCE_EVAL": {"METHOD": "", "STRESS_TENSOR": "stress"},
    "FORCE_EVAL/DFT": {
        "BASIS_SET_FILE_NAME": "data_folder",
        "POTENTIAL_FILE_NAME": "data_folder",
        "WFN_RESTART_FILE_NAME": "",
        "CHARGE": "",
        "UKS": "spin_polarized",
        "LSD": "spin_polarized",
        "SPIN_POLARIZED": "spin_polarized",
    },
    "FORCE_EVAL/DFT/MGRID": {"CUTOFF": "cutoff_ev", "REL_CUTOFF": "relative_cutoff_ev"},
    "FORCE_EVAL/DFT/QS": {"METHOD": ""},
    "FORCE_EVAL/DFT/POISSON": {"PERIODIC": "", "POISSON_SOLVER": "", "PSOLVER": ""},
    "FORCE_EVAL/DFT/SCF": {
        "EPS_SCF": "density_tolerance",
        "MAX_SCF": "",
        "SCF_GUESS": "",
        "ADDED_MOS": "",
        "IGNORE_CONVERGENCE_FAILURE": "",
    },
    "FORCE_EVAL/DFT/SCF/MIXING": {"METHOD": "", "ALPHA": ""},
    "FORCE_EVAL/DFT/SCF/SMEAR": {"METHOD": "", "ELECTRONIC_TEMPERATURE": "smearing_ev", "ELEC_TEMP": "smearing_ev"},
    "FORCE_EVAL/DFT/KPOINTS": {"SCHEME": "kpoint_spacing_per_ang", "FULL_GRID": "", "SYMMETRY": ""},
}
"""Keywords of CP2K that are not free, and the setting that decides each."""
_CLOSED = ("GLOBAL", "MOTION", "FARMING", "FORCE_EVAL/SUBSYS", "FORCE_EVAL/PRINT", "FORCE_EVAL/DFT/XC/XC_FUNCTIONAL")


class Cp2kSettings(ExternalSettings):
    """CP2K: Gaussians and plane waves (GPW) with GTH pseudopotentials."""

    not_physics: ClassVar[frozenset[str]] = frozenset({"code_version", "keep_files", "data_folder"})

    name: Literal["cp2k"] = "cp2k"
    xc: Literal["PBE", "LDA"] = Field(default="PBE", description="Exchange-correlation functional.")
    basis: str = Field(
        default="DZVP-MOLOPT-SR-GTH",
        description="Basis set of every element, by its name in CP2K's files without the number of electrons; the "
        "pseudopotential is the one of the same number.",
    )
    cutoff_ev: Positive = Field(default=5500.0, description="Plane-wave cutoff of the finest density grid, eV.")
    relative_cutoff_ev: Positive = Field(
        default=800.0, description="Cutoff of the grid on which a Gaussian of unit exponent is put, eV."
    )
    smearing_ev: NonNegative = Field(
        default=0.0, description="Width of the Fermi-Dirac smearing, eV; without one, fixed occupations."
    )
    spin_polarized: bool = Field(
        default=False, description="Two spins, from the moment of the free atom on each atom, and at least 1 μB."
    )
    density_tolerance: Positive = Field(default=1e-7, description="Convergence of the density matrix (EPS_SCF).")
    data_folder: str = Field(
        default="",
        description="Folder with CP2K's basis sets and potentials; that of CP2K_DATA_DIR, or of the installation, if "
        "empty. The files enter the key by content.",
    )
    extra: dict[str, dict[str, RawValue]] = Field(
        default={},
        description="Raw keywords of CP2K by section (`FORCE_EVAL/DFT/SCF`), in its own units; they enter the content "
        "key.",
    )

    @model_validator(mode="after")
    def _spins_need_smearing(self) -> Cp2kSettings:
        refuse_fixed_moment(self.spin_polarized, self.smearing_ev)
        return self

    @model_validator(mode="after")
    def _grid_holds_a_gaussian(self) -> Cp2kSettings:
        if self.cutoff_ev < self.relative_cutoff_ev:
            raise ValueError(
                f"cutoff_ev = {self.cutoff_ev} is below relative_cutoff_ev = {self.relative_cutoff_ev}, so that the "
                "finest grid of the density cannot hold a Gaussian of unit exponent; it is about ten times the cutoff "
                "of a plane-wave code: write 5500.0, and converge it"
            )
        return self

    @model_validator(mode="after")
    def _raw_keys_contradict_nothing(self) -> Cp2kSettings:
        ours = {path: {key.lower(): setting for key, setting in keys.items()} for path, keys in _OURS.items()}
        for path, keys in self.extra.items():
            name = path.upper()
            if name.startswith(_CLOSED):
                raise ValueError(f"extra.'{path}' is written by the engine; leave it out")
            refuse_contradictions(keys, f"extra.'{path}'", ours.get(name, {}))
        return self
