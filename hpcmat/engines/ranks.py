"""Calculations that several ranks share in: one request for all of them, one outcome back.

`python -m hpcmat.engines.ranks FOLDER` is one of the ranks. Whoever started it has checked that their world has the
size asked for, and says in `HPCMAT_RANK` which one this is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

from hpcmat.engines.base import EngineFailure, Job, log_tail, machine_failure
from hpcmat.engines.parallel import Parallel
from hpcmat.engines.settings import EngineSettings
from hpcmat.errors import DispatchError
from hpcmat.records import Failure, FailureKind, Label, Structure, decode, encode
from hpcmat.store.atomic import create_exclusively, require_room, write_text

REQUEST_NAME, OUTCOME_NAME, OUTPUT_NAME = "ranks.json", "ranks-outcome.json", "ranks.txt"
RANK_VARIABLE = "HPCMAT_RANK"
ENDED_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM}
"""Exit codes of a launcher, which itself reports how its ranks ended by positive ones."""
LOOK_S = 1.0
LEAVING_LOOKS = 10
"""Looks at which a label is there and its ranks are too, after which they are ended."""


class RankedEngine(Protocol):
    """An engine that calculates in the processes of its ranks."""

    def calculate_on_rank(self, structure: Structure, job: Job, rank: int) -> Label | None:
        """Do the part of one rank; the label on rank 0. Raises `EngineFailure`."""


@dataclass(frozen=True, slots=True, eq=False)
class RankRequest:
    """What every rank is asked to do."""

    structure: Structure
    engine: EngineSettings
    attempt: int
    remedies: tuple[str, ...]
    ranks: int
    threads: int


def calculate_on_ranks(
    engine: EngineSettings, structure: Structure, job: Job, variables: Mapping[str, str] = os.environ
) -> Label:
    """Start the ranks of a calculation and wait for its outcome.

    Raises
    ------
    EngineFailure
        What a rank reported, or `CRASH` where the ranks did not end well.
    DispatchError
        Nothing says how ranks are started.
    """
    parallel = job.parallel
    if not parallel.python:
        raise DispatchError(f"{parallel.ranks} ranks, and nothing says how to start them; give Parallel.python")
    request = RankRequest(structure, engine, job.attempt, job.remedies, parallel.ranks, parallel.threads)
    write_text(job.folder / REQUEST_NAME, encode(request))
    command = [*parallel.python, "-m", __name__, str(job.folder)]
    with (job.folder / OUTPUT_NAME).open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**variables, **dict(parallel.environment)},
        )
    return _read_outcome(job.folder, _awaited(process, job.folder))


def _awaited(process: subprocess.Popen[bytes], folder: Path) -> int:
    """Exit code of what started the ranks, whose end is not waited for for ever where their label is there.

    Ranks that have done their work can still wait for each other in the finalization of MPI; at the walltime the label
    would be lost with them.
    """
    patience = LEAVING_LOOKS
    while patience:
        try:
            return process.wait(LOOK_S)
        except subprocess.TimeoutExpired:
            patience -= _is_label(_outcome_in(folder))
    process.terminate()
    process.wait()
    return 0


def _outcome_in(folder: Path) -> str:
    path = folder / OUTCOME_NAME
    return path.read_text() if path.exists() else ""


def _is_label(text: str) -> bool:
    return bool(text) and '"kind":"failure"' not in text


def _read_outcome(folder: Path, code: int) -> Label:
    text, tail = _outcome_in(folder), log_tail(folder / OUTPUT_NAME)
    if text and not _is_label(text):
        failure = decode(Failure, text)
        raise EngineFailure(failure.failure, failure.message, failure.log_tail or tail)
    if code == 0 and text:
        return decode(Label, text)
    if code in ENDED_FROM_OUTSIDE:
        raise EngineFailure(FailureKind.KILLED, f"what started its ranks died by {signal.Signals(-code).name}", tail)
    # Ranks that meet a full disk cannot say so in a file: it is full for this one too.
    require_room(folder)
    raise EngineFailure(FailureKind.CRASH, f"its ranks left with exit code {code} and no whole result", tail)


def main(folder: Path) -> None:
    """Do the part of this rank. A rank that fails leaves at once: its launcher then ends those that wait for it."""
    from hpcmat.engines.registry import ranked_engine_for

    request = decode(RankRequest, (folder / REQUEST_NAME).read_bytes())
    rank = int(os.environ[RANK_VARIABLE])
    job = Job(folder, request.attempt, request.remedies, Parallel(request.ranks, request.threads))
    try:
        label = ranked_engine_for(request.engine).calculate_on_rank(request.structure, job, rank)
    except EngineFailure as failure:
        _leave(folder, failure)
    except (MemoryError, OSError) as error:
        _leave(folder, machine_failure(error))
    except BaseException:  # noqa: BLE001 - whatever it is, the others wait for this rank, and it would for them
        _leave(folder, None)
    if label is not None:
        create_exclusively(folder / OUTCOME_NAME, encode(label))


def _leave(folder: Path, failure: EngineFailure | None) -> NoReturn:
    try:
        traceback.print_exc()
        if failure is not None:
            create_exclusively(folder / OUTCOME_NAME, encode(failure.record))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
