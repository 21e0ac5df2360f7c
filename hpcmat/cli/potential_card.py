"""The model card of a potential from its data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hpcmat.errors import HpcmatError
from hpcmat.records import Label, Structure
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
from hpcmat.surrogates.baseline import composition_counts, known_together
from hpcmat.surrogates.crystals import crystal_at_rest, scaled_copies
from hpcmat.surrogates.dataset import Dataset
from hpcmat.surrogates.elastic import elastic_constants, mechanics_of
from hpcmat.surrogates.extrapolation import ExtrapolationLimits
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.training import check_reference

STRETCH = np.linspace(0.94, 1.06, 25)
"""Lengths, over those of the crystal, at which its energy is shown."""


def make_card(path: Path, potential: Potential, train: Dataset, test: Dataset | None) -> None:
    """Write the card; errors as `write_model_card`."""
    crystal = crystal_at_rest(train)
    sets = (train, test) if test else (train,)
    at_volumes = tuple(label for data in sets for label in scaled_copies(data, crystal)) if crystal else ()
    named = [value for _, value in potential.metadata.extrapolation_limits]
    limits = ExtrapolationLimits(*named) if named else None
    card = CardInput(
        name=path.stem,
        train=_judged(potential, train),
        test=_judged(potential, test, limits) if test else (),
        data=tuple(_file(data, role) for data, role in ((train, "train"), (test, "test")) if data),
        checks=(*_elastic(potential, crystal), *_volume_and_stiffness(potential, at_volumes)) if crystal else (),
        curves=(_curve(potential, crystal, at_volumes),) if crystal else (),
        limits=limits,
        notes=_notes(potential, train),
    )
    write_model_card(path, potential, card)


def _notes(potential: Potential, train: Dataset) -> tuple[str, ...]:
    counts = composition_counts((frame.label for frame in train.frames), train.elements)
    together = known_together(counts, train.elements, potential.metadata.atom_energies)
    return (
        (f"Energies of {', '.join(together)} are known only together: other compositions are guesses.",)
        if together
        else ()
    )


def _judged(potential: Potential, data: Dataset, limits: ExtrapolationLimits | None = None) -> tuple[JudgedFrame, ...]:
    return judge(potential, ((frame.group, frame.label) for frame in data.frames if len(frame.label.forces)), limits)


def _file(data: Dataset, role: str) -> DataFile:
    return DataFile(data.name, role, len(data.frames), data.sha256)


def _elastic(potential: Potential, crystal: Structure) -> tuple[PhysicalCheck, ...]:
    try:
        return elastic_checks(elastic_constants(mechanics_of(potential), crystal))
    except HpcmatError:
        # A potential that has no such crystal is described by its errors; the card shows no constants then.
        return ()


def _volume_and_stiffness(potential: Potential, at_volumes: tuple[Label, ...]) -> tuple[PhysicalCheck, ...]:
    """Equation of state by the potential beside that of the labels, where these cover a minimum."""
    found = check_reference(potential, at_volumes)
    if found is None:
        return ()
    source = f"labels at {len(at_volumes)} volumes"
    return (
        PhysicalCheck(
            "equilibrium volume, Å³/atom",
            found.potential.volume_ang3_per_atom,
            found.label.volume_ang3_per_atom,
            source,
        ),
        PhysicalCheck(
            "B of the equation of state, GPa", found.potential.bulk_modulus_gpa, found.label.bulk_modulus_gpa, source
        ),
    )


def _curve(potential: Potential, crystal: Structure, at_volumes: tuple[Label, ...]) -> EnergyVolumeCurve:
    scaled = [Structure(crystal.symbols, crystal.positions * s, crystal.cell * s, crystal.pbc) for s in STRETCH]
    n = len(crystal)
    return EnergyVolumeCurve(
        crystal=f"{'-'.join(sorted(set(crystal.symbols)))}, {n} atoms, the training frame of lowest energy at rest",
        volumes=np.array([cell_volume(structure) / n for structure in scaled]),
        energies=np.array([potential.predict(structure).energy / n for structure in scaled]),
        reference_volumes=np.array([cell_volume(label.structure) / n for label in at_volumes]),
        reference_energies=np.array([label.energy / n for label in at_volumes]),
    )
