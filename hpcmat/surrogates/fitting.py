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
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat.records import Label
from hpcmat.surrogates.ace import AceBasis, AceSettings, Design, basis_for, unit_stress_offset
from hpcmat.surrogates.model_file import ModelMetadata
from hpcmat.surrogates.posterior import Observations, Posterior, fit_posterior
from hpcmat.surrogates.potential import Potential

Floats = NDArray[np.float64]

TARGET_ENERGY = 0.001
"""eV/atom: error at which an energy weighs as much as one force component at its own target."""
TARGET_FORCES = 0.05
"""eV/Å"""
TARGET_STRESS = 0.003
"""eV/Å³ (0.5 GPa)"""
PULAY_PRIOR_PRECISION = 100.0
"""Relative prior precision of the stress offset per eV/atom: loose, because the labels determine it well."""
BASELINE_RIDGE = 1e-6
"""Keeps the baseline defined where all labels have one composition."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A potential and how it was found."""

    potential: Potential
    posterior: Posterior


def fit_potential(labels: tuple[Label, ...], settings: AceSettings, metadata: ModelMetadata | None = None) -> Fit:
    """Fit the potential of `settings` to labels.

    Raises
    ------
    InputError
        No labels, an element that is not in the settings, or a label that is not finite.
    """
    if not labels:
        raise InputError("there is nothing to fit; give at least one label")
    basis = basis_for(settings)
    baseline = _energy_baseline(labels, basis)
    observations = _observations(labels, basis, baseline)
    prior = np.append(basis.prior_precision, PULAY_PRIOR_PRECISION)
    full = fit_posterior(observations, prior, np.append(basis.orders - 1, 0))
    posterior = _without_last(full)
    metadata = metadata or ModelMetadata(software=software_versions())
    coefficients = posterior.mean.copy()
    coefficients[basis.constant_columns] += baseline
    potential = Potential(
        settings=settings,
        mixing=basis.model.mixing,
        coefficients=coefficients,
        covariance_factor=posterior.factor,
        noise=posterior.noise,
        metadata=replace(metadata, stress_offset_ev=float(full.mean[-1])),
    )
    return Fit(potential, posterior)


def _without_last(posterior: Posterior) -> Posterior:
    """The posterior of all coefficients but the last, whatever its value."""
    # S = R Rᵀ keeps its leading block when R loses a row; the QR factor makes R square again.
    triangle = np.linalg.qr(posterior.factor[:-1].T)[1]
    return replace(posterior, mean=posterior.mean[:-1], factor=triangle.T)


def software_versions() -> tuple[tuple[str, str], ...]:
    """(package, version) of what decides the numbers."""
    from hpcmat import __version__

    return (("hpcmat", __version__), *((name, version(name)) for name in ("numpy", "scipy", "numba", "ase")))


def _energy_baseline(labels: tuple[Label, ...], basis: AceBasis) -> Floats:
    """Energy per atom of each element (species,) eV by least squares.

    Total energies of thousands of eV per atom are taken off before the fit: the features then see only differences,
    and the sums of squares keep their digits.
    """
    counts = np.array([_counts(label, basis) for label in labels])
    energies = np.array([label.energy for label in labels])
    # The ridge pulls towards one energy per atom for all elements, not towards zero.
    mean = energies.sum() / counts.sum()
    rest = energies - counts @ np.full(counts.shape[1], mean)
    gram = counts.T @ counts + BASELINE_RIDGE * np.eye(counts.shape[1])
    baseline: Floats = mean + np.linalg.solve(gram, counts.T @ rest)
    return baseline


def _counts(label: Label, basis: AceBasis) -> Floats:
    return np.bincount(basis.species(label.structure.symbols), minlength=basis.model.n_species).astype(float)


def _observations(labels: tuple[Label, ...], basis: AceBasis, baseline: Floats) -> Observations:
    blocks = [_block(label, basis.design(label.structure), float(_counts(label, basis) @ baseline)) for label in labels]
    rows, targets, kinds = (list(column) for column in zip(*blocks, strict=True))
    kind = np.concatenate(kinds)
    return Observations(
        rows=np.concatenate(rows),
        targets=np.concatenate(targets),
        sigma=np.array([TARGET_ENERGY, TARGET_FORCES, TARGET_STRESS])[kind],
        kind=kind,
        structure=np.repeat(np.arange(len(labels)), [len(targets_of) for targets_of in targets]),
    )


def _block(label: Label, design: Design, baseline: float) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Rows, targets and kinds of one label: energy per atom, forces, stress where there is one.

    The last column is that of the stress offset.
    """
    n = len(label.structure)
    rows = [design.energy[None] / n, design.forces]
    targets = [np.array([(label.energy - baseline) / n]), np.ravel(label.forces)]
    if len(label.stress) and len(design.stress):
        rows.append(design.stress)
        targets.append(label.stress)
    kinds = np.repeat(np.arange(len(targets)), [len(part) for part in targets])
    offset = np.zeros((len(kinds), 1))
    offset[kinds == 2, 0] = unit_stress_offset(label.structure)[: np.count_nonzero(kinds == 2)]
    return np.hstack([np.concatenate(rows), offset]), np.concatenate(targets), kinds
