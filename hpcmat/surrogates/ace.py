"""The basis of the potential: settings, features, design-matrix rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.generic import generic_structures
from hpcmat_kernels.ace import AceModel, ace_model, densities
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.neighbors import NeighborList, neighbor_list

Floats = NDArray[np.float64]

PRINCIPAL_EXPONENT = 0.25
"""Random mixing weights are multiplied by S^0.25 (S: second moments of the radial densities), which favours their
dominant principal components; 0 ignores them, -0.5 would whiten them. Chosen by force errors on silicon."""

SMOOTHNESS_EXPONENT = 1.0
"""p in the prior precision (1 + k² + l²)^p: rough features are expected to matter less."""

LEAST_SIZE = 1e-6
"""Of the squared size of the features' force rows, over the median: features of elements that never meet on the ground
of the basis have none."""

CONSTANT_PRIOR_EV = 10.0
"""Prior width of the energy per atom around the element's baseline, in units of the prior width of the features."""

EXACT = 1e16
"""Relative prior precision of a constant that is known: the labels move it by nothing that matters."""


INNER_ANG = 1.0
"""Å; elements with shorter bonds need less."""

PAIR_DEGREE = 5
"""Of several elements, pairs of densities with k + k' + l up to this are fitted: all would be most of the features,
since their number grows with the cube of that of the elements, and they serve less than as many channels."""


@dataclass(frozen=True, slots=True)
class SizeParameters:
    """What a size name stands for."""

    n_radial: int
    l_max: int
    n_channels: tuple[int, int]
    """Of one element and of several, which have more to tell apart."""
    degrees: tuple[int, int]
    """Largest degree in products of three and of four densities."""


SIZES: dict[str, SizeParameters] = {
    "small": SizeParameters(n_radial=6, l_max=3, n_channels=(8, 16), degrees=(3, 2)),
    "medium": SizeParameters(n_radial=8, l_max=4, n_channels=(16, 32), degrees=(4, 2)),
    "large": SizeParameters(n_radial=10, l_max=4, n_channels=(32, 40), degrees=(4, 3)),
}
"""Features of one element, constant included: 227, 557, 1470."""


@dataclass(frozen=True, slots=True)
class AceSettings:
    """What defines the basis; part of every content key that depends on it."""

    elements: tuple[str, ...]
    """Chemical symbols, in the order of the species index."""
    cutoff_ang: float = 5.0
    inner_ang: float = INNER_ANG
    """Where the radial polynomials begin; it conditions the basis and bounds nothing."""
    size: Literal["small", "medium", "large"] = "small"
    seed: int = 0
    """Of the random mixing weights."""

    def __post_init__(self) -> None:
        unknown = [symbol for symbol in self.elements if symbol not in atomic_numbers]
        if not self.elements or unknown or len(set(self.elements)) != len(self.elements):
            raise InputError(f"elements must be distinct chemical symbols, not {self.elements}; correct the list")
        if not 0 <= self.inner_ang < self.cutoff_ang < np.inf:
            raise InputError(
                f"0 <= inner_ang ({self.inner_ang}) < cutoff_ang ({self.cutoff_ang}) must hold; correct the settings"
            )
        if self.size not in SIZES:
            raise InputError(f"size must be one of {', '.join(SIZES)}, not {self.size!r}; correct the settings")


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """Rows of one structure: each quantity is row @ coefficients (coefficients in eV)."""

    site: Floats
    """(n, F)"""
    energy: Floats
    """(F,) sum of the site rows: eV per cell."""
    forces: Floats
    """(3n, F): eV/Å, row 3i + a is component a of atom i."""
    stress: Floats
    """(6, F): eV/Å³ positive under tension, xx yy zz yz xz xy; (0, F) for a cell without volume."""


class AceBasis:
    """Features of a structure, defined by the settings alone, and which of their coefficients are known.

    Raises
    ------
    InputError
        From the methods: an element of the structure is not in the settings, or its geometry cannot be right.
    """

    def __init__(
        self,
        settings: AceSettings,
        mixing: Floats | None = None,
        ground: tuple[Structure, ...] = (),
        isolated: tuple[tuple[str, float], ...] = (),
    ) -> None:
        """`mixing` overrides the weights derived from the settings (a saved potential brings its own).

        Weights and prior scales are averages over the structures `ground`, or over generic ones where it is empty.
        `isolated` holds (chemical symbol, energy in eV) of isolated atoms; a fit keeps the constants there.
        """
        self.settings = settings
        self.ground = ground or generic_structures(settings.elements, settings.seed)
        self.isolated = tuple((symbol, energy) for symbol, energy in isolated if symbol in settings.elements)
        size = SIZES[settings.size]
        weights = _mixing(settings, size, self.ground) if mixing is None else mixing
        self.model: AceModel = ace_model(weights, settings.cutoff_ang, settings.inner_ang, size.degrees)
        self._species = {symbol: index for index, symbol in enumerate(settings.elements)}

    def with_mixing(self, mixing: Floats) -> AceBasis:
        """The same with other weights."""
        return AceBasis(self.settings, mixing, self.ground, self.isolated)

    def with_cutoff(self, cutoff_ang: float) -> AceBasis:
        """The same at another cutoff, with the weights of the settings."""
        return AceBasis(replace(self.settings, cutoff_ang=cutoff_ang), None, self.ground, self.isolated)

    @property
    def n_features(self) -> int:
        """F, the number of coefficients; per element: constant, linear, pairs, products."""
        return self.model.n_features

    def species(self, symbols: tuple[str, ...]) -> NDArray[np.int64]:
        """Species index of each atom (n,)."""
        try:
            return np.array([self._species[symbol] for symbol in symbols], dtype=np.int64)
        except KeyError as error:
            raise InputError(
                f"the potential knows {', '.join(self.settings.elements)}, not {error.args[0]}; "
                "add the element to the settings and fit again"
            ) from error

    @cached_property
    def atom_energies(self) -> Floats:
        """Energies of isolated atoms (species,) eV; not a number where they are not known."""
        known = dict(self.isolated)
        return np.array([known.get(symbol, np.nan) for symbol in self.settings.elements])

    def neighbors(self, structure: Structure) -> NeighborList:
        """Pairs within the cutoff."""
        try:
            return neighbor_list(structure.positions, structure.cell, structure.pbc, self.settings.cutoff_ang)
        except ValueError as error:
            raise InputError(str(error)) from error

    def design(self, structure: Structure) -> Design:
        """Rows of the energy, the forces and the stress."""
        species = self.species(structure.symbols)
        volume = cell_volume(structure)
        rows = design_rows(self.model, self.neighbors(structure), species, virial=volume > 0)
        stress = rows.virial / volume if volume else np.empty((0, self.n_features))
        return Design(rows.site, rows.site.sum(axis=0), rows.forces, stress)

    @cached_property
    def fitted(self) -> NDArray[np.int64]:
        """Features that a fit uses, all for one element: the coefficients of the others are zero."""
        model = self.model
        k = np.tile(np.arange(model.n_radial), model.n_species)
        rows, columns = np.triu_indices(model.n_density)
        pairs = np.concatenate([k[rows] + k[columns] + degree <= PAIR_DEGREE for degree in range(model.l_max + 1)])
        ends = np.ones(1 + model.n_density, dtype=bool), np.ones(len(model.paths) * model.n_channels, dtype=bool)
        used = np.tile(np.concatenate([ends[0], pairs | (model.n_species == 1), ends[1]]), model.n_species)
        return np.flatnonzero(used)

    def whole(self, fitted: Floats) -> Floats:
        """Coefficients (F, ..) from those of the features that are fitted."""
        coefficients = np.zeros((self.n_features, *fitted.shape[1:]))
        coefficients[self.fitted] = fitted
        return coefficients

    @cached_property
    def prior_precision(self) -> Floats:
        """Relative prior precision of each coefficient (F,); the evidence sets the common factor.

        Squared size of the feature's force rows on the structures of `ground`, so that each feature is expected to
        give forces of the same size, times (1 + k² + l²)^p.
        """
        size = sum(np.einsum("rf,rf->f", rows, rows) for rows in (self.design(s).forces for s in self.ground))
        size /= 3 * sum(map(len, self.ground))
        size = np.maximum(size, LEAST_SIZE * np.median(size))
        precision: Floats = size * self._roughness() ** SMOOTHNESS_EXPONENT
        precision[self.constant_columns] = np.where(np.isnan(self.atom_energies), CONSTANT_PRIOR_EV**-2, EXACT)
        return precision

    @property
    def orders(self) -> NDArray[np.int64]:
        """Number of factors ν of each feature (F,); 1 for the constants, which have too few to stand alone."""
        model = self.model
        products = [path.order for path in model.paths for _ in range(model.n_channels)]
        block = [1] * (1 + model.n_density) + [2] * ((model.l_max + 1) * model.n_pairs) + products
        return np.tile(np.array(block), model.n_species)

    @property
    def constant_columns(self) -> NDArray[np.int64]:
        """Column of the constant energy of each element."""
        return np.arange(self.model.n_species) * self.model.n_features_per_species

    def _roughness(self) -> Floats:
        model = self.model
        k = np.tile(np.arange(model.n_radial), model.n_species)
        rows, columns = np.triu_indices(model.n_density)
        pairs = [1 + k[rows] ** 2 + k[columns] ** 2 + degree**2 for degree in range(model.l_max + 1)]
        products = [np.full(model.n_channels, 1 + sum(d * d for d in path.degrees)) for path in model.paths]
        block = np.concatenate([[1.0], 1.0 + k**2, *pairs, *products])
        return np.tile(block, model.n_species)


def mixing_shape(settings: AceSettings) -> tuple[int, int, int, int]:
    """Shape of W: (species, l_max + 1, species K, C)."""
    size, n_species = SIZES[settings.size], len(settings.elements)
    return n_species, size.l_max + 1, n_species * size.n_radial, size.n_channels[n_species > 1]


def count_features(settings: AceSettings, n_channels: int | None = None) -> int:
    """Number of coefficients, without building the basis; `n_channels` other than what the settings say."""
    size, shape = SIZES[settings.size], mixing_shape(settings)
    weights = np.zeros((*shape[:3], n_channels or shape[3]))
    return ace_model(weights, settings.cutoff_ang, settings.inner_ang, size.degrees).n_features


@lru_cache(maxsize=8)
def basis_for(settings: AceSettings) -> AceBasis:
    """The basis of these settings, built once per process."""
    return AceBasis(settings)


def cell_volume(structure: Structure) -> float:
    """Volume of the cell in Å³; 0 where nothing is periodic or the cell is flat."""
    if not any(structure.pbc):
        return 0.0
    volume = abs(float(np.linalg.det(structure.cell)))
    return volume if volume > 1e-6 else 0.0


def unit_stress_offset(structure: Structure) -> Floats:
    """Stress (6,) eV/Å³ of a pressure of -1 eV per atom over the volume per atom; zero without a volume."""
    volume = cell_volume(structure)
    return np.array([1.0, 1, 1, 0, 0, 0]) * (len(structure) / volume if volume else 0.0)


def _mixing(settings: AceSettings, size: SizeParameters, ground: tuple[Structure, ...]) -> Floats:
    """W (species, l + 1, Q, C): S^0.25 times Gaussian numbers, each channel of unit mean square.

    S is a matrix power, not a sum over eigenvectors, so that no sign or order of eigenvectors enters: the weights
    agree between machines to rounding.
    """
    moments = _second_moments(settings, size, ground)
    rng = np.random.default_rng(settings.seed)
    weights = np.empty(mixing_shape(settings))
    for z in range(moments.shape[0]):
        for degree in range(moments.shape[1]):
            s = moments[z, degree]
            values, vectors = np.linalg.eigh(s)
            root = (vectors * np.maximum(values, 1e-12 * values[-1]) ** PRINCIPAL_EXPONENT) @ vectors.T
            w = root @ rng.normal(size=(len(s), weights.shape[3]))
            weights[z, degree] = w / np.sqrt(np.einsum("qc,qp,pc->c", w, s, w))
    return weights


def _second_moments(settings: AceSettings, size: SizeParameters, ground: tuple[Structure, ...]) -> Floats:
    """⟨A_{q,lm} A_{q',lm}⟩ over atoms of each species and over m (species, l + 1, Q, Q)."""
    n_species = len(settings.elements)
    n_density = n_species * size.n_radial
    plain = ace_model(
        np.zeros((n_species, size.l_max + 1, n_density, 1)), settings.cutoff_ang, settings.inner_ang, (-1, -1)
    )
    moments = np.zeros((n_species, size.l_max + 1, n_density, n_density))
    counts = np.zeros(n_species)
    for structure in ground:
        species = np.array([settings.elements.index(symbol) for symbol in structure.symbols])
        pairs = neighbor_list(structure.positions, structure.cell, structure.pbc, settings.cutoff_ang)
        for z, density in zip(species, densities(plain, pairs, species), strict=True):
            counts[z] += 1
            for degree in range(size.l_max + 1):
                a = density[degree**2 : (degree + 1) ** 2]
                moments[z, degree] += a.T @ a / (2 * degree + 1)
    return moments / np.maximum(counts, 1)[:, None, None, None]
