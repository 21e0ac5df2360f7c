"""The potential on disk: one npz archive of arrays and one JSON text that says what they are."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from hpcmat.errors import StorageError, VersionError
from hpcmat.records import decode, encode
from hpcmat.store.atomic import write_bytes
from hpcmat.surrogates.ace import AceSettings, count_features, mixing_shape
from hpcmat.surrogates.graded_noise import GradedNoise, Term
from hpcmat.surrogates.label_noise import LabelNoise, constant_noise

Floats = NDArray[np.float64]

FORMAT = "hpcmat-ace"
FORMAT_VERSION = 2
"""Version of the file; a reader refuses newer ones. 2: `core`, and `covariance_packed` in place of the factor."""


NOISE_KINDS = ("energy", "forces", "stress")
"""In the order of the constant noise."""


@dataclass(frozen=True, slots=True)
class DataSource:
    """A file of labelled structures that a potential was fitted to or judged by."""

    file: str
    """Name without its folder."""
    sha256: str
    keys: tuple[tuple[str, str], ...]
    """(energy, forces or stress, name under which the file holds it)"""
    n_read: int
    """Frames in the file."""
    n_used: int
    left_out: tuple[int, ...] = ()
    """Places in the file, counted from 0, of the frames not used; isolated atoms are not among them."""
    isolated_atoms: tuple[tuple[str, float], ...] = ()
    """(chemical symbol, energy in eV)"""


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a stranger needs to know of a potential."""

    train: tuple[str, ...] = ()
    """Content keys of the labels it was fitted to."""
    validation: tuple[str, ...] = ()
    """Content keys of the labels it was judged by."""
    train_errors: tuple[tuple[str, float], ...] = ()
    """(name, value); the name ends in the unit."""
    validation_errors: tuple[tuple[str, float], ...] = ()
    calibration: tuple[tuple[str, float], ...] = ()
    """(name, value) on the validation labels: mean z², coverage of the 95 % interval."""
    stress_offset_ev: float = 0.0
    """eV/atom: the labels' stress holds this over the volume per atom, isotropically, beyond the derivative of their
    energies (Pulay stress); the potential does not."""
    atom_energies: tuple[tuple[str, float], ...] = ()
    """(chemical symbol, energy in eV) of the isolated atoms that the fit was held to."""
    extrapolation_limits: tuple[tuple[str, float], ...] = ()
    """(name, value): epistemic deviations that 95 % of structures like the training structures do not exceed."""
    software: tuple[tuple[str, str], ...] = ()
    """(package, version)"""
    train_file: DataSource | None = None
    """None where the labels came from a result store."""
    test_file: DataSource | None = None
    """Read only after the fit; `validation_errors` are then those on this file."""
    fit_options: tuple[tuple[str, str], ...] = ()
    """(option, value) as asked of the fit; what became of them is in the settings of the potential."""
    units: str = "eV, Å, eV/Å, eV/Å³ (stress positive under tension, Voigt xx yy zz yz xz xy)"


@dataclass(frozen=True, slots=True, eq=False)
class ModelArrays:
    """The arrays of the archive."""

    mixing: Floats
    coefficients: Floats
    covariance_factor: Floats
    noise: Floats
    """(3,) energy eV/atom, forces eV/Å, stress eV/Å³."""
    label_noise: LabelNoise | None = None
    """Kept as three arrays more for each kind; a reader that does not know them takes the noise to be constant."""
    core: Floats | None = None
    """(species, species, 2) Å; files of version 1 have none."""


@dataclass(frozen=True, slots=True)
class _Header:
    settings: AceSettings
    metadata: ModelMetadata


def write_model(path: Path, settings: AceSettings, arrays: ModelArrays, metadata: ModelMetadata) -> None:
    """Write the archive, whole or not at all; raises StorageError."""
    header = {"format": FORMAT, "format_version": FORMAT_VERSION, **json.loads(encode(_Header(settings, metadata)))}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        header=np.array(json.dumps(header, ensure_ascii=False)),
        mixing=arrays.mixing,
        coefficients=arrays.coefficients,
        noise=arrays.noise,
        allow_pickle=False,
        **_factor_arrays(arrays.covariance_factor),
        **_noise_arrays(arrays.label_noise),
        **({} if arrays.core is None else {"core": arrays.core}),
    )
    write_bytes(path, buffer.getvalue())


def read_model(path: Path) -> tuple[AceSettings, ModelArrays, ModelMetadata]:
    """Read and check an archive; raises VersionError or StorageError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            contents = {name: archive[name] for name in archive.files}
    except FileNotFoundError as error:
        raise StorageError(f"{path}: no such file; check the path or fit the potential again") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise _damaged(path, str(error)) from error
    header = _read_header(path, contents)
    try:
        mixing, coefficients, noise = (contents[name] for name in ("mixing", "coefficients", "noise"))
        factor = _read_factor(path, contents, len(coefficients))
    except KeyError as error:
        raise _damaged(path, f"array {error.args[0]!r} is missing") from error
    arrays = ModelArrays(mixing, coefficients, factor, noise, core=contents.get("core"))
    _check_arrays(path, arrays, header.settings)
    arrays = replace(arrays, label_noise=_read_noise(path, contents, arrays.noise))
    return header.settings, arrays, header.metadata


def _factor_arrays(factor: Floats) -> dict[str, NDArray[Any]]:
    """The rows of the coefficients that were fitted, packed where they are an upper triangle, which a fit gives."""
    fitted = np.flatnonzero(factor.any(axis=1))
    above = np.triu_indices(factor.shape[1])
    if len(fitted) != factor.shape[1] or np.tril(factor[fitted], -1).any():
        return {"covariance_factor": factor}
    return {"covariance_packed": factor[fitted][above], "covariance_rows": fitted}


def _read_factor(path: Path, contents: dict[str, NDArray[Any]], n: int) -> Floats:
    if "covariance_factor" in contents:
        return contents["covariance_factor"]
    packed, fitted = contents["covariance_packed"], contents["covariance_rows"]
    m = fitted.size
    if packed.shape != (m * (m + 1) // 2,) or not np.isin(fitted, np.arange(n)).all():
        raise _damaged(path, "its covariance is not a triangle")
    triangle = np.zeros((m, m))
    triangle[np.triu_indices(m)] = packed
    factor = np.zeros((n, m))
    factor[fitted] = triangle
    return factor


def _noise_arrays(noise: LabelNoise | None) -> dict[str, NDArray[Any]]:
    """Of each kind: knots and values of all terms on end, and the number of knots of each."""
    arrays: dict[str, NDArray[Any]] = {}
    for kind, graded in zip(NOISE_KINDS, noise.kinds, strict=True) if noise else ():
        terms = graded.terms
        arrays[f"{kind}_noise_knots"] = np.concatenate([np.empty(0), *(term.knots for term in terms)])
        arrays[f"{kind}_noise_values"] = np.concatenate([np.empty(0), *(term.values for term in terms)])
        arrays[f"{kind}_noise_terms"] = np.array([len(term.knots) for term in terms], dtype=np.int64)
    return arrays


def _read_noise(path: Path, contents: dict[str, NDArray[Any]], constants: Floats) -> LabelNoise | None:
    if "forces_noise_knots" in contents:
        kinds = [
            _read_terms(path, contents, f"{kind}_noise", float(c))
            for kind, c in zip(NOISE_KINDS, constants, strict=True)
        ]
        return LabelNoise(constants, *kinds)
    if "force_noise_knots" not in contents:
        return None
    # Files from when only the noise of forces was graded, by one argument.
    single = contents | {"force_noise_terms": np.array([len(contents["force_noise_knots"])])}
    return replace(constant_noise(constants), forces=_read_terms(path, single, "force_noise", float(constants[1])))


def _read_terms(path: Path, contents: dict[str, NDArray[Any]], name: str, constant: float) -> GradedNoise:
    try:
        knots, values, counts = (contents[f"{name}_{part}"] for part in ("knots", "values", "terms"))
    except KeyError as error:
        raise _damaged(path, f"array {error.args[0]!r} is missing") from error
    if knots.ndim != 1 or knots.shape != values.shape or counts.sum() != len(knots):
        raise _damaged(path, "its noise is not a function")
    ends = np.cumsum(counts)[:-1].astype(int)
    terms = tuple(Term(k, v) for k, v in zip(np.split(knots, ends), np.split(values, ends), strict=True) if len(k))
    for term in terms:
        finite = np.isfinite(term.knots).all() and np.isfinite(term.values).all()
        if len(term.knots) < 2 or not finite or (np.diff(term.knots) <= 0).any():
            raise _damaged(path, "its noise is not a function")
    return GradedNoise(constant, terms)


def _read_header(path: Path, contents: dict[str, NDArray[np.generic]]) -> _Header:
    try:
        text = str(contents["header"])
        raw = json.loads(text)
        name, version = raw["format"], int(raw["format_version"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, "it has no readable header") from error
    if name != FORMAT:
        raise StorageError(f"{path}: this is {name!r}, not a potential of hpcmat; give the right file")
    if version > FORMAT_VERSION:
        raise VersionError(
            f"{path}: format version {version} is newer than {FORMAT_VERSION}; install a newer hpcmat to read it"
        )
    try:
        return decode(_Header, text)
    except ValidationError as error:
        raise _damaged(path, f"its header is not valid ({error.error_count()} errors)") from error


def _check_arrays(path: Path, arrays: ModelArrays, settings: AceSettings) -> None:
    # Files of several elements of before had as many channels as those of one.
    n = count_features(settings, arrays.mixing.shape[3]) if arrays.mixing.ndim == 4 else 0
    shapes_fit = (
        arrays.mixing.shape[:3] == mixing_shape(settings)[:3]
        and arrays.coefficients.shape == (n,)
        and arrays.covariance_factor.ndim == 2
        and arrays.covariance_factor.shape[0] == n >= arrays.covariance_factor.shape[1]
        and arrays.noise.shape == (3,)
    )
    n_species = len(settings.elements)
    core = np.zeros((n_species, n_species, 2)) if arrays.core is None else arrays.core
    shapes_fit = shapes_fit and core.shape == (n_species, n_species, 2)
    everything = (arrays.mixing, arrays.coefficients, arrays.covariance_factor, arrays.noise, core)
    if not shapes_fit or not all(np.isfinite(array).all() for array in everything):
        raise _damaged(path, "its arrays do not fit together or are not finite")


def _damaged(path: Path, reason: str) -> StorageError:
    return StorageError(f"{path}: not a readable potential ({reason}); copy it again or fit it again")
