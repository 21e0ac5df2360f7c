"""MPI tasks of many sizes inside one allocation, as a Parsl executor."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parsl.executors.base import ParslExecutor
from parsl.executors.errors import InvalidResourceSpecification
from parsl.utils import RepresentationMixin

from hpcmat.dispatch.launchers.dialects import compose, dialect_of
from hpcmat.dispatch.launchers.request import Launcher, LaunchRequest
from hpcmat.dispatch.orphans import EPOCH_VARIABLE, end_warden, start_warden
from hpcmat.dispatch.placement.calls import CALL_FILE, Call, CommandResult, mpi_command, pack_call, plain_function
from hpcmat.dispatch.placement.decision import never
from hpcmat.dispatch.placement.nodes import Node, Share
from hpcmat.dispatch.placement.outcome import Ended, Execution, StopReason, ended
from hpcmat.dispatch.placement.placer import GRACE_S, Job, Placer
from hpcmat.dispatch.placement.processes import LaunchProcess
from hpcmat.dispatch.placement.specification import Specification, parse_specification
from hpcmat.dispatch.placement.state import Policy, Request
from hpcmat.errors import DispatchError


@dataclass(frozen=True, slots=True)
class Limits:
    """Rules of one allocation."""

    ends_at: float | None = None
    """When the allocation ends, seconds since the epoch."""
    max_concurrent: int | None = None
    """Launches at a time; the dialect's own limit holds besides."""
    ageing_s: float = 600.0
    """So long a wait is worth one step of priority."""

    def policy(self, most: int | None) -> Policy:
        """The same on the clock of `time.monotonic`, with time to end the last tasks."""
        left = float("inf") if self.ends_at is None else self.ends_at - time.time() - GRACE_S
        counts = [count for count in (self.max_concurrent, most) if count is not None]
        return Policy(time.monotonic() + left, min(counts, default=None), self.ageing_s)


class PlacementExecutor(ParslExecutor, RepresentationMixin):  # type: ignore[misc]
    """Runs commands and Python functions under MPI on nodes that it shares out itself.

    A function is called by every rank, and what it returns on rank 0 is the result; it finds the others by mpi4py. For
    a command submit `mpi_command` with the command line as its argument. Each task has a folder of its own below the
    run directory, with its output and its result. A future that is cancelled ends its task, and whatever that started.

    Parameters
    ----------
    nodes : nodes of the allocation; `nodes_of_allocation` finds them.
    launcher : what starts the ranks.
    limits : end of the allocation and the like.
    label : name of the executor in Parsl, and of its folder.
    """

    def __init__(
        self, nodes: Sequence[Node], launcher: Launcher, limits: Limits = Limits(), label: str = "placement"
    ) -> None:
        super().__init__()
        names = [node.name for node in nodes]
        if not names or len(set(names)) < len(names):
            raise DispatchError(f"nodes must be at least one and differ in name: {', '.join(names) or 'none given'}")
        self.nodes, self.launcher, self.limits, self.label = tuple(nodes), launcher, limits, label
        self._dialect = dialect_of(launcher)
        self._ids = itertools.count(1)
        self._placer: Placer | None = None
        self._warden: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start to place tasks."""
        epoch = os.environ.get(EPOCH_VARIABLE)
        if epoch is None:
            # Nobody else would end the tasks of a driver that was killed.
            epoch = uuid.uuid4().hex
            self._warden = start_warden(epoch)
        self._policy = self.limits.policy(self._dialect.max_concurrent)
        self._placer = Placer(self.nodes, self._policy, {EPOCH_VARIABLE: epoch})

    def submit(
        self, func: Callable[..., Any], resource_specification: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Queue a function, or a command by way of `mpi_command`.

        Raises
        ------
        InvalidResourceSpecification
            Where what is asked for is not understood, or can never be had in this allocation.
        DispatchError
            Where the executor does not run, or a function or its arguments cannot be sent to other processes.
        """
        if self._placer is None:
            raise DispatchError("the executor does not run; call start() first, or load it into Parsl")
        wanted = parse_specification(resource_specification)
        task = next(self._ids)
        request = self._request(task, wanted)
        reason = never(request, self._placer.state, self._policy)
        if reason:
            raise InvalidResourceSpecification(set(resource_specification), reason)
        # Parsl hands its own keyword on to the function.
        named = {name: value for name, value in kwargs.items() if name != "parsl_resource_specification"}
        folder = Path(self.run_dir) / self.label / f"{task:06d}"
        job = _job(request, _Order(self.launcher, wanted, folder, Call(plain_function(func), args, named)))
        self._placer.submit(job)
        return job.future

    def fence(self, node: str) -> None:
        """Start nothing more on a node that is known to be down."""
        if self._placer is not None:
            self._placer.fence(node)

    def shutdown(self) -> None:
        """End all tasks with all their processes."""
        if self._placer is not None:
            self._placer.close()
            self._placer = None
        if self._warden is not None:
            end_warden(self._warden)
            self._warden = None
        super().shutdown()

    def monitor_resources(self) -> bool:
        """Parsl cannot watch processes that a launcher starts."""
        return False

    def _request(self, task: int, wanted: Specification) -> Request:
        return Request(
            task,
            wanted.demand(self._dialect.shares_nodes),
            time.monotonic(),
            wanted.expected_s,
            wanted.walltime_s,
            wanted.priority,
            wanted.checkpoint_s,
        )


@dataclass(frozen=True, slots=True)
class _Order:
    """A call, and where and with what it is started."""

    launcher: Launcher
    wanted: Specification
    folder: Path
    call: Call


class _LaunchWork:
    """The launch of a function or a command on the nodes that it got."""

    def __init__(self, execution: Execution, payload: bytes | None, marks: dict[str, str]) -> None:
        self._execution, self._payload = execution, payload
        process = LaunchProcess(execution.launch, dialect_of(execution.launcher).stop_signal, marks)
        self._process, self.stop, self.kill = process, process.stop, process.kill

    def run(self, stopped: Callable[[], StopReason | None]) -> Ended:
        """Write what the launch reads, and judge its end."""
        folder = self._execution.launch.folder
        folder.mkdir(parents=True)
        if self._payload is not None:
            (folder / CALL_FILE).write_bytes(self._payload)
        return ended(self._execution, self._process.run(), stopped())


def _job(request: Request, order: _Order) -> Job:
    call, wanted, folder = order.call, order.wanted, order.folder
    function = call.function is not mpi_command
    command, environment, stdin = _function_line(folder) if function else _command_line(*call.arguments, **call.named)
    payload = pack_call(call) if function else None

    def begin(shares: tuple[Share, ...], marks: dict[str, str]) -> _LaunchWork:
        ranks = wanted.ranks
        asked = LaunchRequest(
            command, ranks * len(shares), ranks, shares, folder, wanted.threads, tuple(environment.items()), stdin
        )
        execution = Execution(order.launcher, compose(order.launcher, asked), asked.names, function)
        return _LaunchWork(execution, payload, marks)

    return Job(request, Future(), begin)


_Line = tuple[tuple[str, ...], Mapping[str, str], Path | None]


def _function_line(folder: Path) -> _Line:
    # Ranks find what the driver finds.
    paths = os.pathsep.join(path for path in sys.path if path)
    return (sys.executable, "-m", "hpcmat.dispatch.placement.rank", str(folder)), {"PYTHONPATH": paths}, None


def _command_line(
    command: Sequence[str], environment: Mapping[str, str] | None = None, stdin: Path | None = None
) -> _Line:
    return tuple(map(str, command)), environment or {}, stdin


__all__ = ["CommandResult", "Limits", "PlacementExecutor", "mpi_command"]
