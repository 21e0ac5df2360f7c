"""Somebody who wants the campaign done: starts it again, or submits it again, whenever nobody drives it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import Trial

from chaos.plan import Site

SITE = """
name = "sim"
kind = "slurm"
verified = "a Slurm on one machine"
cores_per_node = 2
{tasks}
[environment]
OMP_NUM_THREADS = "1"
[batch]
nodes = {nodes}
walltime_h = 0.9
queues = [{{ name = "default" }}]
"""
_UNDER_MPI = """
launcher = "srun"
launcher_options = ["--mpi=pmi2"]
[tasks.label]
nodes = 2
"""
_AGAIN_S = 2.0
"""Between two calls of the command line, so that an allocation has the time to begin."""


class Keeper:
    """Calls `hpcmat run` or `hpcmat submit` as a user would; never waits for either."""

    def __init__(self, trial: Trial, site: Site, environment: dict[str, str]) -> None:
        self._trial, self._environment = trial, environment
        self._command = _run(trial) if site == "local" else _submit(trial, 4 if site == "nodes" else 1)
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0
        self.calls = 0

    def keep(self) -> None:
        """Start it unless it is driven, or was started just now."""
        if self._process is not None and self._process.poll() is not None:
            self._process, self._not_before = None, time.monotonic() + _AGAIN_S
        if self._process is not None or time.monotonic() < self._not_before or self._trial.folder.driven:
            return
        self.calls += 1
        # Not on the disk that fills up.
        with (self._trial.root / "keeper.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._environment, start_new_session=True
            )

    def close(self) -> None:
        """End what was started by this keeper itself; an allocation is left alone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()

    @property
    def done(self) -> bool:
        """Whether the last call has ended, its report written."""
        return self._process is None or self._process.poll() is not None


def _run(trial: Trial) -> list[str]:
    return _hpcmat("run", trial)


def _submit(trial: Trial, nodes: int) -> list[str]:
    site = Path(trial.root / "sim.toml")
    site.write_text(SITE.format(nodes=nodes, tasks=_UNDER_MPI if nodes > 1 else ""))
    return [*_hpcmat("submit", trial), "--site", str(site)]


def _hpcmat(verb: str, trial: Trial) -> list[str]:
    places = ["--out", str(trial.folder.root), "--store", str(trial.store)]
    return [sys.executable, "-m", "hpcmat", verb, str(trial.file), *places, "--json"]
