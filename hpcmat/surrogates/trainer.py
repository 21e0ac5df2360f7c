"""From a data set to a potential: settings are chosen from the training data alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from hpcmat.errors import InputError
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.dataset import Dataset
from hpcmat.surrogates.evaluation import evaluate_dataset
from hpcmat.surrogates.fitting import fit_potential, software_versions
from hpcmat.surrogates.model_file import ModelMetadata
from hpcmat.surrogates.potential import Potential


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What a user may say about a fit."""

    size: Literal["small", "medium", "large"] = "medium"
    cutoff_ang: float | None = None
    """None: chosen here."""
    seed: int = 0


def fit_dataset(train: Dataset, options: FitOptions) -> Potential:
    """Fit a potential to a training set; its metadata say what it was fitted to and how well.

    Frames without forces are not used: their energy alone would be one row among thousands.

    Raises
    ------
    InputError
        No frame has forces, or the options cannot be right.
    """
    used = tuple(frame for frame in train.frames if len(frame.label.forces))
    if not used:
        raise InputError(
            f"{train.name}: no frame has both an energy and forces, which a fit needs; "
            "name the column by --forces-key KEY, or give another training set"
        )
    metadata = ModelMetadata(
        software=software_versions(),
        train_file=train.source(tuple(frame.index for frame in train.frames if not len(frame.label.forces))),
        fit_options=(
            ("size", options.size),
            ("cutoff_ang", "chosen" if options.cutoff_ang is None else str(options.cutoff_ang)),
            ("seed", str(options.seed)),
        ),
    )
    potential = fit_potential(tuple(frame.label for frame in used), settings_for(train, options), metadata).potential
    errors = evaluate_dataset(potential, train).total.named()
    return replace(potential, metadata=replace(potential.metadata, train_errors=errors))


def settings_for(train: Dataset, options: FitOptions) -> AceSettings:
    """Settings of the basis; the default cutoff where none is given.

    Raises
    ------
    InputError
        The options cannot be right.
    """
    settings = AceSettings(elements=train.elements, size=options.size, seed=options.seed)
    return settings if options.cutoff_ang is None else replace(settings, cutoff_ang=options.cutoff_ang)
