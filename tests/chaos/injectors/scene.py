"""What injectors see and give back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness import Trial
from slurm import Slurm

from chaos.plan import Fault


@dataclass(frozen=True, slots=True)
class Scene:
    """A campaign and the machine on which it runs."""

    trial: Trial
    disk: Path
    """Small file system that holds the campaign and its results."""
    slurm: Slurm


def _nothing() -> None:
    return


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Injury:
    """What was done, and how it is undone."""

    victim: str
    heal: Callable[[], None] = _nothing
    heals_after_s: float = 0.0
    heals_when: Callable[[], bool] | None = None
    """Whether an event ends it before that time."""
    healable: Callable[[], bool] = _always


Injector = Callable[[Fault, Scene], Injury | None]
"""None where there is no victim now; it is then asked again."""
