"""The guard of the ranks of one task: `python -m hpcmat.dispatch.launchers.guard FOLDER COMMAND...`.

It starts the command on the nodes that the task in this work folder was given, in the dialect of the launcher, and is
to its caller what the command would be: same standard streams, same exit code. However the caller ends, its ranks end
too, those on other nodes included. What the launcher says of nodes that failed is left in the work folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from hpcmat.dispatch.launchers.dialects import Blame, blame, collect, compose, dialect_of
from hpcmat.dispatch.launchers.place import LaunchEnd, Place, note_end, place_in
from hpcmat.dispatch.launchers.request import Launch, LaunchRequest, Output
from hpcmat.dispatch.marks import CAMPAIGN_VARIABLE, LAUNCH_VARIABLE, die_with_parent
from hpcmat.errors import DispatchError
from hpcmat.mpi_environment import outside_mpi

GRACE_S = 3
"""From the request to end until the kill."""
_REQUESTS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)
_TAIL = 65536
_NO_LAUNCH_EXIT = 126
_HANDED_ON = ("GPAW_MPI_BACKEND", "GPAW_SETUP_PATH", "PYTHONPATH", CAMPAIGN_VARIABLE, LAUNCH_VARIABLE)
"""Variables of the caller that ranks need, where their launcher passes on only what it is told."""


class Guard:
    """One launch from start to end."""

    def __init__(self, folder: Path, place: Place, launch: Launch) -> None:
        self._folder, self._place, self._launch = folder, place, launch
        self._dialect = dialect_of(place.launcher)
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = b""
        self._stopped = False

    def run(self) -> int:
        """Exit code of the launch, 128 + number where a signal ended it."""
        for number in _REQUESTS:
            signal.signal(number, self._stop)
        process = self._process = self._start()
        if self._stopped:
            self._signal(self._dialect.stop_signal)
        assert process.stderr is not None, "it is a pipe"
        reader = threading.Thread(target=self._pass_on, args=(process.stderr,), daemon=True)
        reader.start()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        # Not waited for yet, so that the number of the group is still ours.
        self._signal(signal.SIGKILL)
        code, self._process = process.wait(), None
        for number in _REQUESTS:
            # Python takes its handlers away before it ends: a late request would then change the exit code.
            signal.signal(number, signal.SIG_IGN)
        reader.join(GRACE_S)
        self._forward_ranks()
        code = code if code >= 0 else 128 - code
        note_end(self._judged(code), self._folder)
        return code

    def _start(self) -> subprocess.Popen[bytes]:
        launch, parent = self._launch, os.getpid()
        for file in launch.files:
            file.path.write_text(file.text)
        return subprocess.Popen(
            launch.command,
            stdout=subprocess.DEVNULL if launch.output.rank_stdout else None,
            stderr=subprocess.PIPE,
            env=outside_mpi(os.environ) | dict(launch.environment),
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(self._dialect.stop_signal, parent),
        )

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGALRM:
            self._signal(signal.SIGKILL)
            return
        if not self._stopped:
            # Whoever asks again and again does not put the kill off.
            signal.alarm(GRACE_S)
        self._stopped = True
        self._signal(self._dialect.stop_signal)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _pass_on(self, errors: BinaryIO) -> None:
        """What the launcher says, to our own standard error, and its end kept."""
        while chunk := os.read(errors.fileno(), 65536):
            self._errors = (self._errors + chunk)[-_TAIL:]
            with suppress(OSError):
                sys.stderr.buffer.write(chunk)
                sys.stderr.buffer.flush()

    def _forward_ranks(self) -> None:
        """Launchers that leave the output of ranks in files: to where the command would have written it."""
        output = self._launch.output
        if not output.rank_stdout:
            return
        with tempfile.TemporaryDirectory() as place:
            gathered = Output(Path(place, "out"), Path(place, "err"), output.rank_stdout, output.rank_stderr)
            collect(gathered, self._folder)
            self._errors = (self._errors + gathered.stderr.read_bytes())[-_TAIL:]
            for file, stream in ((gathered.stdout, sys.stdout), (gathered.stderr, sys.stderr)):
                with file.open("rb") as content:
                    shutil.copyfileobj(content, stream.buffer)

    def _judged(self, code: int) -> LaunchEnd:
        text = self._errors.decode(errors="replace")
        names = [share.node.name for share in self._place.shares]
        found = blame(self._place.launcher, text, names)
        if code == 0:
            # Some launchers leave so although a node has failed under them.
            return LaunchEnd(0, found.certain, found.suspected)
        cancelled = self._stopped or self._dialect.was_cancelled(text)
        if not (found or cancelled) and self._dialect.lost_nodes is not None:
            found = Blame(self._dialect.lost_nodes(names))
        if self._dialect.was_killed(text):
            code = 128 + signal.SIGKILL
        return LaunchEnd(code, found.certain, found.suspected, cancelled)


def main(arguments: Sequence[str]) -> int:
    """Start the command of the arguments and be it."""
    die_with_parent(signal.SIGTERM, os.getppid())
    folder = Path(arguments[0])
    place = place_in(folder)
    request = LaunchRequest(
        tuple(arguments[1:]),
        place.ranks,
        place.ranks_per_node,
        place.shares,
        folder,
        place.threads,
        tuple((name, value) for name, value in os.environ.items() if name in _HANDED_ON),
    )
    try:
        return Guard(folder, place, compose(place.launcher, request)).run()
    except (DispatchError, OSError) as error:
        print(f"hpcmat: the ranks were not started: {error}", file=sys.stderr)
        return _NO_LAUNCH_EXIT


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
