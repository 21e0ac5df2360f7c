"""The state of an emulated PJM: whole-node FIFO over virtual nodes, no daemon. Every command first advances the queue.

The clock is virtual, so that an hour passes at a call. Jobs are real processes in sessions of their own. Each holds a
lock while it runs, by which its end is waited for.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

PJM_VARIABLES = ("PATH", "HOME", "USER", "LANG", "PYTHONPATH")
"""Stand for what a login gives; nothing else is inherited."""
FINAL = ("EXT", "CCL", "RJT", "ERR")
RUNNER = """\
bash "$2" >"$3.out" 2>"$3.err"
echo "$?" >"$1.draft" && mv "$1.draft" "$1.end"
"""


class Queue:
    """A folder with the state of a PJM; use `open` to change it."""

    def __init__(self, root):
        self.root = Path(root)

    @contextmanager
    def open(self):
        with (self.root / "queue.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self.root / "queue.json"
            state = json.loads(file.read_text())
            yield state
            draft = self.root / "queue.draft"
            draft.write_text(json.dumps(state))
            draft.replace(file)

    @classmethod
    def create(cls, root, nodes):
        root.mkdir(parents=True, exist_ok=True)
        (root / "queue.json").write_text(
            json.dumps(
                {"nodes": nodes, "clock": 1_700_000_000, "next": 9714, "jobs": {}, "misbehaviour": {}, "slow_start": 0}
            )
        )
        return cls(root)


def used_nodes(state):
    return sum(job["nodes"] for job in state["jobs"].values() if job["st"] in ("RNP", "RUN"))


def advance(queue, state):
    """Ends that have come, then starts in the order of submission."""
    running = [(name, job) for name, job in state["jobs"].items() if job["st"] in ("RNP", "RUN")]
    for name, job in running:
        _advance_running(queue, state, name, job)
    for name, job in sorted(state["jobs"].items(), key=lambda item: item[1]["number"]):
        if job["st"] != "QUE" or not _may_start(state, job):
            continue
        if job["nodes"] > state["nodes"] - used_nodes(state):
            break
        _start(queue, state, name, job)


def end(queue, job, name, st, code, reason=""):
    """End a job from outside its script: its processes are killed."""
    if job["st"] in ("RNP", "RUN"):
        with suppress(ProcessLookupError):
            os.killpg(job["pid"], signal.SIGKILL)
    job.update(st=st, pc=code, reason=reason, sn=9 if code in (11, 12, 18, 20) else 0)


def marker(queue, name, kind):
    return queue.root / f"{name.replace('[', '.').rstrip(']')}.{kind}"


def _advance_running(queue, state, name, job):
    finished = marker(queue, name, "end")
    if finished.exists():
        status = int(finished.read_text())
        signalled = status - 128 if status > 128 else 0
        job.update(st="EXT", pc=0, ec=status, sn=signalled, reason="")
        return
    elapsed = state["clock"] - job["start"]
    wanted = any(other["st"] == "QUE" and other["number"] > job["number"] for other in state["jobs"].values())
    if job["most"] is not None and elapsed > job["most"]:
        end(queue, job, name, "EXT", 11, "ELAPSE LIMIT EXCEEDED")
    elif job["least"] is not None and elapsed > job["least"] and wanted:
        end(queue, job, name, "CCL", 18, "ANOTHER JOB STARTED")
    elif job["st"] == "RNP":
        job["prologue"] -= 1
        if job["prologue"] <= 0:
            job["st"] = "RUN"


def _may_start(state, job):
    """A step sub-job waits for the one before, and is deleted where its condition on it does not hold."""
    before = state["jobs"].get(job["after"] or "")
    if before is None:
        return True
    if before["st"] not in FINAL:
        return False
    if job["unless_ec"] is not None and before["ec"] != job["unless_ec"]:
        job.update(st="CCL", pc=6, reason="")
        return False
    return True


def _start(queue, state, name, job):
    job.update(st="RNP" if state["slow_start"] else "RUN", prologue=state["slow_start"], start=state["clock"])
    output = Path(job["folder"]) / f"{job['name']}.{name}"
    spooled = marker(queue, name, "sh")
    # As it was when it was submitted.
    spooled.write_text(job["script"])
    arguments = [str(marker(queue, name, "x").with_suffix("")), str(spooled), str(output)]
    with marker(queue, name, "lock").open("w") as lock:
        # The lock stays with the job's processes when this one has ended.
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(
            [shutil.which("bash"), "-c", RUNNER, "pjm", *arguments],
            cwd=job["folder"],
            env=_environment(name, job),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(lock.fileno(),),
        )
    job["pid"] = process.pid


def _environment(name, job):
    """EG 2.1.2, and nothing inherited unless `-X` was given."""
    given = dict(os.environ) if job["inherit"] else {key: os.environ[key] for key in PJM_VARIABLES if key in os.environ}
    shown = {
        "PJM_JOBID": name.split("_")[0].split("[")[0],
        "PJM_JOBNAME": job["name"],
        "PJM_ENVIRONMENT": "BATCH",
        "PJM_RSCGRP": job["rscgrp"],
        "PJM_NODE": str(job["nodes"]),
        "PJM_MPI_PROC": str(job["proc"]),
        "PJM_ELAPSE_LIMIT": str(job["most"]),
        "PJM_O_WORKDIR": job["folder"],
    }
    if "_" in name or "[" in name:
        shown["PJM_SUBJOBID"] = name
    if "[" in name:
        shown["PJM_BULKNUM"] = name[name.index("[") + 1 : -1]
    return given | shown | job["variables"]
