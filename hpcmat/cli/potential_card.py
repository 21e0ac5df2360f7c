"""The model card of a potential from its data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpcmat.errors import HpcmatError
from hpcmat.records import Structure
from hpcmat.report.model_card import (
    CardInput,
    DataFile,
    EnergyVolumeCurve,
    JudgedFrame,
    PhysicalCheck,
    elastic_checks,
    judge,
    write_model_card,
)
from hpcmat.surrogates.ace import cell_volume
from hpcmat.surrogates.dataset import Dataset
from hpcmat.surrogates.elastic import MOST_ATOMS, elastic_constants, mechanics_of
from hpcmat.surrogates.extrapolation import ExtrapolationLimits
from hpcmat.surrogates.potential import Potential

AT_REST_EV_PER_ANG = 0.05
"""Largest force in a frame that is taken for a crystal at rest."""
STRETCH = np.linspace(0.94, 1.06, 25)
"""Lengths, over those of the crystal, at which its energy is shown."""


def make_card(path: Path, potential: Potential, train: Dataset, test: Dataset | None) -> None:
    """Write the card; errors as `write_model_card`."""
    crystal = crystal_at_rest(train)
    named = [value for _, value in potential.metadata.extrapolation_limits]
    limits = ExtrapolationLimits(*named) if named else None
    card = CardInput(
        name=path.stem,
        train=_judged(potential, train),
        test=_judged(potential, test, limits) if test else (),
        data=tuple(_file(data, role) for data, role in ((train, "train"), (test, "test")) if data),
        checks=_checks(potential, crystal) if crystal else (),
        curves=(_curve(potential, crystal),) if crystal else (),
        limits=limits,
    )
    write_model_card(path, potential, card)


def crystal_at_rest(data: Dataset) -> Structure | None:
    """The small periodic frame of lowest energy per atom among those without forces to speak of, or None."""
    resting = [
        (frame.label.energy / len(frame.label.structure), frame.index, frame.label.structure)
        for frame in data.frames
        if 1 < len(frame.label.structure) <= MOST_ATOMS
        and all(frame.label.structure.pbc)
        and len(frame.label.forces)
        and np.abs(frame.label.forces).max() < AT_REST_EV_PER_ANG
    ]
    return min(resting)[2] if resting else None


def _judged(potential: Potential, data: Dataset, limits: ExtrapolationLimits | None = None) -> tuple[JudgedFrame, ...]:
    return judge(potential, ((frame.group, frame.label) for frame in data.frames if len(frame.label.forces)), limits)


def _file(data: Dataset, role: str) -> DataFile:
    return DataFile(data.name, role, len(data.frames), data.sha256)


def _checks(potential: Potential, crystal: Structure) -> tuple[PhysicalCheck, ...]:
    try:
        return elastic_checks(elastic_constants(mechanics_of(potential), crystal))
    except HpcmatError:
        # A potential that has no such crystal is described by its errors; the card shows no constants then.
        return ()


def _curve(potential: Potential, crystal: Structure) -> EnergyVolumeCurve:
    scaled = [Structure(crystal.symbols, crystal.positions * s, crystal.cell * s, crystal.pbc) for s in STRETCH]
    n = len(crystal)
    return EnergyVolumeCurve(
        crystal=f"{'-'.join(sorted(set(crystal.symbols)))}, {n} atoms, the training frame of lowest energy at rest",
        volumes=np.array([cell_volume(structure) / n for structure in scaled]),
        energies=np.array([potential.predict(structure).energy / n for structure in scaled]),
        reference_volumes=np.empty(0),
        reference_energies=np.empty(0),
    )
