"""Somebody who wants the campaign done: starts it again, or submits it again, whenever nobody drives it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from harness import Trial
from slurm import Slurm

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
_AGAIN_S = 1.0
"""Between two looks whether somebody drives it."""


class Keeper:
    """Calls `hpcmat run` or `hpcmat submit` as a user would; never waits for either."""

    def __init__(self, trial: Trial, site: Site, slurm: Slurm) -> None:
        self._trial, self._slurm, self._local = trial, slurm, site == "local"
        self._command = _run(trial) if site == "local" else _submit(trial, 4 if site == "nodes" else 1)
        self._process: subprocess.Popen[bytes] | None = None
        self._not_before = 0.0
        self.calls = 0

    def keep(self) -> None:
        """Start it unless it is driven, or will be."""
        if (self._process is not None and self._process.poll() is None) or time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + _AGAIN_S
        if self._trial.folder.driven:
            return
        if self._waits:
            self._slurm.release()
            return
        self.calls += 1
        # Not on the disk that fills up.
        with (self._trial.root / "keeper.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=self._slurm.environment, start_new_session=True
            )

    @property
    def _waits(self) -> bool:
        """Whether an allocation waits or begins; where the scheduler does not answer, the command line is to say so."""
        return not self._local and self._slurm.answers and bool(self._slurm.queued())

    def close(self) -> None:
        """End what was started by this keeper itself; an allocation is left alone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()


def _run(trial: Trial) -> list[str]:
    return _hpcmat("run", trial)


def _submit(trial: Trial, nodes: int) -> list[str]:
    site = Path(trial.root / "sim.toml")
    site.write_text(SITE.format(nodes=nodes, tasks=_UNDER_MPI if nodes > 1 else ""))
    return [*_hpcmat("submit", trial), "--site", str(site)]


def _hpcmat(verb: str, trial: Trial) -> list[str]:
    places = ["--out", str(trial.folder.root), "--store", str(trial.store)]
    return [sys.executable, "-m", "hpcmat", verb, str(trial.file), *places, "--json"]
