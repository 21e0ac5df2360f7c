"""Submit, look at and cancel one allocation, with the commands of its scheduler."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpcmat.dispatch.orphans import CAMPAIGN_VARIABLE, EPOCH_VARIABLE
from hpcmat.dispatch.site_model import Kind
from hpcmat.errors import DispatchError

State = Literal["pending", "running", "ended", "unknown"]
"""`unknown`: the scheduler did not answer; nothing follows from it."""

COMMANDS: dict[Kind, tuple[str, ...]] = {
    "slurm": ("sbatch", "scontrol", "scancel"),
    "pbs": ("qsub", "qstat", "qdel"),
    "pjm": ("pjsub", "pjstat", "pjwait", "pjdel"),
    "gridengine": ("qsub", "qstat", "qdel"),
}
"""What must be on the PATH where campaigns are submitted."""

_OWN_VARIABLES = (EPOCH_VARIABLE, CAMPAIGN_VARIABLE)
_TIMEOUT_S = 30
_JOB_ID: dict[Kind, str] = {
    "slurm": r"Submitted batch job (\d+)",
    "pbs": r"(\d+(?:\[\])?\.[\w.-]+)",
    "gridengine": r"Your job (\d+) ",
}
_AFTER: dict[Kind, tuple[str, ...]] = {
    "slurm": ("--dependency=afterany:{job}",),
    "pbs": ("-W", "depend=afterany:{job}"),
    "gridengine": ("-hold_jid", "{job}"),
}
"""Options by which a job waits for the end of another; a step job of PJM is joined to its parent instead."""


@dataclass(frozen=True, slots=True)
class Submission:
    """An allocation that was asked for."""

    job: str
    kind: Kind
    site: str
    queue: str
    command: tuple[str, ...]
    """That submitted the script, without the script."""
    script: str
    nodes: int
    walltime_s: int
    submitted: float
    """Seconds since the epoch."""
    after: str = ""
    """Job whose end it waits for."""


def submit(kind: Kind, command: Sequence[str], script: Path, after: str = "") -> str:
    """Id of the new job, which waits for the end of job `after` if that is given.

    Raises
    ------
    DispatchError
        The scheduler refused the job, or does not exist here; its own words are in the message.
    """
    options = [option.format(job=after) for option in _AFTER.get(kind, ())] if after else []
    if kind == "pjm" and after:
        options = ["--step", "--sparam", f"jid={after.partition('_')[0]}"]
    return _submitted(kind, [*command, *options, str(script)], script.parent)


def submit_first_step(command: Sequence[str], script: Path) -> str:
    """Id of the first sub-job of a PJM step job, to which others can be added; raises DispatchError."""
    return _submitted("pjm", [*command, "--step", str(script)], script.parent)


def can_submit_from_jobs(kind: Kind) -> bool:
    """Whether a job may submit its successor; the PJM commands exist on login nodes alone."""
    return kind != "pjm"


def state_of(submission: Submission) -> State:
    """Where an allocation stands, as far as its scheduler says."""
    return _STATES[submission.kind](submission.job)


def slurm_node(queue: str) -> tuple[int, float] | None:
    """Cores and memory (GiB) of the smallest node of a partition, or of all; None where Slurm does not tell.

    Memory is that which jobs can ask for.
    """
    partition = [] if queue == "default" else [f"--partition={queue}"]
    status, output = _run(["sinfo", "--noheader", "--format=%c %m", *partition])
    found = re.findall(r"^(\d+)\+? +(\d+)\+?$", output, re.MULTILINE) if status == 0 else []
    if not found:
        return None
    return min(int(cores) for cores, _ in found), min(int(mebibytes) for _, mebibytes in found) / 1024


def cancel(submission: Submission) -> None:
    """Ask the scheduler to end an allocation; raises DispatchError where it refuses."""
    command = {"slurm": "scancel", "pjm": "pjdel"}.get(submission.kind, "qdel")
    status, output = _run([command, submission.job])
    if status != 0:
        raise DispatchError(f"{command} {submission.job}: {output}; try again, or ask your centre")


def _submitted(kind: Kind, command: list[str], folder: Path) -> str:
    status, output = _run(command, folder)
    if status != 0:
        raise DispatchError(f"{command[0]} refused the job: {output}; change what it names and submit again")
    job = _pjm_job(output) if kind == "pjm" else _named_job(kind, output)
    if not job:
        raise DispatchError(f"{command[0]} named no job: {output}; look for it before submitting again")
    return job


def _named_job(kind: Kind, output: str) -> str:
    match = re.search(_JOB_ID[kind], output)
    return match[1] if match else ""


def _pjm_job(output: str) -> str:
    from hpcmat.dispatch.providers.pjm.answers import GarbledAnswer, submitted_id

    try:
        return submitted_id(output)
    except GarbledAnswer:
        return ""


def _slurm_state(job: str) -> State:
    """`scontrol` knows a job for some minutes after its end; `squeue` alone would not tell an end from an error."""
    status, output = _run(["scontrol", "show", "job", "--oneliner", job])
    if status != 0:
        return "ended" if "Invalid job id" in output else "unknown"
    found = re.search(r"JobState=(\w+)", output)
    if found is None:
        return "unknown"
    if found[1] in ("PENDING", "CONFIGURING", "SUSPENDED", "REQUEUED"):
        return "pending"
    return "running" if found[1] in ("RUNNING", "COMPLETING", "STOPPED") else "ended"


def _pbs_state(job: str) -> State:
    status, output = _run(["qstat", "-x", "-f", job])
    if status != 0:
        return "ended" if "Unknown Job Id" in output else "unknown"
    found = re.search(r"job_state = (\w)", output)
    if found is None:
        return "unknown"
    known: dict[str, State] = {"R": "running", "E": "running", "B": "running", "F": "ended", "X": "ended"}
    return known.get(found[1], "pending")


def _gridengine_state(job: str) -> State:
    status, output = _run(["qstat"])
    if status != 0:
        return "unknown"
    row = next((line.split() for line in output.splitlines() if line.split()[:1] == [job]), None)
    if row is None or len(row) < 5:
        return "ended"
    return "running" if "r" in row[4] or "t" in row[4] else "pending"


def _pjm_state(job: str) -> State:
    from parsl.jobs.states import JobState

    from hpcmat.dispatch.providers.pjm.commands import PjmCommands
    from hpcmat.dispatch.providers.pjm.watch import JobWatch

    watch = JobWatch(PjmCommands(_TIMEOUT_S))
    watch.add(job)
    if not watch.refresh():
        return "unknown"
    known = watch.jobs[job]
    if known.ended:
        return "ended"
    return "running" if known.state is JobState.RUNNING else "pending"


_STATES: dict[Kind, Callable[[str], State]] = {
    "slurm": _slurm_state,
    "pbs": _pbs_state,
    "pjm": _pjm_state,
    "gridengine": _gridengine_state,
}


def _run(command: list[str], folder: Path | None = None) -> tuple[int, str]:
    """Status and output; 127 and a sentence where there is no such command, 124 where it does not answer."""
    if shutil.which(command[0]) is None:
        return 127, f"no command {command[0]} here; is this a login node of the site?"
    pipe = subprocess.PIPE
    # A job may inherit the environment: marked as one of this driver's processes it would be ended with them.
    environment = {name: value for name, value in os.environ.items() if name not in _OWN_VARIABLES}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return 124, f"no answer within {_TIMEOUT_S} s"
    return process.returncode, output.decode(errors="replace").strip()
