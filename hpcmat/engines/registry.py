"""Engines by their settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hpcmat.engines.base import Engine, LimitedEngine
from hpcmat.engines.external.abinit import AbinitEngine
from hpcmat.engines.external.code import Code
from hpcmat.engines.external.cp2k import Cp2kEngine
from hpcmat.engines.external.espresso import EspressoEngine
from hpcmat.engines.external.siesta import SiestaEngine
from hpcmat.engines.external.vasp import VaspEngine
from hpcmat.engines.gpaw import GpawEngine
from hpcmat.engines.ranks import RankedEngine
from hpcmat.engines.settings import (
    AbinitSettings,
    Cp2kSettings,
    EngineSettings,
    EspressoSettings,
    GpawSettings,
    SiestaSettings,
    TbliteSettings,
    TeacherSettings,
    VaspSettings,
)
from hpcmat.engines.tblite import TbliteEngine
from hpcmat.engines.teacher import TeacherEngine
from hpcmat.errors import InputError
from hpcmat.records import Structure

EXTERNAL_CODES: tuple[Code, ...] = (
    EspressoEngine.code,
    AbinitEngine.code,
    Cp2kEngine.code,
    VaspEngine.code,
    SiestaEngine.code,
)
"""Programs that campaigns may use and that this package does not bring."""


_ENGINES: dict[type, Callable[..., Engine]] = {
    GpawSettings: GpawEngine,
    EspressoSettings: EspressoEngine,
    AbinitSettings: AbinitEngine,
    Cp2kSettings: Cp2kEngine,
    VaspSettings: VaspEngine,
    SiestaSettings: SiestaEngine,
    TbliteSettings: TbliteEngine,
    TeacherSettings: TeacherEngine,
}


def engine_for(settings: EngineSettings) -> Engine:
    """The engine that these settings belong to; imports no simulation code yet."""
    return _ENGINES[type(settings)](settings)


def ranked_engine_for(settings: EngineSettings) -> RankedEngine:
    """The engine of one rank of a calculation.

    Raises
    ------
    InputError
        The code is no Python package: it is started on its ranks itself.
    """
    engine = engine_for(settings)
    if isinstance(engine, GpawEngine | TeacherEngine):
        return engine
    raise InputError(f"{engine.name} starts its own ranks; use its command")


def check_engine(settings: EngineSettings, symbols: Iterable[str], structures: Iterable[Structure] = ()) -> None:
    """Refuse before anything runs what cannot run.

    Raises
    ------
    InputError
        The package is not installed, an element has no data set for these settings, or a structure is one that the
        engine cannot compute.
    """
    engine = engine_for(settings)
    engine.check(symbols)
    if isinstance(engine, LimitedEngine):
        for structure in structures:
            engine.check_cell(structure)
