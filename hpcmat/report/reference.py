"""Results read from the store for the report: the equation of state, and the method that computed the labels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import ValidationError

from hpcmat.campaign.state import CampaignState
from hpcmat.errors import InputError, StorageError
from hpcmat.records import Label, Method, decode
from hpcmat.report.schema import EquationOfStatePoint
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.potential import Potential

MODEL_FILE = "potential.npz"


def equation_of_state(state: CampaignState, store: ResultStore) -> tuple[EquationOfStatePoint, ...]:
    """Energy of the reference cells by the engine and by the newest potential, by rising volume."""
    labels = [label for task in state.done("reference") if (label := read_label(store, task.key)) is not None]
    potential = newest_potential(state, store)
    points = [_point(label, potential) for label in labels]
    return tuple(sorted(points, key=lambda point: point.volume_ang3_per_atom))


def _point(label: Label, potential: Potential | None) -> EquationOfStatePoint:
    n = len(label.structure)
    return EquationOfStatePoint(
        volume_ang3_per_atom=abs(float(np.linalg.det(label.structure.cell))) / n,
        engine_ev_per_atom=label.energy / n,
        potential_ev_per_atom=None if potential is None else float(potential.predict(label.structure).energy) / n,
    )


def newest_potential(state: CampaignState, store: ResultStore) -> Potential | None:
    """Return the newest fit's potential; None before the first fit or where its file is gone."""
    if state.model is None:
        return None
    try:
        return Potential.load(store.folder(state.model.key) / MODEL_FILE)
    except (StorageError, InputError, OSError):
        return None


def read_label(store: ResultStore, key: str) -> Label | None:
    """Return a label of the store; None where it is gone or is none."""
    record = store.read(key)
    if record is None:
        return None
    try:
        return decode(Label, record.outcome)
    except ValidationError:
        return None


def label_method(state: CampaignState, store: ResultStore) -> Method | None:
    """What computed the labels, from the first one that can be read."""
    return next(_methods(state, store), None)


def _methods(state: CampaignState, store: ResultStore) -> Iterator[Method]:
    for task in state.done("train", "validation", "reference"):
        label = read_label(store, task.key)
        if label is not None:
            yield label.method
