"""The MPI job of a farm as the driver sees it: started, met at a socket, ended."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from hpcmat.dispatch.farm.layout import FarmLayout, Rendezvous
from hpcmat.errors import DispatchError
from hpcmat.records import encode

END_S = 10.0
"""Time that a job is given to end by itself."""


class FarmJob:
    """One life of a farm.

    Parameters
    ----------
    layout : FarmLayout
        Its shape.
    folder : Path
        Where its log and the file for its ranks lie; every life has one of its own.
    setup : str
        Shell lines run before the launcher.

    Raises
    ------
    DispatchError
        The launcher is not installed.
    """

    def __init__(self, layout: FarmLayout, folder: Path, setup: str = "") -> None:
        self.log = folder / "farm.log"
        self._layout = layout
        self._key = secrets.token_bytes(32)
        program, *options = layout.command
        # An MPI library of this environment comes first: that of the system would start ranks that do not meet.
        path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
        launcher = shutil.which(program, path=path)
        if launcher is None:
            raise DispatchError(
                f"{program}: not found; install an MPI library, such as the wheel mpich, or load its module"
            )
        for file in layout.files:
            file.path.write_text(file.text)
        self._listener = Listener((layout.address, 0), authkey=self._key)
        rendezvous = self._write_rendezvous(folder)
        ranks = [launcher, *options, sys.executable, "-m", "hpcmat.dispatch.farm", str(rendezvous)]
        self._process = self._launch(ranks, setup)
        self._met = threading.Event()
        threading.Thread(target=self._wake_where_it_ended, daemon=True).start()

    def meet(self) -> Connection:
        """Wait for the root; `EOFError` or `ConnectionError`, now or when reading, where the job ended first."""
        connection = self._listener.accept()
        self._met.set()
        return connection

    def end(self) -> int:
        """Exit status, after the job has ended by itself or was killed."""
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self._listener.close()
        return self._process.wait()

    def kill(self) -> None:
        """End it now, with all that runs on this machine; the launcher answers for other machines."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def words(self) -> str:
        """Last lines of its log, for whoever must mend it."""
        with suppress(OSError):
            return self.log.read_text(errors="replace")[-500:].strip()
        return ""

    def _write_rendezvous(self, folder: Path) -> Path:
        path = folder / "rendezvous.json"
        path.touch(mode=0o600)
        port = self._listener.address[1]
        path.write_text(encode(Rendezvous(self._layout, port, self._key.hex())))
        return path

    def _launch(self, ranks: list[str], setup: str) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                ["/bin/sh", "-c", f'{setup}\nexec "$@"', "farm", *ranks],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wake_where_it_ended(self) -> None:
        """Connect in the root's place, so that `meet` returns where no root will come."""
        try:
            self._process.wait(self._layout.start_s)
        except subprocess.TimeoutExpired:
            if self._met.is_set():
                return
            self.kill()
        if not self._met.is_set():
            with suppress(OSError, EOFError):
                Client(self._listener.address, authkey=self._key).close()
