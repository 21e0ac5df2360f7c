"""What every first-principles engine offers, what identifies its results, and the failure it raises."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from hpcmat.engines.parallel import SERIAL, Parallel
from hpcmat.engines.settings import EngineSettings
from hpcmat.errors import HpcmatError
from hpcmat.records import Failure, FailureKind, Label, Method, Structure, canonical_json
from hpcmat.store.atomic import is_disk_full, sha256_of
from hpcmat.store.keys import content_key, structure_physics

LOG_TAIL_LINES = 40


class EngineFailure(HpcmatError):
    """One calculation gave no acceptable result; typed, with the end of the engine's log."""

    def __init__(self, kind: FailureKind, message: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.log_tail = log_tail

    @property
    def record(self) -> Failure:
        """The same as data, to be stored and sent between processes."""
        return Failure(self.kind, self.message, self.log_tail)


@dataclass(frozen=True, slots=True)
class Job:
    """One execution: where to write, which attempt it is, what the failure ladder asks for, and its ranks."""

    folder: Path
    attempt: int = 1
    remedies: tuple[str, ...] = ()
    parallel: Parallel = SERIAL
    walltime_s: float | None = None
    """Time until it will be killed; None where nobody will."""

    @property
    def previous(self) -> Path:
        """Folder of the attempt before this one, which may be missing."""
        return self.folder.parent / f"attempt-{self.attempt - 1}"


class Engine(Protocol):
    """A code that labels structures, bound to its settings."""

    @property
    def name(self) -> str:
        """Name of the code as in the campaign file."""

    def check(self, symbols: Iterable[str]) -> None:
        """Raise `InputError` when the code is not installed or an element has no data set."""

    def method(self, symbols: Iterable[str]) -> Method:
        """What identifies the result: code, version, physical settings and hashes of the data files read."""

    def warm_up(self) -> None:
        """Import what a calculation needs, so that forked children share it; starts no thread."""

    def calculate(self, structure: Structure, job: Job) -> Label:
        """Energy (eV), forces (eV/Å) and stress (eV/Å³) of a converged calculation; raises `EngineFailure`."""


@runtime_checkable
class LimitedEngine(Protocol):
    """An engine that cannot compute every sound structure."""

    def check_cell(self, structure: Structure) -> None:
        """Raise `InputError` for a structure that it would compute wrongly or not at all."""


def physics_of(settings: EngineSettings) -> str:
    """Canonical JSON of the settings that determine the result, without those their model calls `not_physics`."""
    return canonical_json(settings.model_dump_json(exclude=set(type(settings).not_physics)))


def make_method(settings: EngineSettings, version: str, inputs: Mapping[str, Path] | None = None) -> Method:
    """`Method` record of a code; `inputs` maps names of data files to where they lie."""
    physics = physics_of(settings)
    return Method(
        code=settings.name,
        version=version,
        settings=physics,
        settings_hash=hashlib.sha256(physics.encode()).hexdigest(),
        inputs=tuple(f"{name} {sha256_of(path)}" for name, path in sorted((inputs or {}).items())),
    )


def key_of(structure: Structure, method: Method) -> str:
    """Content key of a label: structure to 1e-10 Å, code and version, physical settings, hashes of data files."""
    physics = {
        "structure": json.loads(structure_physics(structure)),
        "code": method.code,
        "version": method.version,
        "settings": json.loads(method.settings),
        "inputs": list(method.inputs),
    }
    return content_key("label", json.dumps(physics))


def log_tail(path: Path) -> str:
    """Last lines of a log; empty when there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
    except OSError:
        return ""


def machine_failure(error: OSError | MemoryError) -> EngineFailure | None:
    """Failure for a full disk or exhausted memory; None for any other error of the system."""
    if isinstance(error, MemoryError):
        return EngineFailure(FailureKind.OUT_OF_MEMORY, "the memory is exhausted; give the task more memory")
    if is_disk_full(error):
        return EngineFailure(FailureKind.DISK_FULL, "the disk of the work folder is full; free some space")
    return None
