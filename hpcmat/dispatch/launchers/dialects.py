"""All dialects by name, and what follows from an ended launch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hpcmat.dispatch.launchers import fujitsu, hydra, openmpi, slurm
from hpcmat.dispatch.launchers.request import Dialect, Launch, Launcher, LaunchRequest, Output
from hpcmat.errors import DispatchError, InputError

DIALECTS = {
    "hydra": hydra.DIALECT,
    "openmpi": openmpi.DIALECT,
    "srun": slurm.DIALECT,
    "fujitsu": fujitsu.DIALECT,
}


@dataclass(frozen=True, slots=True)
class Blame:
    """Nodes that a failed launch speaks against."""

    certain: tuple[str, ...] = ()
    """Named by the launcher."""
    suspected: tuple[str, ...] = ()
    """One of these, but it does not say which."""

    def __bool__(self) -> bool:
        return bool(self.certain or self.suspected)


def dialect_of(launcher: Launcher) -> Dialect:
    """Dialect of a launcher.

    Raises
    ------
    InputError
        Where there is no such dialect.
    """
    try:
        return DIALECTS[launcher.dialect]
    except KeyError:
        from hpcmat.toml_input import did_you_mean

        hint = did_you_mean(launcher.dialect, DIALECTS)
        known = ", ".join(DIALECTS)
        raise InputError(f"unknown launcher dialect '{launcher.dialect}'; {hint} known: {known}") from None


def compose(launcher: Launcher, request: LaunchRequest) -> Launch:
    """How this launcher starts a request.

    Raises
    ------
    InputError
        Where there is no such dialect.
    DispatchError
        Where the launcher cannot do what is asked.
    """
    dialect = dialect_of(launcher)
    if not dialect.shares_nodes and not request.whole_nodes:
        raise DispatchError(f"launcher '{launcher.dialect}' cannot share a node between tasks; ask for whole nodes")
    return dialect.compose(replace(launcher, program=launcher.program or dialect.program), request)


def check_tcp(launcher: Launcher, nodes: int) -> None:
    """Refuse a pilot that would keep TCP connections to more nodes than the machine's manual allows.

    Raises
    ------
    DispatchError
        Where there are too many nodes.
    """
    limit = dialect_of(launcher).tcp_nodes
    if limit is not None and nodes > limit:
        raise DispatchError(f"{nodes} nodes must not be served by TCP, at most {limit}; use MPI between them")


def blame(launcher: Launcher, errors: str, names: Sequence[str]) -> Blame:
    """Nodes at fault, by what the launcher wrote to standard error; none where the program itself failed."""
    texts = dialect_of(launcher).fault_texts
    certain = tuple(name for name in names if any(t.format(node=name) in errors for t in texts if "{node}" in t))
    if certain or not any(text in errors for text in texts if "{node}" not in text):
        return Blame(certain)
    return Blame(suspected=tuple(names))


def collect(output: Output, folder: Path) -> None:
    """Append the files of the ranks, in the order of ranks, to the launcher's own output, and delete them."""
    for target, pattern in ((output.stdout, output.rank_stdout), (output.stderr, output.rank_stderr)):
        if pattern:
            _append(target, sorted(folder.glob(pattern), key=_rank_of))


def _rank_of(path: Path) -> int:
    return int(path.suffix[1:])


def _append(target: Path, parts: list[Path]) -> None:
    with target.open("ab") as whole:
        for part in parts:
            whole.write(part.read_bytes())
    for part in parts:
        part.unlink()
