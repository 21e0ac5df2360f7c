"""The potential: coefficients with their posterior, and what can be asked of them.

Sign and order conventions are those of `hpcmat.records`: forces are -dE/dr, stress is positive under tension.
Uncertainties are standard deviations. Epistemic means not knowing the coefficients (vanishes with data); total adds
the noise, which is what the features cannot express.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from hpcmat.records import Structure
from hpcmat.surrogates.ace import AceBasis, AceSettings, Design, cell_volume
from hpcmat.surrogates.core import repulsion_of
from hpcmat.surrogates.label_noise import Epistemic, LabelNoise, constant_noise
from hpcmat.surrogates.model_file import ModelArrays, ModelMetadata, read_model, write_model
from hpcmat_kernels.ace import AceModel, Coefficients, evaluate, evaluate_committee, split_coefficients
from hpcmat_kernels.pair.repulsion import ZBL
from hpcmat_kernels.uncertainty import energy_spread

Floats = NDArray[np.float64]

COMMITTEE_SIZE = 8


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What the potential says of one structure."""

    energy: float
    """eV per cell"""
    forces: Floats
    """(n, 3) eV/Å"""
    stress: Floats
    """(6,) eV/Å³; empty for a cell without volume."""
    site_energies: Floats
    """(n,) eV"""


@dataclass(frozen=True, slots=True, eq=False)
class Variances:
    """Total variances of what the potential says of one structure."""

    energy: float
    """(eV/atom)²"""
    forces: Floats
    """(n, 3) (eV/Å)²"""
    stress: Floats
    """(6,) (eV/Å³)²; empty for a cell without volume."""


@dataclass(frozen=True, eq=False)
class Potential:
    """A fitted potential; evaluate it with `predict`, keep it with `save`."""

    settings: AceSettings
    mixing: Floats
    """W of the basis, kept so that the file means the same on any machine."""
    coefficients: Floats
    """(F,) eV, posterior mean."""
    covariance_factor: Floats
    """R (F, M) eV with posterior covariance R Rᵀ; M coefficients were fitted, the others are zero."""
    noise: Floats
    """(3,) standard deviations of energy eV/atom, force component eV/Å, stress component eV/Å³."""
    metadata: ModelMetadata
    label_noise: LabelNoise | None = None
    """Noise structure by structure and atom by atom; None where it is `noise` for all."""
    core: Floats | None = None
    """(species, species, 2) Å: from the second radius to the first the expansion hands over to nuclear repulsion; None
    in files from before, which have no repulsion (`hpcmat.surrogates.core`)."""

    def save(self, path: Path) -> None:
        """Write one file, whole or not at all; raises StorageError."""
        arrays = ModelArrays(
            self.mixing, self.coefficients, self.covariance_factor, self.noise, self.label_noise, self.core
        )
        write_model(path, self.settings, arrays, self.metadata)

    @classmethod
    def load(cls, path: Path) -> Potential:
        """Read a file written by `save`.

        Raises
        ------
        VersionError
            A newer hpcmat wrote it.
        StorageError
            It is absent, truncated or damaged.
        """
        settings, arrays, metadata = read_model(path)
        factor, noise = arrays.covariance_factor, arrays.noise
        others = metadata, arrays.label_noise, arrays.core
        return cls(settings, arrays.mixing, arrays.coefficients, factor, noise, *others)

    @property
    def noise_energy(self) -> float:
        """Noise of the energy, eV/atom; one for all structures, also where `label_noise` says more."""
        return float(self.noise[0])

    @property
    def noise_forces(self) -> float:
        """Noise of a force component, eV/Å; one for all atoms, also where `label_noise` says more."""
        return float(self.noise[1])

    @property
    def noise_stress(self) -> float:
        """Noise of a stress component, eV/Å³; one for all structures, also where `label_noise` says more."""
        return float(self.noise[2])

    @cached_property
    def basis(self) -> AceBasis:
        """The basis with the weights of this potential; without the core, which labels do not see."""
        return AceBasis(self.settings, self.mixing)

    @cached_property
    def model(self) -> AceModel:
        """The expansion, switched off in the core."""
        return self.basis.model if self.core is None else replace(self.basis.model, core=self.core)

    @cached_property
    def repulsion(self) -> ZBL | None:
        """What takes its place there."""
        return None if self.core is None else repulsion_of(self.settings.elements, self.core)

    def predict(self, structure: Structure) -> Prediction:
        """Energy, forces, stress and site energies.

        Raises
        ------
        InputError
            An element is unknown, positions are not finite or atoms coincide.
        """
        species, neighbors = self.basis.species(structure.symbols), self.basis.neighbors(structure)
        result = evaluate(self.model, self.kernel_coefficients, neighbors, species)
        energies, forces, virial = result.site_energies, result.forces, result.virial
        if self.repulsion is not None:
            more = self.repulsion.between(neighbors, species)
            energies, forces, virial = energies + more[0], forces + more[1], virial + more[2]
        volume = cell_volume(structure)
        return Prediction(float(energies.sum()), forces, virial / volume if volume else np.empty(0), energies)

    def design(self, structure: Structure) -> Design:
        """Design-matrix rows in the basis of this potential: what it predicts where atoms are not in their cores."""
        return self.basis.design(structure)

    def energy_sigma(self, structure: Structure) -> float:
        """Total standard deviation of the energy, eV per cell."""
        return self.energy_sigma_of(self.design(structure))

    def energy_sigma_of(self, design: Design) -> float:
        """As `energy_sigma`, from rows already at hand."""
        return float(np.sqrt(self.variances_of(design).energy)) * len(design.site)

    def force_sigma(self, structure: Structure) -> Floats:
        """Total standard deviation per atom (n,) eV/Å: root mean square over the three components."""
        sigma: Floats = np.sqrt(self.force_variance_of(self.design(structure)).mean(axis=1))
        return sigma

    def epistemic_force_sigma(self, structure: Structure) -> Floats:
        """Standard deviation per atom (n,) eV/Å from the coefficients alone, exact; rms over components."""
        sigma: Floats = np.sqrt(self.epistemic_force_variance_of(self.design(structure)).mean(axis=1))
        return sigma

    def force_variance_of(self, design: Design) -> Floats:
        """Total variance of each force component (n, 3) (eV/Å)²."""
        return self.variances_of(design).forces

    def variances_of(self, design: Design) -> Variances:
        """Total variances of energy, forces and stress."""
        forces, stress = self.epistemic_force_variance_of(design), self.epistemic_variance(design.stress)
        energy = float(self.epistemic_variance(design.energy)) / len(design.site) ** 2
        epistemic = Epistemic(energy, forces.mean(axis=1), float(stress.mean()) if len(stress) else 0.0)
        noise = self.label_noise or constant_noise(self.noise)
        return Variances(
            energy=energy + noise.energy_variance(epistemic),
            forces=forces + noise.force_variance(epistemic)[:, None],
            stress=stress + noise.stress_variance(epistemic),
        )

    def epistemic_force_variance_of(self, design: Design) -> Floats:
        """Variance of each force component (n, 3) (eV/Å)² from the coefficients alone."""
        return self.epistemic_variance(design.forces).reshape(-1, 3)

    def force_variances(self, forces: Floats) -> Floats:
        """Total variance (3n,) (eV/Å)² of what force rows (3n, F) say."""
        epistemic = self.epistemic_variance(forces)
        return epistemic + self._force_noise(epistemic)

    def force_excess(self, forces: Floats) -> Floats:
        """By how much the noise of each force row (3n, F) exceeds the constant one, in units of that (3n,)."""
        return self._force_noise(self.epistemic_variance(forces)) / self.noise_forces**2 - 1.0

    def _force_noise(self, epistemic: Floats) -> Floats:
        """Variance of the noise, the same for the components of an atom, by that of the coefficients (3n,)."""
        graded = self.label_noise or constant_noise(self.noise)
        noise = graded.force_variance(Epistemic(0.0, epistemic.reshape(-1, 3).mean(axis=1), 0.0))
        return np.repeat(noise, 3)

    def committee_forces(self, structure: Structure) -> Floats:
        """Forces (M, n, 3) eV/Å of M posterior samples; the same samples at every call and on every machine.

        Their spread over M estimates `epistemic_force_sigma` at a fraction of its cost.
        """
        basis = self.basis
        neighbors, species = basis.neighbors(structure), basis.species(structure.symbols)
        return evaluate_committee(basis.model, self.committee, neighbors, species)[1]

    def energy_spread(self, structure: Structure) -> tuple[float, Floats]:
        """Standard deviation of the cell's energy over the committee, eV, and its gradient by positions (n, 3) eV/Å.

        That of what dynamics follow: where repulsion takes over from the expansion the members agree.
        """
        neighbors, species = self.basis.neighbors(structure), self.basis.species(structure.symbols)
        energies, forces, _ = evaluate_committee(self.model, self.committee, neighbors, species)
        return energy_spread(energies, forces)

    @cached_property
    def kernel_coefficients(self) -> Coefficients:
        """The posterior mean, cut for the kernels."""
        return split_coefficients(self.basis.model, self.coefficients)

    @cached_property
    def committee(self) -> tuple[Coefficients, ...]:
        """Posterior samples, cut for the kernels; the same on every machine."""
        rng = np.random.default_rng(self.settings.seed)
        draws = rng.normal(size=(COMMITTEE_SIZE, self.covariance_factor.shape[1]))
        members = self.coefficients + draws @ self.covariance_factor.T
        return tuple(split_coefficients(self.basis.model, member) for member in members)

    def epistemic_variance(self, rows: Floats) -> Floats:
        """Variance (m,) of what rows (m, F) or one row (F,) say, from the coefficients alone."""
        fitted, factor, is_triangle = self._fitted_factor
        x = np.asfortranarray(np.atleast_2d(rows)[:, fitted])
        spread = blas.dtrmm(1.0, factor, x, side=1, overwrite_b=1) if is_triangle and len(x) else x @ factor
        variance: Floats = np.einsum("mf,mf->m", spread, spread)
        return variance if rows.ndim > 1 else variance[0]

    @cached_property
    def _fitted_factor(self) -> tuple[NDArray[np.int64], Floats, bool]:
        """Coefficients that were fitted, their rows of the factor, and whether those are an upper triangle."""
        fitted = np.flatnonzero(self.covariance_factor.any(axis=1))
        factor = np.asfortranarray(self.covariance_factor[fitted])
        return fitted, factor, len(fitted) == factor.shape[1] and not np.tril(factor, -1).any()
