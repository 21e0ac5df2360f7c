"""From labels to a potential: rows, weights, energy baseline, stress offset, posterior.

Plane-wave codes at a fixed cutoff report a stress that is not the strain derivative of their energies: the basis set
changes with the volume (Pulay stress; Francis and Payne, J. Phys.: Condens. Matter 2 (1990) 4395). It acts as a
pressure of one constant energy per atom over the volume per atom. That constant is fitted as one more coefficient, so
that energies and forces need not pay for it; the potential itself is without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np

from hpcmat.errors import InputError
from hpcmat.records import Label
from hpcmat.surrogates.ace import AceBasis, AceSettings, basis_for
from hpcmat.surrogates.communicator import SERIAL, Communicator
from hpcmat.surrogates.core import core_of
from hpcmat.surrogates.evidence import Prior, Scales
from hpcmat.surrogates.extrapolation import left_out_limits
from hpcmat.surrogates.label_noise import fit_label_noise
from hpcmat.surrogates.label_rows import LabelRows
from hpcmat.surrogates.model_file import ModelMetadata
from hpcmat.surrogates.outliers import fit_sound
from hpcmat.surrogates.posterior import Posterior
from hpcmat.surrogates.potential import Potential
from hpcmat_kernels.ace import split_coefficients

TARGET_ENERGY = 0.001
"""eV/atom: error at which an energy weighs as much as one force component at its own target."""
TARGET_FORCES = 0.05
"""eV/Å"""
TARGET_STRESS = 0.003
"""eV/Å³ (0.5 GPa)"""
PULAY_PRIOR_PRECISION = 100.0
"""Relative prior precision of the stress offset per eV/atom: loose, because the labels determine it well."""


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What the training of a basis tells the fit in it."""

    seen: frozenset[int] = frozenset()
    """Labels that the basis was trained on, which therefore do not tell the noise."""
    scales: Scales | None = None
    """Of the coefficients in the training, near to those of the fit."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A potential and how it was found."""

    potential: Potential
    posterior: Posterior
    dropped: tuple[int, ...] = ()
    """Indices of labels that were left out because they contradict all others."""
    reasons: tuple[str, ...] = ()
    """One sentence for each of them."""


def fit_potential(
    labels: tuple[Label, ...],
    form: AceSettings | AceBasis,
    metadata: ModelMetadata | None = None,
    communicator: Communicator = SERIAL,
    threads: int = 1,
    trained: Trained | None = None,
) -> Fit:
    """Fit a potential to labels; ranks that give the same labels share the work and get the same fit.

    Parameters
    ----------
    form : settings of the basis, or a basis.
    trained : how that basis was trained, where it was.

    Raises
    ------
    InputError
        No labels, an element that is not in the settings, or a label that is not finite.
    """
    _check(labels)
    basis = form if isinstance(form, AceBasis) else basis_for(form)
    seen, near = (trained.seen, trained.scales) if trained else (frozenset(), None)
    sound = fit_sound(rows_of(labels, basis, threads, seen), prior_of(basis), communicator, near)
    full = sound.posterior
    factor = basis.whole(full.factor[1:, 1:])
    posterior = replace(full, mean=basis.whole(full.mean[1:]), factor=factor)
    coefficients = posterior.mean.copy()
    coefficients[basis.constant_columns] += sound.rows.baseline
    metadata = replace(
        metadata or ModelMetadata(software=software_versions()),
        stress_offset_ev=float(full.mean[0]),
        atom_energies=basis.isolated,
        extrapolation_limits=left_out_limits(sound.scores).named(),
    )
    structures = [label.structure for label, sane in zip(labels, sound.rows.included, strict=True) if sane]
    potential = Potential(
        settings=basis.settings,
        mixing=basis.model.mixing,
        coefficients=coefficients,
        covariance_factor=posterior.factor,
        noise=posterior.noise,
        metadata=metadata,
        label_noise=fit_label_noise(sound.fitted, frozenset(s.structure for s in sound.telling), full.noise),
        core=core_of(structures, basis, split_coefficients(basis.model, coefficients)),
    )
    return Fit(potential, posterior, tuple(d.label for d in sound.dropped), tuple(d.reason for d in sound.dropped))


def rows_of(
    labels: tuple[Label, ...], basis: AceBasis, threads: int = 1, seen: frozenset[int] = frozenset()
) -> LabelRows:
    """Rows of labels with the target errors; column 0 is the stress offset."""
    return LabelRows(labels, basis, np.array([TARGET_ENERGY, TARGET_FORCES, TARGET_STRESS]), threads, seen)


def prior_of(basis: AceBasis) -> Prior:
    """What is believed of the coefficients in a basis, after the stress offset."""
    precision, groups = basis.prior_precision[basis.fitted], basis.orders[basis.fitted] - 1
    return Prior(np.append(PULAY_PRIOR_PRECISION, precision), np.append(0, groups))


def _check(labels: tuple[Label, ...]) -> None:
    if not labels:
        raise InputError("there is nothing to fit; give at least one label")
    for number, label in enumerate(labels):
        if not (np.isfinite(label.energy) and np.isfinite(label.forces).all() and np.isfinite(label.stress).all()):
            raise InputError(f"rows or labels are not finite (label {number}); remove the damaged label")


def software_versions() -> tuple[tuple[str, str], ...]:
    """(package, version) of what decides the numbers."""
    from hpcmat import __version__

    return (("hpcmat", __version__), *((name, version(name)) for name in ("numpy", "scipy", "numba", "ase")))
