"""What one run of an external code was asked and how it ended, as files beside its output: enough to parse it again."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hpcmat.engines.base import EngineFailure
from hpcmat.engines.external.run import Ending
from hpcmat.engines.settings import EngineSettings
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Method, Structure, decode, encode
from hpcmat.store.atomic import write_text

ASKED_NAME = "calculation.json"
ENDING_NAME = "ending.json"
SCRATCH_NAME = "scratch"
"""Folder for what a code writes and nobody reads again but itself: wave functions, densities."""


_NOT_OF_THE_CODE = {ASKED_NAME, ENDING_NAME, "claim.json", "record.json", "output.txt"}
"""Ours, the store's and the worker's."""


@dataclass(frozen=True, slots=True, eq=False)
class Calculation:
    """One run: the structure, how it was to be computed, and on which road."""

    structure: Structure
    engine: EngineSettings
    method: Method
    attempt: int = 1
    remedies: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    """Executable and arguments, without what launched them."""


def write_asked(calculation: Calculation, folder: Path) -> None:
    """Write what is asked, before the code starts."""
    write_text(folder / ASKED_NAME, encode(calculation))


def read_asked(folder: Path) -> Calculation:
    """What was asked of the run in this folder.

    Raises
    ------
    InputError
        The folder is none of ours, or its description is damaged.
    """
    try:
        return decode(Calculation, (folder / ASKED_NAME).read_bytes())
    except OSError:
        raise InputError(f"{folder}: no {ASKED_NAME}; name the work folder of one attempt") from None
    except ValidationError as error:
        raise InputError(f"{folder / ASKED_NAME}: damaged, compute this structure again: {error}") from None


def write_ending(ending: Ending, folder: Path) -> None:
    """Write how the code ended."""
    write_text(folder / ENDING_NAME, encode(ending))


def read_ending(folder: Path) -> Ending:
    """How the code ended; without an exit code where that was never written."""
    try:
        return decode(Ending, (folder / ENDING_NAME).read_bytes())
    except (OSError, ValidationError):
        return Ending(None)


def read_output(path: Path) -> str:
    """Text of an output file.

    Raises
    ------
    EngineFailure
        `CORRUPT_OUTPUT`: there is none, it is empty, or it is no text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    except UnicodeDecodeError as error:
        raise corrupt(f"{path.name} is not text (byte {error.start})") from error
    if not text.strip():
        raise corrupt(f"{path.name} is missing or empty")
    return text


def text_of(path: Path) -> str:
    """What there is of a file; nothing if it is missing, as after a crash at the start."""
    return path.read_text(errors="replace") if path.is_file() else ""


def only(pattern: str, text: str) -> str:
    """First group of a pattern that must match once; raises ValueError."""
    found = re.findall(pattern, text, re.MULTILINE)
    if len(found) != 1:
        raise ValueError(f"{len(found)} lines instead of one for {pattern!r}")
    return str(found[0])


def corrupt(reason: str, tail: str = "") -> EngineFailure:
    """Failure of an output that cannot be trusted."""
    return EngineFailure(FailureKind.CORRUPT_OUTPUT, f"{reason}; run it again", tail)


def tidy(folder: Path, keep_files: bool, keep_scratch: bool) -> None:
    """Remove the scratch folder, and the files of the code, unless they are to be kept."""
    if not keep_scratch:
        shutil.rmtree(folder / SCRATCH_NAME, ignore_errors=True)
    if keep_files:
        return
    for path in folder.iterdir():
        if path.is_file() and path.name not in _NOT_OF_THE_CODE and path.name[0] != ".":
            path.unlink()
