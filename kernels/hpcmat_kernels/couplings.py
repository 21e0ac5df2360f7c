r"""Rotation-invariant products of up to four densities, as sparse polynomials.

Real Gaunt couplings C^{l1 l2 l3}_{m1 m2 m3} ∝ ∫ Y_{l1 m1} Y_{l2 m2} Y_{l3 m3} couple two densities of degrees l1 and
l2 to one of degree L. Only even l1 + l2 + L occur, hence every product is also invariant under inversion.

    ν = 3:  B = Σ C^{l1 l2 l3} A_{l1} A_{l2} A_{l3}
    ν = 4:  B = (A_{l1} ⊗ A_{l2})^L · (A_{l3} ⊗ A_{l4})^L

Products of one channel with itself are linearly dependent for some intermediate L (they are symmetric under exchange
of factors); those are removed by numerical rank. Dusson et al., J. Comput. Phys. 454 (2022) 110946.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpcmat_kernels.harmonics import spherical_harmonics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Polynomial = dict[tuple[int, ...], float]
"""Coefficient of each monomial; a monomial is the sorted tuple of the indices of its factors."""

NEGLIGIBLE = 1e-12


@lru_cache(maxsize=256)
def gaunt(l1: int, l2: int, l3: int) -> Floats:
    """Real Gaunt tensor (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), of Frobenius norm 1 (or zero where forbidden).

    The quadrature (Gauss-Legendre in z, equidistant in the angle) is exact for these polynomials.
    """
    degree = l1 + l2 + l3
    z, weight = np.polynomial.legendre.leggauss(degree // 2 + 2)
    angle = 2 * np.pi * np.arange(degree + 2) / (degree + 2)
    rho = np.sqrt(1 - z**2)
    grid = [np.outer(rho, np.cos(angle)), np.outer(rho, np.sin(angle)), np.outer(z, np.ones_like(angle))]
    values, _ = spherical_harmonics(np.stack([axis.ravel() for axis in grid], axis=1), max(l1, l2, l3))
    weights = np.repeat(weight, len(angle))
    y1, y2, y3 = (values[:, degree**2 : (degree + 1) ** 2] for degree in (l1, l2, l3))
    tensor: Floats = np.einsum("q,qa,qb,qc->abc", weights, y1, y2, y3)
    tensor[abs(tensor) < NEGLIGIBLE] = 0.0
    norm = np.linalg.norm(tensor)
    return tensor / norm if norm > 0 else tensor


def _add(total: Polynomial, term: Polynomial, factor: float) -> None:
    for monomial, coefficient in term.items():
        total[monomial] = total.get(monomial, 0.0) + factor * coefficient


def _multiply(left: Polynomial, right: Polynomial) -> Polynomial:
    product: Polynomial = {}
    for (a, u), (b, v) in itertools.product(left.items(), right.items()):
        monomial = tuple(sorted(a + b))
        product[monomial] = product.get(monomial, 0.0) + u * v
    return product


def _density(degree: int) -> list[Polynomial]:
    return [{(degree * degree + m,): 1.0} for m in range(2 * degree + 1)]


def _couple(l1: int, l2: int, total: int) -> list[Polynomial]:
    """Components of (A_{l1} ⊗ A_{l2})^total."""
    tensor = gaunt(l1, l2, total)
    left, right = _density(l1), _density(l2)
    components: list[Polynomial] = [{} for _ in range(2 * total + 1)]
    for a, b, m in zip(*np.nonzero(tensor), strict=True):
        _add(components[m], _multiply(left[a], right[b]), float(tensor[a, b, m]))
    return components


def _dot(left: list[Polynomial], right: list[Polynomial]) -> Polynomial:
    total: Polynomial = {}
    for a, b in zip(left, right, strict=True):
        _add(total, _multiply(a, b), 1.0)
    return {monomial: value for monomial, value in total.items() if abs(value) > NEGLIGIBLE}


def evaluate_polynomial(polynomial: Polynomial, density: Floats) -> Floats:
    """Value of the polynomial where `density[lm]` holds the components (further axes are carried along)."""
    total: Floats = np.zeros(density.shape[1:])
    for monomial, coefficient in polynomial.items():
        total = total + coefficient * np.prod(density[list(monomial)], axis=0)
    return total


@dataclass(frozen=True, slots=True)
class ProductPath:
    """One invariant product: the degrees of its factors, the intermediate degree (ν = 4), the polynomial."""

    degrees: tuple[int, ...]
    intermediate: int | None
    monomials: tuple[tuple[tuple[int, ...], float], ...]

    @property
    def order(self) -> int:
        """ν, the number of factors: body order minus one."""
        return len(self.degrees)


def _triples(l_max: int) -> Iterator[tuple[int, int, int]]:
    for l1, l2, l3 in itertools.combinations_with_replacement(range(l_max + 1), 3):
        if l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0:
            yield l1, l2, l3


def _quadruple_paths(degrees: tuple[int, ...]) -> Iterator[tuple[int, Polynomial]]:
    l1, l2, l3, l4 = degrees
    for total in range(max(l2 - l1, l4 - l3), min(l1 + l2, l3 + l4) + 1):
        if (l1 + l2 + total) % 2 == 0 and (l3 + l4 + total) % 2 == 0:
            polynomial = _dot(_couple(l1, l2, total), _couple(l3, l4, total))
            if polynomial:
                yield total, polynomial


def _independent(candidates: Iterator[tuple[int, Polynomial]], density: Floats) -> Iterator[tuple[int, Polynomial]]:
    """Candidates that are not combinations of earlier ones, judged by their values on random densities."""
    basis: list[Floats] = []
    for total, polynomial in candidates:
        values = evaluate_polynomial(polynomial, density)
        rest = values.copy()
        for vector in basis:
            rest -= vector * (vector @ rest)
        if np.linalg.norm(rest) > 1e-6 * np.linalg.norm(values):
            basis.append(rest / np.linalg.norm(rest))
            yield total, polynomial


@lru_cache(maxsize=16)
def product_paths(l_max_3: int, l_max_4: int) -> tuple[ProductPath, ...]:
    """Independent products of three densities up to degree `l_max_3` and of four up to `l_max_4` (-1: none)."""
    paths = [
        ProductPath((l1, l2, l3), None, tuple(_dot(_couple(l1, l2, l3), _density(l3)).items()))
        for l1, l2, l3 in _triples(l_max_3)
    ]
    density = np.random.default_rng(0).normal(size=((max(l_max_4, 0) + 1) ** 2, 200))
    for degrees in itertools.combinations_with_replacement(range(l_max_4 + 1), 4):
        if sum(degrees) % 2 == 0:
            for total, polynomial in _independent(_quadruple_paths(degrees), density):
                paths.append(ProductPath(degrees, total, tuple(polynomial.items())))
    return tuple(paths)


@dataclass(frozen=True, slots=True, eq=False)
class MonomialTable:
    """The monomials of all paths in flat arrays, for compiled loops."""

    starts: Ints
    """(P + 1,) first monomial of each path."""
    factors: Ints
    """(M, 4) component index of each factor; -1 in the fourth column for ν = 3."""
    coefficients: Floats
    """(M,)"""
    used_starts: Ints
    """(P + 1,) into `used`."""
    used: Ints
    """Components that occur in each path."""
    slots: Ints
    """(M, 4) place in `used` of each factor; -1 in the fourth column for ν = 3."""


def monomial_table(paths: tuple[ProductPath, ...]) -> MonomialTable:
    """Flatten `paths`."""
    factors = [(*monomial, -1)[:4] for path in paths for monomial, _ in path.monomials]
    coefficients = [value for path in paths for _, value in path.monomials]
    used = [sorted({index for monomial, _ in path.monomials for index in monomial}) for path in paths]
    used_starts = _starts([len(indices) for indices in used])
    slots = [
        (*(start + indices.index(index) for index in monomial), -1)[:4]
        for path, indices, start in zip(paths, used, used_starts[:-1].tolist(), strict=True)
        for monomial, _ in path.monomials
    ]
    return MonomialTable(
        starts=_starts([len(path.monomials) for path in paths]),
        factors=np.array(factors, dtype=np.int64).reshape(-1, 4),
        coefficients=np.array(coefficients, dtype=np.float64),
        used_starts=used_starts,
        used=np.array([index for indices in used for index in indices], dtype=np.int64),
        slots=np.array(slots, dtype=np.int64).reshape(-1, 4),
    )


def _starts(lengths: list[int]) -> Ints:
    starts: Ints = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return starts
