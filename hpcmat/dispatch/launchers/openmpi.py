"""Open MPI 5 (prterun) and 4 (orterun)."""

from __future__ import annotations

from hpcmat.dispatch.launchers.request import Dialect, Launch, Launcher, LaunchRequest, output_in


def compose(launcher: Launcher, request: LaunchRequest) -> Launch:
    """`mpiexec -n N --host a:P,b:P --map-by ppr:P:node... -x NAME... OPTIONS COMMAND`.

    It binds ranks to cores from core 0 on, whatever else runs there: on a shared node all tasks would sit on the same
    cores, so they are not bound at all there.
    """
    per_node = request.ranks_per_node
    hosts = ",".join(f"{name}:{per_node}" for name in request.names)
    placing = (f"ppr:{per_node}:node:PE={request.threads}", "core") if request.whole_nodes else ("slot", "none")
    environment = (*request.variables(), *request.gpu_variables())
    exported = tuple(word for name, _ in environment for word in ("-x", name))
    counts = ("-n", str(request.ranks), "--host", hosts, "--map-by", placing[0], "--bind-to", placing[1])
    command = (launcher.program, *counts, *exported, *launcher.options, *request.command)
    return Launch(command, environment, request.folder, output_in(request.folder), stdin=request.stdin)


DIALECT = Dialect(
    program="mpiexec",
    compose=compose,
    fault_texts=(
        "ssh: connect to host {node} ",
        "ssh: Could not resolve hostname {node}",
        "lost communication with a remote daemon",
        "lost communication with its daemon",
    ),
)
