"""Hydra, the launcher of MPICH and its relatives (Intel MPI, MVAPICH, Cray's where built so)."""

from __future__ import annotations

from hpcmat.dispatch.launchers.request import Dialect, Launch, Launcher, LaunchRequest, output_in


def compose(launcher: Launcher, request: LaunchRequest) -> Launch:
    """`mpiexec -n N -ppn P -hosts a,b OPTIONS COMMAND`; Hydra passes its whole environment to the ranks."""
    counts = ("-n", str(request.ranks), "-ppn", str(request.ranks_per_node))
    command = (launcher.program, *counts, "-hosts", ",".join(request.names), *launcher.options, *request.command)
    environment = (*request.variables(), *request.gpu_variables())
    return Launch(command, environment, request.folder, output_in(request.folder), stdin=request.stdin)


DIALECT = Dialect(
    program="mpiexec",
    compose=compose,
    fault_texts=(
        "ssh: connect to host {node} ",
        "ssh: Could not resolve hostname {node}",
        "unable to connect to proxy",
    ),
)
