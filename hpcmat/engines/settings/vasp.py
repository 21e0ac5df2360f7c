"""Settings of VASP."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hpcmat.engines.settings.external import PlaneWaveSettings, RawValue, refuse_contradictions

_OURS = {
    "system": "",
    "istart": "",
    "icharg": "",
    "gga": "xc",
    "metagga": "xc",
    "lhfcalc": "xc",
    "encut": "cutoff_ev",
    "prec": "",
    "ismear": "smearing",
    "sigma": "smearing_ev",
    "ispin": "spin_polarized",
    "magmom": "spin_polarized",
    "ediff": "energy_tolerance_ev",
    "nelm": "",
    "nelmin": "",
    "algo": "",
    "ialgo": "",
    "amix": "",
    "bmix": "",
    "isym": "",
    "ibrion": "",
    "isif": "stress",
    "nsw": "",
    "pstress": "",
    "kspacing": "kpoint_spacing_per_ang",
    "kgamma": "kpoint_grid",
    "lwave": "",
    "lcharg": "",
    "nwrite": "",
}
"""Tags of the INCAR file that are not free, and the setting that decides each."""


class VaspSettings(PlaneWaveSettings):
    """VASP with its PAW data sets; not run where this package is tested, for want of a licence."""

    name: Literal["vasp"] = "vasp"
    extra: dict[str, RawValue] = Field(
        default={}, description="Raw tags of the INCAR file, in its own units; they enter the content key."
    )

    @model_validator(mode="after")
    def _raw_keys_contradict_nothing(self) -> VaspSettings:
        refuse_contradictions(self.extra, "extra", _OURS)
        return self
