"""Checks for a site with a scheduler, made on the machine itself: on a login node, or inside an allocation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hpcmat.cli.health import MPI_SECONDS, Finding

if TYPE_CHECKING:
    from hpcmat.dispatch.sites import Site

WORLD = 2
"""Ranks that must find each other."""
LARGEST_SKEW_S = 5.0
"""Claims and heartbeats compare the clock of the file system with that of the node."""

_LAUNCHERS = {
    "hydra": ("mpiexec.hydra", "mpiexec"),
    "openmpi": ("mpirun", "mpiexec"),
    "srun": ("srun",),
    "fujitsu": ("mpiexec",),
}
_PROGRAM = """\
from mpi4py import MPI
sizes = MPI.COMM_WORLD.gather(MPI.COMM_WORLD.size)
if sizes is not None:
    print("world", *sizes, flush=True)
"""
"""One line of one rank: lines of several would mix."""


def examine_site(site: Site, folder: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """All checks of a site, for campaigns run in `folder`."""
    yield check_verified(site)
    yield from check_commands(site, environment)
    yield check_allocation(site, environment)
    yield check_launcher(site)
    yield check_world(site, environment)
    yield check_rename(folder)
    yield check_clock(folder)
    yield check_memory(site, environment)
    yield check_gpus(site, environment)


def check_verified(site: Site) -> Finding:
    """Whether jobs of this site file ever ran."""
    if site.verified != "never run":
        return Finding("site file", "ok", site.verified or "this machine")
    return Finding("site file", "warn", f"{site.label}: never run", "compare its limits with your centre's manual")


def check_commands(site: Site, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether the scheduler's commands are here; those of PJM are on login nodes alone, and jobs do without."""
    from hpcmat.dispatch.batch.scheduler import COMMANDS, can_submit_from_jobs

    needed = can_submit_from_jobs(site.kind) or not environment.get(_job_variable(site))
    for command in COMMANDS.get(site.kind, ()):
        path = shutil.which(command)
        if path is not None or not needed:
            yield Finding(command, "ok", path or "not in jobs, and none is needed there")
        else:
            yield Finding(command, "fail", "not on the PATH", "log in to a login node of this site, or load its module")


def check_allocation(site: Site, environment: Mapping[str, str]) -> Finding:
    """Whether this is a node of an allocation."""
    if site.kind == "local":
        return Finding("allocation", "ok", "none is needed")
    job = environment.get(_job_variable(site), "")
    return Finding("allocation", "ok", f"inside job {job}" if job else "outside of one")


def check_launcher(site: Site) -> Finding:
    """Whether the program that starts ranks is here."""
    if site.launcher == "none":
        return Finding("launcher", "ok", "none is needed: a task is one process")
    found = _launcher(site)
    if found is not None:
        return Finding("launcher", "ok", found)
    names = " or ".join(_LAUNCHERS[site.launcher])
    return Finding("launcher", "warn", f"no {names} on the PATH", "load the MPI module of the site in its setup")


def check_world(site: Site, environment: Mapping[str, str]) -> Finding:
    """Whether ranks started together know of each other; a launcher of another library starts worlds of one."""
    launcher = _launcher(site) if site.launcher != "none" else None
    if launcher is None:
        return Finding("MPI world", "ok", "not asked: there is no launcher")
    if site.launcher in ("srun", "fujitsu") and not environment.get(_job_variable(site)):
        return Finding("MPI world", "ok", "not asked: this launcher works in allocations only")
    command = [launcher, "-n", str(WORLD), sys.executable, "-c", _PROGRAM]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=MPI_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding("MPI world", "fail", f"no answer within {MPI_SECONDS} s", "use the MPI library of the site")
    worlds = [line for line in answer.stdout.splitlines() if line.startswith("world ")]
    if worlds == [f"world {WORLD} {WORLD}"]:
        return Finding("MPI world", "ok", f"{WORLD} ranks find each other")
    reason = ", ".join(worlds) or (answer.stderr.strip().splitlines() or ["no output"])[-1]
    remedy = "mpi4py must be built with the library of the launcher: pip install --no-binary mpi4py mpi4py"
    return Finding("MPI world", "fail", f"{WORLD} ranks were started: {reason}", remedy)


def check_rename(folder: Path) -> Finding:
    """Whether a file written and renamed is at once there with its content; all records are made so."""
    try:
        with tempfile.TemporaryDirectory(dir=folder) as place:
            draft, final = Path(place, "draft"), Path(place, "final")
            draft.write_text("hpcmat")
            draft.replace(final)
            whole = final.read_text() == "hpcmat" and os.listdir(place) == ["final"]
    except OSError as error:
        return Finding("rename", "fail", f"{folder}: {error.strerror}", "work in a folder you may write to")
    if not whole:
        return Finding("rename", "fail", f"{folder}: a renamed file was not seen", "work on another file system")
    return Finding("rename", "ok", "a renamed file is seen at once")


def check_clock(folder: Path) -> Finding:
    """Whether the file system's clock agrees with this node's."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            skew = os.stat(file.name).st_mtime - time.time()
    except OSError as error:
        return Finding("clock", "fail", f"{folder}: {error.strerror}", "work in a folder you may write to")
    if abs(skew) <= LARGEST_SKEW_S:
        return Finding("clock", "ok", f"file system and node differ by {abs(skew):.1f} s")
    return Finding("clock", "warn", f"file system and node differ by {skew:.0f} s", "tell your centre")


def check_memory(site: Site, environment: Mapping[str, str]) -> Finding:
    """Inside an allocation: whether the node has the memory that the site file promises."""
    from hpcmat.dispatch.sites import total_memory_gib

    here = total_memory_gib()
    if site.memory_gib == "auto" or not environment.get(_job_variable(site)):
        return Finding("node memory", "ok", f"{here:.0f} GiB here; not compared outside of an allocation")
    if here >= site.memory_gib:
        return Finding("node memory", "ok", f"{here:.0f} GiB; {site.memory_gib:.0f} GiB promised")
    return Finding("node memory", "warn", f"{here:.0f} GiB; {site.memory_gib:.0f} GiB promised", "correct memory_gib")


def check_gpus(site: Site, environment: Mapping[str, str]) -> Finding:
    """Inside an allocation: whether the node has the GPUs that the site file promises; others are not counted."""
    promised = site.gpus_per_node
    if not promised or not environment.get(_job_variable(site)):
        return Finding("GPUs", "ok", f"{promised} promised; counted inside of an allocation only")
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return Finding(
            "GPUs", "warn", f"{promised} promised, and nvidia-smi does not answer", "ask for them in options"
        )
    found = sum(line.startswith("GPU ") for line in answer.splitlines())
    if found == promised:
        return Finding("GPUs", "ok", f"{found}, as promised")
    return Finding("GPUs", "warn", f"{found}; {promised} promised", "ask for all of them, or correct gpus_per_node")


def _job_variable(site: Site) -> str:
    from hpcmat.dispatch.sites import JOB_VARIABLES

    return JOB_VARIABLES.get(site.kind, "")


def _launcher(site: Site) -> str | None:
    beside = str(Path(sys.executable).parent)
    names = _LAUNCHERS[site.launcher]
    return next((found for name in names if (found := shutil.which(name) or shutil.which(name, path=beside))), None)
