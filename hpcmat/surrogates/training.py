"""The fit as a task: labels out of the store, a potential and its figures into the work folder."""

from __future__ import annotations

import errno
import io
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from hpcmat.errors import InputError, StorageError
from hpcmat.records import Failure, FailureKind, Label, Structure, decode, encode
from hpcmat.store.atomic import write_bytes
from hpcmat.store.keys import content_key
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.ace import PRINCIPAL_EXPONENT, SMOOTHNESS_EXPONENT, AceSettings, basis_for
from hpcmat.surrogates.equation_of_state import EquationOfState, fit_equation_of_state
from hpcmat.surrogates.fitting import (
    PULAY_PRIOR_PRECISION,
    TARGET_ENERGY,
    TARGET_FORCES,
    TARGET_STRESS,
    Fit,
    fit_potential,
    software_versions,
)
from hpcmat.surrogates.generic import generic_structures
from hpcmat.surrogates.model_file import FORMAT_VERSION, ModelMetadata
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.scoring import Comparison, Errors, FrameScore, compare, summarise

__all__ = [
    "CrystalFigures",
    "Errors",
    "FitRequest",
    "FitResult",
    "FrameScore",
    "ReferenceCheck",
    "check_reference",
    "fit_key",
    "run_fit",
    "warm_up",
]

Floats = NDArray[np.float64]

MODEL_FILE = "potential.npz"
PARITY_FILE = "parity.npz"
REFERENCE_VOLUMES = 21
"""Volumes at which the potential's equation of state is sampled."""


@dataclass(frozen=True, slots=True)
class FitRequest:
    """What to fit to what; keys name results of the store."""

    store: str
    """Root folder of the result store."""
    settings: AceSettings
    train: tuple[str, ...]
    """Label keys, sorted."""
    validation: tuple[str, ...] = ()
    previous: str | None = None
    """Key of the fit before: its potential scores the labels it has not seen."""
    reference: tuple[str, ...] = ()
    """Label keys of perfect crystals at several volumes, for the equation of state; never trained on."""


@dataclass(frozen=True, slots=True)
class CrystalFigures:
    """Equation of state of the reference crystal."""

    volume_ang3_per_atom: float
    lattice_constant_ang: float
    """(volume of the reference cell)^(1/3)"""
    bulk_modulus_gpa: float
    energy_ev_per_atom: float


@dataclass(frozen=True, slots=True)
class ReferenceCheck:
    """The reference crystal by the labels and by the potential."""

    label: CrystalFigures
    potential: CrystalFigures


@dataclass(frozen=True, slots=True)
class FitResult:
    """Figures of one fit; the potential itself lies in the work folder."""

    model_file: str
    n_train: int
    n_features: int
    effective_parameters: float
    noise_energy: float
    """eV/atom"""
    noise_forces: float
    """eV/Å"""
    noise_stress: float
    """eV/Å³"""
    train: Errors
    validation: tuple[FrameScore, ...]
    prequential: tuple[FrameScore, ...]
    """Labels that the previous potential had not seen, scored by it before they were absorbed."""
    reference: ReferenceCheck | None
    """None without reference labels, or where labels or potential have no minimum in the range of volumes."""
    kind: Literal["fit"] = "fit"


class _Unreadable(Exception):
    """A key has no readable result of the expected kind; the message is for a Failure."""


def fit_key(request: FitRequest) -> str:
    """Content key of a fit: settings, labels, weights and priors; not the store.

    The previous fit belongs to it, because the prequential scores in the result depend on it.
    """
    physics = {
        "protocol": [
            FORMAT_VERSION,
            TARGET_ENERGY,
            TARGET_FORCES,
            TARGET_STRESS,
            SMOOTHNESS_EXPONENT,
            PRINCIPAL_EXPONENT,
            PULAY_PRIOR_PRECISION,
        ],
        "settings": asdict(request.settings),
        "train": request.train,
        "validation": request.validation,
        "previous": request.previous,
        "reference": request.reference,
    }
    return content_key("fit", json.dumps(physics))


def run_fit(request: str, folder: Path, attempt: int) -> str:
    """Runner: fit, write `potential.npz` and `parity.npz` into `folder`, return a FitResult or a Failure.

    Without training labels the failure is "bad settings"; a label or previous fit that is missing or unreadable
    gives "corrupt output", a full disk "disk full". The answer does not depend on `attempt`.
    """
    try:
        asked = decode(FitRequest, request)
    except ValidationError as error:
        return _failure(FailureKind.BAD_SETTINGS, f"not a fit request; send one: {error}")
    if not asked.train:
        return _failure(FailureKind.BAD_SETTINGS, "no training labels; label at least one structure before fitting")
    try:
        return encode(_fit(asked, folder))
    except StorageError as error:
        if not _is_disk_full(error):
            raise
        return _failure(FailureKind.DISK_FULL, str(error))
    except _Unreadable as error:
        return _failure(FailureKind.CORRUPT_OUTPUT, str(error))
    except InputError as error:
        return _failure(FailureKind.BAD_SETTINGS, str(error))


def warm_up(request: str) -> None:
    """Load or compile the kernels for the request's basis, so that a forked child starts at once."""
    settings = decode(FitRequest, request).settings
    structure = generic_structures(settings.elements, settings.seed)[0]
    n = len(structure)
    basis = basis_for(settings)
    zero = Potential(
        settings, basis.model.mixing, np.zeros(basis.n_features), np.zeros((1, 1)), np.ones(3), ModelMetadata()
    )
    if len(zero.predict(structure).forces) != n or len(basis.prior_precision) != basis.n_features:
        raise InputError("the kernels give arrays of a wrong shape; reinstall hpcmat")


def _is_disk_full(error: StorageError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in {errno.ENOSPC, errno.EDQUOT}


def _failure(kind: FailureKind, message: str) -> str:
    return encode(Failure(kind, message))


def _fit(asked: FitRequest, folder: Path) -> FitResult:
    store = ResultStore(Path(asked.store))
    train = _labels(store, asked.train)
    validation = _labels(store, asked.validation)
    reference = tuple(_labels(store, asked.reference).values())
    prequential = _prequential(store, asked.previous, {**train, **validation})
    metadata = ModelMetadata(asked.train, asked.validation, software=software_versions())
    fit = fit_potential(tuple(train.values()), asked.settings, metadata)
    on_train = _comparisons(fit.potential, train)
    on_validation = _comparisons(fit.potential, validation)
    _describe(fit.potential, on_train, on_validation).save(folder / MODEL_FILE)
    _write_parity(folder / PARITY_FILE, on_train, on_validation)
    return _result(fit, on_train, (_scores(on_validation), prequential), check_reference(fit.potential, reference))


def _result(
    fit: Fit,
    on_train: tuple[Comparison, ...],
    scores: tuple[tuple[FrameScore, ...], tuple[FrameScore, ...]],
    reference: ReferenceCheck | None,
) -> FitResult:
    potential = fit.potential
    return FitResult(
        model_file=MODEL_FILE,
        n_train=len(on_train),
        n_features=len(potential.coefficients),
        effective_parameters=fit.posterior.effective_parameters,
        noise_energy=potential.noise_energy,
        noise_forces=potential.noise_forces,
        noise_stress=potential.noise_stress,
        train=summarise(on_train),
        validation=scores[0],
        prequential=scores[1],
        reference=reference,
    )


def _labels(store: ResultStore, keys: tuple[str, ...]) -> dict[str, Label]:
    return {key: _label(store, key) for key in keys}


def _label(store: ResultStore, key: str) -> Label:
    record = store.read(key)
    if record is None:
        raise _Unreadable(f"label {key[:12]} is missing or damaged in the store; compute it again")
    try:
        return decode(Label, record.outcome)
    except ValidationError as error:
        raise _Unreadable(f"result {key[:12]} is not a label; compute it again") from error


def _prequential(store: ResultStore, previous: str | None, labels: dict[str, Label]) -> tuple[FrameScore, ...]:
    """Scores by the previous potential of what it has neither been trained on nor judged by."""
    if previous is None:
        return ()
    try:
        potential = Potential.load(store.folder(previous) / MODEL_FILE)
    except (StorageError, InputError) as error:
        raise _Unreadable(f"previous fit {previous[:12]} cannot be read ({error}); fit without it") from error
    seen = {*potential.metadata.train, *potential.metadata.validation}
    return _scores(_comparisons(potential, {key: label for key, label in labels.items() if key not in seen}))


def _comparisons(potential: Potential, labels: dict[str, Label]) -> tuple[Comparison, ...]:
    return tuple(compare(potential, key, label) for key, label in labels.items())


def _scores(comparisons: tuple[Comparison, ...]) -> tuple[FrameScore, ...]:
    return tuple(comparison.score() for comparison in comparisons)


def _describe(
    potential: Potential, on_train: tuple[Comparison, ...], on_validation: tuple[Comparison, ...]
) -> Potential:
    """The potential with its errors and calibration written into the metadata."""
    metadata = replace(
        potential.metadata,
        train_errors=_named(summarise(on_train)),
        validation_errors=_named(summarise(on_validation)) if on_validation else (),
        calibration=_calibration(_scores(on_validation)),
    )
    return replace(potential, metadata=metadata)


def _named(errors: Errors) -> tuple[tuple[str, float], ...]:
    return (
        ("energy_rmse_ev_per_atom", errors.energy_rmse),
        ("forces_rmse_ev_per_ang", errors.forces_rmse),
        ("stress_rmse_ev_per_ang3", errors.stress_rmse),
    )


def _calibration(scores: tuple[FrameScore, ...]) -> tuple[tuple[str, float], ...]:
    if not scores:
        return ()
    weights = [score.n_atoms for score in scores]
    return (
        ("forces_mean_z2", float(np.average([score.forces_z2 for score in scores], weights=weights))),
        ("forces_coverage_95", float(np.average([score.coverage_95 for score in scores], weights=weights))),
    )


def _write_parity(path: Path, on_train: tuple[Comparison, ...], on_validation: tuple[Comparison, ...]) -> None:
    arrays = {}
    for suffix, comparisons in (("train", on_train), ("validation", on_validation)):
        for index, name in enumerate(("label", "predicted", "sigma")):
            arrays[f"energy_{name}_{suffix}"] = np.array([c.energy[index] for c in comparisons])
            arrays[f"forces_{name}_{suffix}"] = np.concatenate([np.empty(0), *(c.forces[index] for c in comparisons)])
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_bytes(path, buffer.getvalue())


def check_reference(potential: Potential, reference: tuple[Label, ...]) -> ReferenceCheck | None:
    """Equation of state by the labels and by the potential over the same range of volumes."""
    if not reference:
        return None
    volumes = np.array([_volume(label.structure) for label in reference])
    seed = reference[int(np.argmin([label.energy / len(label.structure) for label in reference]))].structure
    scan = np.linspace(volumes.min(), volumes.max(), REFERENCE_VOLUMES)
    predicted = [potential.predict(_scaled(seed, volume)).energy / len(seed) for volume in scan]
    by_label = _figures_or_none(volumes, [label.energy / len(label.structure) for label in reference], len(seed))
    by_potential = _figures_or_none(scan, predicted, len(seed))
    return ReferenceCheck(by_label, by_potential) if by_label and by_potential else None


def _figures_or_none(volumes: Floats, energies: list[float], n_atoms: int) -> CrystalFigures | None:
    try:
        return _figures(fit_equation_of_state(volumes, energies), n_atoms)
    except InputError:
        return None


def _figures(state: EquationOfState, n_atoms: int) -> CrystalFigures:
    lattice = (state.volume * n_atoms) ** (1 / 3)
    return CrystalFigures(state.volume, lattice, state.bulk_modulus_gpa, state.energy)


def _volume(structure: Structure) -> float:
    return abs(float(np.linalg.det(structure.cell))) / len(structure)


def _scaled(structure: Structure, volume_per_atom: float) -> Structure:
    factor = (volume_per_atom / _volume(structure)) ** (1 / 3)
    return replace(structure, positions=structure.positions * factor, cell=structure.cell * factor)
