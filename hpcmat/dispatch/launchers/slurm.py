"""Slurm's srun inside an allocation: each launch is a job step, whose cores and GPUs Slurm itself keeps apart."""

from __future__ import annotations

import signal

from hpcmat.dispatch.launchers.request import Dialect, Launch, Launcher, LaunchRequest, output_in


def compose(launcher: Launcher, request: LaunchRequest) -> Launch:
    """`srun --ntasks=N ... --nodelist=a,b --exact --mem=0 --quit-on-interrupt OPTIONS COMMAND`.

    On a shared node `--exact` gives a step only the cores it asks for, or the first step would hold them all; `--mem=0`
    keeps steps from waiting for each other's memory. One interrupt then ends the step on all its nodes.
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
        *((f"--gpus-per-node={len(share.gpus)}",) if share.gpus else ()),
        "--kill-on-bad-exit=1",
        "--quit-on-interrupt",
    )
    command = (launcher.program, *options, *launcher.options, *request.command)
    return Launch(command, request.variables(), request.folder, output_in(request.folder), stdin=request.stdin)


DIALECT = Dialect(
    program="srun",
    compose=compose,
    stop_signal=signal.SIGINT,
    fault_texts=(
        "failed on node {node}: ",
        "DUE TO NODE FAILURE",
        "Node failure on {node}",
    ),
)
