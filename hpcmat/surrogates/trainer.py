"""From a data set to a potential: settings are chosen from the training data alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase.data import atomic_numbers, covalent_radii

from hpcmat.errors import InputError
from hpcmat.records import Label
from hpcmat.surrogates.ace import INNER_ANG, AceBasis, AceSettings
from hpcmat.surrogates.baseline import composition_counts, have_another_zero, known_together
from hpcmat.surrogates.communicator import SERIAL, Communicator, at_root
from hpcmat.surrogates.cutoff import choose_cutoff
from hpcmat.surrogates.dataset import Dataset
from hpcmat.surrogates.evaluation import errors_on
from hpcmat.surrogates.fitting import Trained, fit_potential, rows_of, software_versions
from hpcmat.surrogates.mixing_training import chosen_for_mixing, train_mixing
from hpcmat.surrogates.potential import Potential

CUTOFFS_ANG = {"small": 5.0, "medium": 5.0, "large": 5.5}
"""Å; where the choice of the cutoff begins."""


GROUND_STRUCTURES = 60
"""Training structures, about, that the basis of several elements is laid on."""


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What a user may say about a fit."""

    size: Literal["small", "medium", "large"] = "medium"
    cutoff_ang: float | None = None
    """None: chosen by the evidence of a sample of the training set."""
    seed: int = 0


def fit_dataset(
    train: Dataset,
    options: FitOptions,
    tell: Callable[[str], None] = lambda _line: None,
    communicator: Communicator = SERIAL,
) -> Potential:
    """Fit a potential to a training set; its metadata say what it was fitted to and how well.

    The cutoff is chosen where none is asked for, and the channel mixing is trained where there are labels enough;
    `tell` is given one line per step. Ranks that give the same set share the work, and all get the same potential.

    Frames without forces are not used: their energy alone would be one row among thousands.

    Raises
    ------
    InputError
        No frame has forces, or the options cannot be right; on all ranks.
    """
    used = tuple(frame for frame in train.frames if len(frame.label.forces))
    if not used:
        raise InputError(
            f"{train.name}: no frame has both an energy and forces, which a fit needs; "
            "name the column by --forces-key KEY, or give another training set"
        )
    labels = tuple(frame.label for frame in used)
    start = _untrained_basis(labels, settings_for(train, options), _isolated_atoms(train, labels, tell))
    if options.cutoff_ang is None:
        cutoff = at_root(lambda: choose_cutoff(labels, start, communicator.cores, tell), communicator)
        start = start.with_cutoff(cutoff)
    form, trained = _trained_basis(labels, start, tell, communicator)
    fit = fit_potential(labels, form, communicator=communicator, threads=communicator.cores, trained=trained)
    for index, reason in zip(fit.dropped, fit.reasons, strict=True):
        tell(f"frame {used[index].index}: {reason}")
    absurd = {used[index].index for index in fit.dropped}
    left_out = [f.index for f in train.frames if not len(f.label.forces) or f.index in absurd]
    metadata = replace(
        fit.potential.metadata,
        software=software_versions(),
        train_file=train.source(tuple(left_out)),
        fit_options=_named(options),
        train_errors=errors_on(fit.potential, train, communicator),
    )
    return replace(fit.potential, metadata=metadata)


def _named(options: FitOptions) -> tuple[tuple[str, str], ...]:
    cutoff = "chosen" if options.cutoff_ang is None else str(options.cutoff_ang)
    return ("size", options.size), ("cutoff_ang", cutoff), ("seed", str(options.seed))


def _isolated_atoms(
    train: Dataset, labels: tuple[Label, ...], tell: Callable[[str], None]
) -> tuple[tuple[str, float], ...]:
    """Those of the set, unless their energies have another zero; what is not known without them is told."""
    counts, energies = composition_counts(labels, train.elements), np.array([label.energy for label in labels])
    known = dict(train.isolated)
    isolated = train.isolated
    if have_another_zero(counts, energies, np.array([known.get(symbol, np.nan) for symbol in train.elements])):
        tell("isolated atoms: not used, the frames' energies have another zero; compute them with the same settings")
        isolated = ()
    together = known_together(counts, train.elements, isolated)
    if together:
        tell(
            f"energies of {', '.join(together)}: the frames tell their sum and not their shares, "
            "so that other compositions are guessed; add an isolated atom of each"
        )
    return isolated


def _trained_basis(
    labels: tuple[Label, ...], basis: AceBasis, tell: Callable[[str], None], communicator: Communicator
) -> tuple[AceBasis, Trained | None]:
    """The basis with its channel mixing trained, and what that tells the fit."""
    n_columns = 1 + len(basis.fitted) + basis.model.mixing[0].size
    chosen = chosen_for_mixing(rows_of(labels, basis).counts, n_columns, basis.settings.seed)
    if not chosen.any():
        return basis, None
    seen = np.flatnonzero(chosen).tolist()
    shared = tuple(labels[index] for index in seen)
    best, scales = train_mixing(shared, basis, communicator.cores, tell, communicator)
    return best, Trained(frozenset(seen), scales)


def _untrained_basis(
    labels: tuple[Label, ...], settings: AceSettings, isolated: tuple[tuple[str, float], ...]
) -> AceBasis:
    """Of several elements, laid on some of the training structures: which of them meet and how near is not generic."""
    if len(settings.elements) == 1:
        return AceBasis(settings, isolated=isolated)
    structures = [label.structure for label in labels]
    some = structures[:: -(-len(structures) // GROUND_STRUCTURES)]
    with_element = [[s for s in structures if symbol in s.symbols][:1] for symbol in settings.elements]
    if not all(with_element):
        return AceBasis(settings, isolated=isolated)
    ground = (*some, *(structure for found in with_element for structure in found))
    return AceBasis(settings, ground=ground, isolated=isolated)


def settings_for(train: Dataset, options: FitOptions) -> AceSettings:
    """Settings of the basis; the usual cutoff of the size where none is given.

    Raises
    ------
    InputError
        The options cannot be right.
    """
    cutoff = CUTOFFS_ANG[options.size] if options.cutoff_ang is None else options.cutoff_ang
    return AceSettings(train.elements, cutoff, _inner_ang(train.elements), options.size, options.seed)


def _inner_ang(elements: tuple[str, ...]) -> float:
    """The smallest covalent radius, or that of the settings where it is shorter.

    The radial polynomials vary fastest where they begin, and their scale grows without bound below: neither must be
    near the shortest bonds.
    """
    return min(INNER_ANG, *(float(covalent_radii[atomic_numbers[symbol]]) for symbol in elements))
