"""Settings of ABINIT."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hpcmat.engines.settings.external import PlaneWaveSettings, RawValue, refuse_contradictions

_OURS = {
    "acell": "",
    "rprim": "",
    "angdeg": "",
    "natom": "",
    "ntypat": "",
    "znucl": "",
    "typat": "",
    "xcart": "",
    "xred": "",
    "xangst": "",
    "ndtset": "",
    "jdtset": "",
    "optdriver": "",
    "pseudos": "pseudopotentials",
    "pp_dirpath": "pseudopotentials",
    "ecut": "cutoff_ev",
    "ixc": "xc",
    "kptopt": "kpoint_grid",
    "ngkpt": "kpoint_spacing_per_ang",
    "kptrlatt": "kpoint_spacing_per_ang",
    "kptrlen": "kpoint_spacing_per_ang",
    "nshiftk": "kpoint_grid",
    "shiftk": "kpoint_grid",
    "nkpt": "kpoint_spacing_per_ang",
    "kpt": "kpoint_spacing_per_ang",
    "occopt": "smearing",
    "tsmear": "smearing_ev",
    "tphysel": "smearing_ev",
    "nsppol": "spin_polarized",
    "nspinor": "spin_polarized",
    "nspden": "spin_polarized",
    "spinat": "spin_polarized",
    "toldfe": "energy_tolerance_ev",
    "toldff": "energy_tolerance_ev",
    "tolrff": "energy_tolerance_ev",
    "tolvrs": "energy_tolerance_ev",
    "tolwfr": "energy_tolerance_ev",
    "ionmov": "",
    "optcell": "",
    "ntime": "",
    "nstep": "",
    "iscf": "",
    "diemix": "",
    "diemac": "",
    "npulayit": "",
    "wfoptalg": "",
    "nline": "",
    "optforces": "",
    "optstress": "stress",
    "include": "",
    "cpus": "",
    "cpum": "",
    "cpuh": "",
    "chkexit": "",
    "irdwfk": "",
    "irdden": "",
    "getwfk": "",
    "getden": "",
    "restartxf": "",
}
"""Variables of ABINIT that are not free, and the setting that decides each."""


class AbinitSettings(PlaneWaveSettings):
    """ABINIT with norm-conserving pseudopotentials."""

    name: Literal["abinit"] = "abinit"
    extra: dict[str, RawValue] = Field(
        default={}, description="Raw variables of ABINIT, in its own units; they enter the content key."
    )

    @model_validator(mode="after")
    def _raw_keys_contradict_nothing(self) -> AbinitSettings:
        refuse_contradictions((key.rstrip("0123456789?+:*") for key in self.extra), "extra", _OURS)
        return self
