"""Slurm's srun inside an allocation: each launch is a job step, whose cores and GPUs Slurm itself keeps apart."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Sequence

from hpcmat.dispatch.launchers.request import Dialect, Launch, Launcher, LaunchRequest, output_in
from hpcmat.dispatch.placement.nodes import Share, expand_hostlist
from hpcmat.errors import DispatchError

_ANSWER_S = 10
_RANK_END = re.compile(r"srun: error: \S+: tasks? [\d,-]+: (.+)")
"""How each rank ended that did not end well."""
_STEP_WAIT_S = 60
"""So long may a step wait for nodes that this job holds. Slurm 22.05 loses count of the processors of a job that goes
on without a node that failed: steps on whole nodes then wait for ever."""
_JOB_OVER = ("Expired or invalid job", "Job/step already completing or completed")
"""What it says where the job itself was cancelled before the step began."""
_NO_STEP = ": Requested nodes are busy"
"""What it says when it gives up; all nodes of the step are then suspected."""


def compose(launcher: Launcher, request: LaunchRequest) -> Launch:
    """`srun --ntasks=N ... --nodelist=a,b --exact --mem=0 --quit-on-interrupt OPTIONS COMMAND`.

    On a shared node `--exact` gives a step only the cores it asks for, or the first step would hold them all; `--mem=0`
    keeps steps from waiting for each other's memory. A step that says nothing of GPUs gets all of its job's, so that it
    says how many; which of them they are Slurm decides. One interrupt then ends the step on all its nodes.
    """
    share = request.shares[0]
    options = (
        f"--ntasks={request.ranks}",
        f"--ntasks-per-node={request.ranks_per_node}",
        f"--nodes={len(request.shares)}",
        f"--nodelist={','.join(request.names)}",
        f"--cpus-per-task={request.threads}",
        *(() if request.whole_nodes else ("--exact",)),
        "--mem=0",
        *_gpu_options(share),
        "--kill-on-bad-exit=1",
        "--quit-on-interrupt",
        f"--immediate={_STEP_WAIT_S}",
    )
    command = (launcher.program, *options, *launcher.options, *request.command)
    return Launch(command, request.variables(), request.folder, output_in(request.folder), stdin=request.stdin)


def _gpu_options(share: Share) -> tuple[str, ...]:
    if not share.node.gpus:
        return ()
    return (f"--gres=gpu:{len(share.gpus)}" if share.gpus else "--gres=none",)


def was_cancelled(errors: str) -> bool:
    """Whether the step was ended from outside, and not by srun itself because one of its ranks had failed."""
    if any(text in errors for text in _JOB_OVER):
        return True
    before, cancelled, _ = errors.partition("CANCELLED AT ")
    own = any(text in before for text in ("Terminating StepId", "Exited with exit code"))
    return (bool(cancelled) and not own) or set(_RANK_END.findall(errors)) == {"Terminated"}


def was_killed(errors: str) -> bool:
    """Whether no rank failed by itself, and one was killed; srun's exit code is that of those it terminates then."""
    reasons = set(_RANK_END.findall(errors))
    return "Killed" in reasons and reasons <= {"Killed", "Terminated"}


def lost_nodes(names: Sequence[str]) -> tuple[str, ...]:
    """Nodes that a running job has lost: a step on a node that went down is refused without its name."""
    job = os.environ.get("SLURM_JOB_ID", "")
    question = ["squeue", "--noheader", f"--jobs={job}", "--states=RUNNING", "--format=%N"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=_ANSWER_S, check=True).stdout
        kept = expand_hostlist(answer)
    except (OSError, subprocess.SubprocessError, DispatchError):
        return ()
    return tuple(name for name in names if name not in kept)


DIALECT = Dialect(
    program="srun",
    compose=compose,
    stop_signal=signal.SIGINT,
    fault_texts=(
        "failed on node {node}: ",
        "DUE TO NODE FAILURE",
        "Node failure on {node}",
        _NO_STEP,
    ),
    was_cancelled=was_cancelled,
    was_killed=was_killed,
    lost_nodes=lost_nodes,
)
