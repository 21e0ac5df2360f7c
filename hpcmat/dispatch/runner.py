"""The call of a task's runner: in the task's own process, or in one that is started on the node of the task.

The latter is `python -m hpcmat.dispatch.runner RUNNER FOLDER NUMBER`, which finds the request in the work folder and
leaves the outcome there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path

from hpcmat.dispatch.launchers.place import Place, aides, settle_in
from hpcmat.errors import StorageError
from hpcmat.mpi_environment import outside_mpi
from hpcmat.records import Failure, FailureKind, encode
from hpcmat.store.atomic import is_disk_full, require_room, write_text

_REQUEST, _OUTCOME = "request.json", "outcome.json"
_TRACE = 2000


def call_runner(runner: str, request: str, folder: Path, number: int) -> str:
    """Outcome JSON of a runner; whatever it raises is a failure of its task, not of the campaign."""
    module, _, function = runner.partition(":")
    try:
        text: str = getattr(import_module(module), function)(request, folder, number)
        return text
    except MemoryError as error:
        failure = Failure(FailureKind.OUT_OF_MEMORY, f"memory ran out: {error}", _trace())
    except OSError as error:
        kind = FailureKind.DISK_FULL if is_disk_full(error) else FailureKind.CRASH
        failure = Failure(kind, f"{type(error).__name__}: {error}", _trace())
    except Exception as error:  # noqa: BLE001 - see above
        failure = Failure(FailureKind.CRASH, f"{type(error).__name__}: {error}"[:500], _trace())
    return encode(failure)


def call_at(place: Place, runner: str, request: str, folder: Path, number: int) -> str:
    """The same where the task has its place: there if it is one process, else here, with ranks of its own there."""
    parallel = settle_in(place, folder)
    if place.ranks > 1:
        os.environ.update(parallel.variables())
        return call_runner(runner, request, folder, number)
    write_text(aides(folder) / _REQUEST, request)
    words = [*parallel.launch, sys.executable, "-m", "hpcmat.dispatch.runner", runner, str(folder), str(number)]
    code = subprocess.run(words, stdin=subprocess.DEVNULL, check=False).returncode
    try:
        return (aides(folder) / _OUTCOME).read_text()
    except FileNotFoundError:
        return encode(_without_outcome(code, folder))


def _without_outcome(code: int, folder: Path) -> Failure:
    """Why a process left nothing behind."""
    if code in {-signal.SIGKILL, -signal.SIGTERM}:
        message = f"what started its process died by {signal.Signals(-code).name}"
        return Failure(FailureKind.KILLED, message, exit_code=code)
    try:
        # On a full disk it cannot say so in a file.
        require_room(folder)
    except StorageError as error:
        return Failure(FailureKind.DISK_FULL if is_disk_full(error) else FailureKind.CRASH, str(error), exit_code=code)
    return Failure(FailureKind.CRASH, f"its process left with exit code {code}", exit_code=code)


def main(runner: str, folder: Path, number: int) -> None:
    """Call a runner in this process, which is alone although a launcher started it."""
    alone = outside_mpi(os.environ)
    os.environ.clear()
    os.environ.update(alone)
    request = (aides(folder) / _REQUEST).read_text()
    write_text(aides(folder) / _OUTCOME, call_runner(runner, request, folder, number))


def _trace() -> str:
    return traceback.format_exc()[-_TRACE:]


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
