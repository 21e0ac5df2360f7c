"""Nodes of an allocation, as the batch system names them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hpcmat.errors import DispatchError

_PART = re.compile(r"([^,\[]+|\[[^\]]*\])+")
_BRACKET = re.compile(r"\[([^\]]*)\]")


@dataclass(frozen=True, slots=True)
class Node:
    """What tasks may use of one node."""

    name: str
    cores: int
    gpus: int = 0
    coordinates: tuple[int, ...] = ()
    """Logical coordinates under PJM, which knows no host names."""


@dataclass(frozen=True, slots=True)
class Share:
    """Part of a node, or all of it, that one task holds."""

    node: Node
    cores: int
    gpus: tuple[int, ...] = ()
    """Numbers of the GPUs."""

    @property
    def whole(self) -> bool:
        """Whether nothing of the node is left for others."""
        return self.cores == self.node.cores and len(self.gpus) == self.node.gpus


def nodes_of_allocation(environment: Mapping[str, str], cores: int, gpus: int = 0) -> tuple[Node, ...]:
    """Nodes of the batch job in whose environment we are.

    Parameters
    ----------
    cores, gpus : of each node, that tasks may use.

    Raises
    ------
    DispatchError
        Outside of Slurm, PBS and PJM, or where what they say cannot be understood.
    """
    if listed := environment.get("SLURM_JOB_NODELIST") or environment.get("SLURM_NODELIST"):
        names = expand_hostlist(listed)
    elif file := environment.get("PBS_NODEFILE"):
        names = _names_in_file(Path(file))
    elif "PJM_JOBID" in environment:
        return tuple(Node(_coordinate_name(at), cores, gpus, at) for at in pjm_coordinates(environment))
    else:
        raise DispatchError("no allocation of Slurm, PBS or PJM around this process; give the list of nodes")
    return tuple(Node(name, cores, gpus) for name in names)


def expand_hostlist(text: str) -> tuple[str, ...]:
    """Names in Slurm's short form: `n[1-3,07],gpu-[01-02]-x` is n1, n2, n3, n07, gpu-01-x and gpu-02-x.

    Raises
    ------
    DispatchError
        Where the text is not of that form.
    """
    if text.count("[") != text.count("]") or not text.strip():
        raise DispatchError(f"list of nodes '{text}' is not understood; give the list of nodes explicitly")
    names = [name for part in _PART.finditer(text.strip()) for name in _expand_part(part.group())]
    return tuple(dict.fromkeys(names))


def pjm_coordinates(environment: Mapping[str, str]) -> tuple[tuple[int, ...], ...]:
    """Logical coordinates of a PJM job, in as many dimensions as its `-L node=` has.

    Raises
    ------
    DispatchError
        Where the shape and the number of nodes contradict each other.
    """
    lengths = [int(environment.get(f"PJM_NODE_{axis}") or 0) for axis in "XYZ"]
    shape = [length for length in lengths if length > 0] or [int(environment.get("PJM_NODE") or 0)]
    coordinates = tuple(itertools.product(*(range(length) for length in shape)))
    count = int(environment.get("PJM_NODE") or len(coordinates))
    if not coordinates or len(coordinates) != count:
        raise DispatchError(
            f"PJM_NODE says {count} nodes, PJM_NODE_X, _Y and _Z say {lengths}; give the list of nodes explicitly"
        )
    return coordinates


def _coordinate_name(coordinates: tuple[int, ...]) -> str:
    return f"({','.join(map(str, coordinates))})"


def _names_in_file(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text().split()
    except OSError as error:
        raise DispatchError(f"{path}: PBS_NODEFILE cannot be read ({error.strerror}); give the nodes") from error
    if not lines:
        raise DispatchError(f"{path}: PBS_NODEFILE is empty; give the list of nodes")
    # PBS repeats a node once per slot.
    return tuple(dict.fromkeys(lines))


def _expand_part(part: str) -> list[str]:
    pieces = _BRACKET.split(part)
    choices = [_expand_ranges(piece) if index % 2 else [piece] for index, piece in enumerate(pieces)]
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _expand_ranges(text: str) -> list[str]:
    numbers: list[str] = []
    for item in text.split(","):
        first, dash, last = item.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise DispatchError(f"range '[{text}]' of nodes is not understood; give the list of nodes explicitly")
        numbers += [str(n).zfill(len(first)) for n in range(int(first), int(last or first) + 1)]
    return numbers
