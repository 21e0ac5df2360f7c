"""Several engines on the same structures, in the manner of Lejaeghere et al., Science 351, aad3000 (2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpcmat.engines.settings import EngineSettings
from hpcmat.engines.study.calculations import Calculated, calculate
from hpcmat.engines.study.differences import Differences, delta_mev_per_atom, differences
from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.equation_of_state import EquationOfState, fit_equation_of_state


@dataclass(frozen=True, slots=True, eq=False)
class Studied:
    """One engine: its labels, and how far they are from those of the first engine."""

    settings: EngineSettings
    frames: Calculated
    volumes: Calculated
    """The crystal at several volumes."""
    state: EquationOfState | None
    state_missing: str
    """Why there is no equation of state; empty where there is one."""
    apart: Differences | None = None
    """From the first engine; None for itself."""
    delta_mev_per_atom: float | None = None
    """Between its equation of state and the first engine's."""

    @property
    def complete(self) -> bool:
        """Whether no calculation failed, and there is an equation of state where one was asked for."""
        failed = self.frames.failures or self.volumes.failures
        return not failed and (self.state is not None or not self.volumes.outcomes)


def compare(
    engines: Sequence[EngineSettings], frames: Sequence[Structure], volumes: Sequence[Structure], folder: Path
) -> tuple[Studied, ...]:
    """Run all engines on all structures.

    Parameters
    ----------
    engines : the others are compared with the first.
    frames : structures whose energies, forces and stresses are compared.
    volumes : one crystal at several volumes; none for no equation of state.
    folder : where the calculations are made.
    """
    studied = [_study(settings, frames, volumes, folder / str(n)) for n, settings in enumerate(engines)]
    return (studied[0], *(_apart(studied[0], other) for other in studied[1:]))


def _study(
    settings: EngineSettings, frames: Sequence[Structure], volumes: Sequence[Structure], folder: Path
) -> Studied:
    labels = calculate(settings, frames, folder / "frames")
    crystal = calculate(settings, volumes, folder / "volumes")
    try:
        return Studied(settings, labels, crystal, _state(crystal), "")
    except InputError as error:
        return Studied(settings, labels, crystal, None, str(error))


def _state(crystal: Calculated) -> EquationOfState:
    labels = [label for label in crystal.labels if label is not None]
    cells = [label.structure for label in labels]
    per_atom = [abs(float(np.linalg.det(cell.cell))) / len(cell) for cell in cells]
    energies = [label.energy / len(label.structure) for label in labels]
    return fit_equation_of_state(per_atom, energies)


def _apart(first: Studied, other: Studied) -> Studied:
    return Studied(
        other.settings,
        other.frames,
        other.volumes,
        other.state,
        other.state_missing,
        differences(first.frames.labels, other.frames.labels),
        delta_mev_per_atom(first.state, other.state),
    )
