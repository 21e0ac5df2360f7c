"""Engines by their settings."""

from __future__ import annotations

from collections.abc import Iterable

from hpcmat.engines.base import Engine
from hpcmat.engines.gpaw import GpawEngine
from hpcmat.engines.settings import EngineSettings, GpawSettings
from hpcmat.engines.teacher import TeacherEngine


def engine_for(settings: EngineSettings) -> Engine:
    """The engine that these settings belong to; imports no simulation code yet."""
    return GpawEngine(settings) if isinstance(settings, GpawSettings) else TeacherEngine(settings)


def check_engine(settings: EngineSettings, symbols: Iterable[str]) -> None:
    """Refuse before anything runs what cannot run.

    Raises
    ------
    InputError
        The package is not installed, or an element has no data set for these settings.
    """
    engine_for(settings).check(symbols)
