"""Settings of Quantum ESPRESSO."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hpcmat.engines.settings.external import PlaneWaveSettings, RawValue, refuse_contradictions, refuse_unknown
from hpcmat.engines.settings.models import Positive

_OURS = {
    "calculation": "",
    "prefix": "",
    "outdir": "",
    "wfcdir": "",
    "pseudo_dir": "pseudopotentials",
    "restart_mode": "",
    "max_seconds": "",
    "tprnfor": "",
    "tstress": "stress",
    "verbosity": "",
    "title": "",
    "ibrav": "",
    "celldm": "",
    "a": "",
    "b": "",
    "c": "",
    "cosab": "",
    "cosac": "",
    "cosbc": "",
    "nat": "",
    "ntyp": "",
    "ecutwfc": "cutoff_ev",
    "ecutrho": "density_cutoff_factor",
    "occupations": "smearing_ev",
    "smearing": "smearing",
    "degauss": "smearing_ev",
    "nspin": "spin_polarized",
    "input_dft": "xc",
    "conv_thr": "energy_tolerance_ev",
    "electron_maxstep": "",
    "scf_must_converge": "",
    "mixing_beta": "",
    "mixing_mode": "",
    "mixing_ndim": "",
    "diagonalization": "",
}
"""Keys of pw.x that are not free, and the setting that decides each."""


class EspressoSettings(PlaneWaveSettings):
    """Quantum ESPRESSO's pw.x."""

    name: Literal["espresso"] = "espresso"
    density_cutoff_factor: Positive | None = Field(
        default=None,
        ge=4.0,
        description="Cutoff of the density in cutoffs of the wave functions; if unset, 4 for norm-conserving "
        "pseudopotentials and 8 for others.",
    )
    extra: dict[Literal["control", "system", "electrons"], dict[str, RawValue]] = Field(
        default={}, description="Raw keys of pw.x by namelist, in its own units; they enter the content key."
    )

    @model_validator(mode="after")
    def _raw_keys_contradict_nothing(self) -> EspressoSettings:
        from ase.io.espresso_namelist.keys import pw_keys

        for table, keys in self.extra.items():
            refuse_contradictions(keys, f"extra.{table}", _OURS)
            refuse_unknown(keys, f"extra.{table}", pw_keys[table])
        return self
