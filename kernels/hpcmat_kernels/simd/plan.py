"""Which pairs of densities are coupled for the invariant products, with their weights.

Every product of `couplings.product_paths` is a scalar product of two factors of equal degree: coupled pairs
T^{l1 l2 L}_M = Σ C A_{l1} A_{l2}, or a density itself. A pair coupled once serves all products that contain it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hpcmat_kernels.couplings import gaunt

Floats = NDArray[np.float64]
PathDegrees = tuple[tuple[int, ...], int | None]
"""Degrees of the factors of a product, and the intermediate degree where there are four."""
Pair = tuple[int, int]
"""Degrees of two densities."""
Factor = tuple[Pair | None, int]
"""Coupled pair and its degree, or None and the degree of a density."""
Component = tuple[Factor, int]
Terms = list[tuple[int, int, list[tuple[Component, float]]]]
"""Products A_a A_b of a pair, each with the components it enters and its weight there."""


def factors_of(path: PathDegrees) -> tuple[Factor, Factor]:
    """The two factors whose scalar product is the product of densities along `path`."""
    degrees, intermediate = path
    if intermediate is not None:
        l1, l2, l3, l4 = degrees
        return ((l1, l2), intermediate), ((l3, l4), intermediate)
    l1, l2, l3 = degrees
    # Equal densities couple first: their pairs are half as many.
    return (((l2, l3), l1), (None, l1)) if l2 == l3 else (((l1, l2), l3), (None, l3))


def pair_terms(pair: Pair, degrees: list[int]) -> Terms:
    """All products of two components of a pair that some coupling to one of `degrees` needs."""
    l1, l2 = pair
    tensors = {degree: gaunt(l1, l2, degree) for degree in degrees}
    terms: Terms = []
    for a, b in np.ndindex(2 * l1 + 1, 2 * l2 + 1):
        if l1 == l2 and b < a:
            continue
        twice = 2.0 if l1 == l2 and a != b else 1.0
        weights: list[tuple[Component, float]] = [
            (((pair, degree), m), twice * float(tensor[a, b, m]))
            for degree, tensor in tensors.items()
            for m in range(2 * degree + 1)
            if tensor[a, b, m]
        ]
        if weights:
            terms.append((l1 * l1 + a, l2 * l2 + b, weights))
    return terms


@dataclass(frozen=True)
class Step:
    """Products that share coupled pairs, and these pairs: done there and back before the next step."""

    pairs: tuple[Terms, ...]
    paths: tuple[int, ...]
    """Numbers of the products."""

    densities: tuple[int, ...]
    """Indices lm of the densities in them."""

    @property
    def weights(self) -> list[float]:
        """Weights of the couplings in the order in which the code asks for them: there, then back."""
        forth = [weight for terms in self.pairs for _, _, weights in terms for _, weight in weights]
        # d(A²) = 2 A dA
        back = [
            weight * (2.0 if a == b else 1.0)
            for terms in reversed(self.pairs) for a, b, weights in terms for _, weight in weights
        ]  # fmt: skip
        return forth + back


@lru_cache(maxsize=16)
def steps_of(paths: tuple[PathDegrees, ...]) -> tuple[Step, ...]:
    """All products in steps that share no pair: short code with few values alive at a time."""
    degrees = coupled_pairs(paths)
    steps = []
    for linked in _linked_pairs(paths):
        terms = tuple(pair_terms(pair, degrees[pair]) for pair in degrees if pair in linked)
        numbers = tuple(number for number, path in enumerate(paths) if _pairs_of(path) <= linked)
        occurring = sorted({degree for number in numbers for degree in paths[number][0]})
        densities = tuple(lm for degree in occurring for lm in range(degree**2, (degree + 1) ** 2))
        steps.append(Step(terms, numbers, densities))
    return tuple(steps)


def weights_in_order(paths: tuple[PathDegrees, ...]) -> Floats:
    """Weights of all steps.

    Each is read from memory where it is used. As constants they would be loaded early, held in registers that do not
    suffice, and spilled.
    """
    return np.array([weight for step in steps_of(paths) for weight in step.weights], dtype=np.float64)


def _pairs_of(path: PathDegrees) -> set[Pair]:
    return {pair for pair, _ in factors_of(path) if pair is not None}


def _linked_pairs(paths: tuple[PathDegrees, ...]) -> list[set[Pair]]:
    """Sets of pairs such that each product takes its pairs from one set."""
    sets: list[set[Pair]] = []
    for path in paths:
        joined = _pairs_of(path)
        for other in [pairs for pairs in sets if pairs & joined]:
            sets.remove(other)
            joined = joined | other
        sets.append(joined)
    return sets


def coupled_pairs(paths: tuple[PathDegrees, ...]) -> dict[Pair, list[int]]:
    """Pairs that the products need, each with the degrees it is coupled to."""
    needed: dict[Pair, list[int]] = {}
    for path in paths:
        for pair, degree in factors_of(path):
            if pair is not None and degree not in needed.setdefault(pair, []):
                needed[pair].append(degree)
    return needed
