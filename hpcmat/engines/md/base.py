"""What every code for molecular dynamics offers, and what it says when a run goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from hpcmat.engines.base import EngineFailure
from hpcmat.records import FailureKind
from hpcmat.surrogates.potential import Potential
from hpcmat_kernels.md.settings import Settings
from hpcmat_kernels.md.state import State, Trajectory

Code = Literal["kernels", "lammps"]


class DynamicsEngine(Protocol):
    """A code that moves atoms, bound to a potential."""

    @property
    def name(self) -> str:
        """Name of the code."""

    @property
    def version(self) -> str:
        """Version as the code itself states it."""

    def run(self, state: State, settings: Settings, steps: int) -> Trajectory:
        """Move the atoms by so many steps; frames at step 0 and at every `sample_every`-th.

        Raises
        ------
        InputError
            State, settings and potential do not fit together, or the code would ignore a setting.
        EngineFailure
            `DIVERGED` (the atoms flew apart or were lost), `NOT_FINITE`, or `CRASH`.
        """


def dynamics_with(code: Code, potential: Potential, folder: Path) -> DynamicsEngine:
    """The code of this name with a potential, which is exported to `folder` where the code needs that.

    Raises
    ------
    InputError
        The code, or what it takes to export the potential, is not installed.
    """
    from hpcmat.engines.md.kernels import KernelDynamics
    from hpcmat.engines.md.lammps import export_to_lammps

    return KernelDynamics(potential) if code == "kernels" else export_to_lammps(potential, folder)


def flown_apart(reason: str) -> EngineFailure:
    """Failure of a run in which atoms flew apart."""
    advice = "shorten the time step, relax the structure first, or teach the potential what it met"
    return EngineFailure(FailureKind.DIVERGED, f"{reason}; {advice}")
