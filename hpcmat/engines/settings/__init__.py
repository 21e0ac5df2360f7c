"""Settings of the engines: physical quantities with their unit in the key, strict types, unknown keys refused.

What is physics enters the content key of a label. What only changes the road to the same answer (mixing, iteration
limits) is chosen by the failure ladder and stays out of the key. One file for each code.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hpcmat.engines.settings.abinit import AbinitSettings
from hpcmat.engines.settings.cp2k import Cp2kSettings
from hpcmat.engines.settings.espresso import EspressoSettings
from hpcmat.engines.settings.gpaw import GpawSettings
from hpcmat.engines.settings.models import NonNegative, Positive, Probability, StrictModel
from hpcmat.engines.settings.siesta import SiestaSettings
from hpcmat.engines.settings.tblite import TbliteSettings
from hpcmat.engines.settings.teacher import DurationSettings, FaultSettings, TeacherSettings
from hpcmat.engines.settings.vasp import VaspSettings

EngineSettings = Annotated[
    GpawSettings
    | EspressoSettings
    | AbinitSettings
    | Cp2kSettings
    | VaspSettings
    | SiestaSettings
    | TbliteSettings
    | TeacherSettings,
    Field(discriminator="name"),
]

__all__ = [
    "AbinitSettings",
    "Cp2kSettings",
    "DurationSettings",
    "EngineSettings",
    "EspressoSettings",
    "FaultSettings",
    "GpawSettings",
    "NonNegative",
    "Positive",
    "Probability",
    "SiestaSettings",
    "StrictModel",
    "TbliteSettings",
    "TeacherSettings",
    "VaspSettings",
]
