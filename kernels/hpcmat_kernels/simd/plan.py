"""Which pairs of densities are coupled for the invariant products, with their weights.

Every product of `couplings.product_paths` is a scalar product of two factors of equal degree: coupled pairs
T^{l1 l2 L}_M = Σ C A_{l1} A_{l2}, or a density itself. A pair coupled once serves all products that contain it.
"""

from __future__ import annotations

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


def all_terms(paths: tuple[PathDegrees, ...]) -> list[Terms]:
    """The terms of each pair that the products need."""
    return [pair_terms(pair, degrees) for pair, degrees in coupled_pairs(paths).items()]


@lru_cache(maxsize=16)
def weights_in_order(paths: tuple[PathDegrees, ...]) -> Floats:
    """Weights of the couplings in the order in which the code asks for them: there, then back.

    Each is read from memory where it is used. As constants they would be loaded early, held in registers that do not
    suffice, and spilled.
    """
    pairs = all_terms(paths)
    forth = [weight for terms in pairs for _, _, weights in terms for _, weight in weights]
    # d(A²) = 2 A dA
    back = [
        weight * (2.0 if a == b else 1.0)
        for terms in reversed(pairs) for a, b, weights in terms for _, weight in weights
    ]  # fmt: skip
    return np.array(forth + back, dtype=np.float64)


def coupled_pairs(paths: tuple[PathDegrees, ...]) -> dict[Pair, list[int]]:
    """Pairs that the products need, each with the degrees it is coupled to."""
    needed: dict[Pair, list[int]] = {}
    for path in paths:
        for pair, degree in factors_of(path):
            if pair is not None and degree not in needed.setdefault(pair, []):
                needed[pair].append(degree)
    return needed
