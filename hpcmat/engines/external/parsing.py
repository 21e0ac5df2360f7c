"""Old outputs parsed again: from the work folder of one attempt to its label or its failure."""

from __future__ import annotations

from pathlib import Path

from hpcmat.engines.acceptance import accept
from hpcmat.engines.base import EngineFailure
from hpcmat.engines.external.calculation import read_asked, read_ending
from hpcmat.engines.external.engine import ExternalEngine
from hpcmat.engines.registry import engine_for
from hpcmat.errors import InputError
from hpcmat.records import Failure, Label


def parse(folder: Path) -> Label | Failure:
    """What the files in the work folder of one attempt say; runs nothing.

    Raises
    ------
    InputError
        The folder holds no description of a calculation, or one of an engine that keeps no files.
    """
    asked = read_asked(folder)
    engine = engine_for(asked.engine)
    if not isinstance(engine, ExternalEngine):
        raise InputError(f"{folder}: {engine.name} keeps no output to parse; compute the structure again")
    try:
        return accept(engine.read(asked, folder, read_ending(folder)))
    except EngineFailure as failure:
        return failure.record
