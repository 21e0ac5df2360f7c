"""What is asked of a launcher, and what a dialect answers."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcmat.dispatch.placement.nodes import Share
from hpcmat.errors import DispatchError

WORLD_SIZE_VARIABLE = "HPCMAT_WORLD_SIZE"
"""Tells every rank how many ranks there should be."""


@dataclass(frozen=True, slots=True)
class LaunchRequest:
    """`ranks` processes of one command, `ranks_per_node` on each of the nodes, `threads` in each."""

    command: tuple[str, ...]
    ranks: int
    ranks_per_node: int
    shares: tuple[Share, ...]
    folder: Path
    """Work folder: where the command runs and the output goes."""
    threads: int = 1
    environment: tuple[tuple[str, str], ...] = ()
    stdin: Path | None = None

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise DispatchError(f"launch of {' '.join(self.command)[:80]!r}: {problem}")

    def _problem(self) -> str:
        if not self.command:
            return "there is no command; give a program and its arguments"
        if min(self.ranks, self.ranks_per_node, self.threads) < 1:
            return "ranks, ranks per node and threads must be positive"
        if self.ranks != self.ranks_per_node * len(self.shares):
            return f"{self.ranks} ranks are not {self.ranks_per_node} on each of {len(self.shares)} nodes; correct one"
        if not self.folder.is_absolute():
            return f"the work folder {self.folder} must be an absolute path"
        return ""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the nodes."""
        return tuple(share.node.name for share in self.shares)

    @property
    def whole_nodes(self) -> bool:
        """Whether no other task runs on these nodes."""
        return all(share.whole for share in self.shares)

    def variables(self) -> tuple[tuple[str, str], ...]:
        """Environment that every dialect sets: threads and size of the world; the request's own wins."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
        common = {name: str(self.threads) for name in names} | {WORLD_SIZE_VARIABLE: str(self.ranks)}
        return tuple((common | dict(self.environment)).items())

    def gpu_variables(self) -> tuple[tuple[str, str], ...]:
        """Environment that shows a task its GPUs alone where it shares a node (CUDA and ROCm)."""
        if self.whole_nodes:
            return ()
        numbers = ",".join(map(str, self.shares[0].gpus))
        return (("CUDA_VISIBLE_DEVICES", numbers), ("ROCR_VISIBLE_DEVICES", numbers))


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file that must exist before the launcher starts."""

    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """Where output lies once the launch has ended."""

    stdout: Path
    stderr: Path
    rank_stdout: str = ""
    """Pattern, in the work folder, of files that hold each rank's output; empty where the launcher forwards it.

    Their names end in the number of the rank.
    """
    rank_stderr: str = ""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one task: to be executed in `folder` with `environment` added to the driver's own."""

    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    folder: Path
    output: Output
    files: tuple[TextFile, ...] = ()
    stdin: Path | None = None


@dataclass(frozen=True, slots=True)
class Launcher:
    """A launcher of a site: its dialect, the program's name or path, and options for every launch."""

    dialect: str
    program: str = ""
    """The dialect's usual name where empty."""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a launcher can do, and the function that speaks to it."""

    program: str
    compose: Callable[[Launcher, LaunchRequest], Launch]
    shares_nodes: bool = True
    """Whether two launches may run on one node."""
    max_concurrent: int | None = None
    """Launches that one job may have at a time."""
    tcp_nodes: int | None = None
    """Nodes beyond which programs should not talk by TCP."""
    stop_signal: signal.Signals = signal.SIGTERM
    """Makes the launcher end all ranks, those on other nodes included."""
    fault_texts: tuple[str, ...] = ()
    """What it writes to standard error where a node, not the program, failed; `{node}` stands for the name."""
    was_cancelled: Callable[[str], bool] = lambda errors: False
    """Whether, by what it wrote there, somebody outside ended the launch."""
    was_killed: Callable[[str], bool] = lambda errors: False
    """Whether, by what it wrote there, a rank was killed from outside, whatever its own exit code."""
    lost_nodes: Callable[[Sequence[str]], tuple[str, ...]] | None = None
    """Asks the scheduler which of these nodes the job has lost, where failed launches do not tell."""


def output_in(folder: Path) -> Output:
    """Place of the output of launchers that forward it."""
    return Output(folder / "stdout.txt", folder / "stderr.txt")
