"""Where one task runs: its shares of nodes and what starts processes on them; handed to the guard of its ranks."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.placement.nodes import Share

if TYPE_CHECKING:
    from hpcmat.records import Parallel

_AIDES = ".launch"
"""Folder in a work folder for what guard and task tell each other."""
_PLACE, _ENDS = "place.pickle", "ends.jsonl"


@dataclass(frozen=True, slots=True)
class Place:
    """Shares of nodes, and as many ranks on each."""

    launcher: Launcher
    shares: tuple[Share, ...]
    ranks_per_node: int = 1
    threads: int = 1

    @property
    def ranks(self) -> int:
        """Ranks on all nodes together."""
        return self.ranks_per_node * len(self.shares)

    @property
    def cores(self) -> int:
        """Cores that are kept from other tasks."""
        return sum(share.cores for share in self.shares)


@dataclass(frozen=True, slots=True)
class LaunchEnd:
    """How one launch of a task ended, as its guard saw it."""

    code: int
    """Exit code, 128 + number of the signal where one ended the launcher."""
    certain: tuple[str, ...] = ()
    """Nodes that the launcher names as failed."""
    suspected: tuple[str, ...] = ()
    """Nodes one of which has failed."""
    cancelled: bool = False
    """Whether the scheduler, or who ended the task, ended it."""


def aides(folder: Path) -> Path:
    """Folder beside a task's own files; nothing in it is kept."""
    return folder / _AIDES


def settle_in(place: Place, folder: Path) -> Parallel:
    """Leave the place to the guard of a task in this work folder; returns what the task may use."""
    from hpcmat.records import Parallel

    aides(folder).mkdir(exist_ok=True)
    (aides(folder) / _PLACE).write_bytes(pickle.dumps(place))
    launch = (sys.executable, "-m", "hpcmat.dispatch.launchers.guard", str(folder))
    python = (*launch, sys.executable, "-m", "hpcmat.dispatch.launchers.world")
    return Parallel(place.ranks, place.threads, launch, python=python)


def place_in(folder: Path) -> Place:
    """The place that was left here."""
    place: Place = pickle.loads((aides(folder) / _PLACE).read_bytes())
    return place


def note_end(end: LaunchEnd, folder: Path) -> None:
    """Tell how a launch ended."""
    fields = {name: getattr(end, name) for name in LaunchEnd.__slots__}
    with (aides(folder) / _ENDS).open("a") as file:
        file.write(json.dumps(fields) + "\n")


def ends_in(folder: Path) -> tuple[LaunchEnd, ...]:
    """How the launches of a task have ended, first one first."""
    try:
        lines = (aides(folder) / _ENDS).read_text().splitlines()
    except OSError:
        return ()
    known = [json.loads(line) for line in lines]
    return tuple(LaunchEnd(k["code"], tuple(k["certain"]), tuple(k["suspected"]), k["cancelled"]) for k in known)


def move_out(folder: Path) -> None:
    """Delete what was told."""
    shutil.rmtree(aides(folder), ignore_errors=True)
