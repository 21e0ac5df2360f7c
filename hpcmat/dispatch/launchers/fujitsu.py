"""Fujitsu's mpiexec under PJM (Fugaku, Wisteria, Genkai): coordinates instead of host names, one file per rank.

From the manuals, not run on such a machine. Several launches at a time need disjoint coordinates, so two tasks never
share a node, and a job may have 128 of them.
"""

from __future__ import annotations

from hpcmat.dispatch.launchers.request import Dialect, Launch, Launcher, LaunchRequest, Output, TextFile
from hpcmat.errors import DispatchError

MAX_CONCURRENT = 128
"""Beyond, `[ERR.] PLE 0050 plexec cannot be executed any further.`"""
TCP_NODES = 512
"""`TCP/IP jobs should be run on no more than 512 nodes` (End-user's Guide 1.6.3.1)."""
_MANY_RANKS = 10_000
"""Beyond, files are spread over directories of 1,000 ranks, as the manual asks."""


def compose(launcher: Launcher, request: LaunchRequest) -> Launch:
    """`mpiexec -n N -vcoordfile F -stdout-proc P -stderr-proc P [-stdin F] OPTIONS COMMAND`.

    Raises
    ------
    DispatchError
        Where a node has no coordinates or would be shared.
    """
    _check(request)
    folder = request.folder
    coordinates = TextFile(folder / "vcoord.txt", _vcoord(request))
    many = request.ranks > _MANY_RANKS
    split, depth = ("%/1000r/", "*/") if many else ("", "")
    redirection = tuple(w for name in ("stdout", "stderr") for w in (f"-{name}-proc", f"{folder}/{split}rank-{name}"))
    stdin = ("-stdin", str(request.stdin)) if request.stdin else ()
    counts = ("-n", str(request.ranks), "-vcoordfile", str(coordinates.path))
    command = (launcher.program, *counts, *redirection, *stdin, *launcher.options, *request.command)
    place = Output(folder / "stdout.txt", folder / "stderr.txt", f"{depth}rank-stdout.*.*", f"{depth}rank-stderr.*.*")
    return Launch(command, request.variables(), folder, place, (coordinates,))


def _check(request: LaunchRequest) -> None:
    dimensions = {len(share.node.coordinates) for share in request.shares}
    if dimensions not in ({1}, {2}, {3}):
        raise DispatchError("Fujitsu's mpiexec needs coordinates of one to three numbers for all nodes; give them")
    if not request.whole_nodes:
        raise DispatchError("Fujitsu's mpiexec cannot share a node between launches; ask for whole nodes")
    places = [share.node.coordinates for share in request.shares]
    if len(set(places)) != len(places):
        raise DispatchError("a node stands twice in the list; coordinates may not overlap")


def _vcoord(request: LaunchRequest) -> str:
    lines = [
        f"({','.join(map(str, share.node.coordinates))}) core={request.threads}\n"
        for share in request.shares
        for _ in range(request.ranks_per_node)
    ]
    return "".join(lines)


DIALECT = Dialect(
    program="mpiexec",
    compose=compose,
    shares_nodes=False,
    max_concurrent=MAX_CONCURRENT,
    tcp_nodes=TCP_NODES,
)
