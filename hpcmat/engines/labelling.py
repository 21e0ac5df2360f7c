"""The labelling task: one structure in, one accepted label or one typed failure out."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from hpcmat.engines.acceptance import accept, check_structure
from hpcmat.engines.base import Engine, EngineFailure, Job, key_of, machine_failure
from hpcmat.engines.ladder import REMEDIES
from hpcmat.engines.parallel import parallel_here
from hpcmat.engines.registry import engine_for
from hpcmat.engines.settings import EngineSettings
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Label, Method, Structure, decode, encode


@dataclass(frozen=True, slots=True, eq=False)
class LabelRequest:
    """What to label, how, and what the failure ladder asks to do otherwise."""

    structure: Structure
    engine: EngineSettings
    remedies: tuple[str, ...] = ()
    key: str = ""
    """Content key under which the label will be stored; empty where nobody stores it."""


def label_key(structure: Structure, engine: EngineSettings) -> str:
    """Content key of a label: structure to 1e-10 Å, code and version, physical settings, hashes of data files.

    Remedies, durations, faults and ledgers change the road, not the answer, and stay out.

    Raises
    ------
    InputError
        The engine is not installed here or lacks a data set, so that nothing identifies the answer.
    """
    return key_of(structure, _method(engine, tuple(sorted(set(structure.symbols)))))


def run_label(request: str, folder: Path, attempt: int) -> str:
    """Runner of labelling tasks; see `LabelRequest`.

    Returns
    -------
    str
        JSON of the accepted `Label`, or of a `Failure`. An unconverged or incomplete result is never a label.
    """
    try:
        return encode(_label(_parse(request), folder, attempt))
    except EngineFailure as failure:
        return encode(failure.record)
    except (MemoryError, OSError) as error:
        known = machine_failure(error)
        if known is None:
            raise
        return encode(known.record)


def warm_up(request: str) -> None:
    """Import the engine of this request in the long-lived worker, before it forks."""
    engine_for(decode(LabelRequest, request).engine).warm_up()


def _label(request: LabelRequest, folder: Path, attempt: int) -> Label:
    engine = engine_for(request.engine)
    try:
        check_structure(request.structure)
    except InputError as error:
        raise EngineFailure(FailureKind.UNPHYSICAL, str(error)) from error
    try:
        engine.check(set(request.structure.symbols))
    except InputError as error:
        raise EngineFailure(FailureKind.BAD_SETTINGS, str(error)) from error
    _check_key(request, engine)
    job = Job(folder, attempt, request.remedies, parallel_here(), walltime_left_s())
    return accept(engine.calculate(request.structure, job))


def _check_key(request: LabelRequest, engine: Engine) -> None:
    """Refuse to compute where code or data files are not those of the key: its label would stand under a false name."""
    method = engine.method(set(request.structure.symbols))
    if request.key and key_of(request.structure, method) != request.key:
        raise EngineFailure(
            FailureKind.BAD_SETTINGS,
            f"the content key is not that of {method.code} {method.version} and the data files here "
            f"({', '.join(method.inputs) or 'none'}); give this machine those of the driver's, or start a new campaign",
        )


def walltime_left_s() -> float | None:
    """Time until the alarm of this process, by which it is killed; None where none is set."""
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    return left or None


def _parse(request: str) -> LabelRequest:
    try:
        parsed = decode(LabelRequest, request)
    except ValidationError as error:
        raise EngineFailure(FailureKind.BAD_SETTINGS, f"not a labelling request; send one: {error}") from error
    unknown = set(parsed.remedies) - set(REMEDIES)
    if unknown:
        raise EngineFailure(
            FailureKind.BAD_SETTINGS, f"unknown remedies {sorted(unknown)}; use some of {', '.join(REMEDIES)}"
        )
    return parsed


@lru_cache(maxsize=256)
def _method(engine: EngineSettings, symbols: tuple[str, ...]) -> Method:
    return engine_for(engine).method(symbols)
