r"""The invariant products and their adjoint, as vector code over channels.

Every product of `couplings.product_paths` is a scalar product of two factors of equal degree: coupled pairs
T^{l1 l2 L}_M = Σ C A_{l1} A_{l2}, or a density itself. Pairs are coupled once and serve all products, and the adjoint
goes the same way back:

    T̄ = dE/dT  from the other factor of each product,    dE/dA += C T̄ A.

This costs about half of multiplying out the monomials.
"""

from __future__ import annotations

import numpy as np

from hpcmat_kernels.couplings import gaunt
from hpcmat_kernels.simd.emitter import LANES, Emitter, Pointer, Vector
from hpcmat_kernels.simd.layout import KernelShape, Path3or4

from typing import Any

Pair = tuple[int, int]
"""Degrees of two densities."""
Factor = tuple[Pair | None, int]
"""Coupled pair and its degree, or None and the degree of a density."""
Component = tuple[Factor, int]
Terms = list[tuple[int, int, list[tuple[Component, float]]]]
"""Products A_a A_b of a pair, each with the components it enters and its weight there."""


def factors_of(path: Path3or4) -> tuple[Factor, Factor]:
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
        weights = [
            (((pair, degree), m), twice * float(tensor[a, b, m]))
            for degree, tensor in tensors.items()
            for m in range(2 * degree + 1)
            if tensor[a, b, m]
        ]
        if weights:
            terms.append((l1 * l1 + a, l2 * l2 + b, weights))
    return terms


class Tape:
    """Values of all components and the derivatives of the energy by them, for one vector of channels."""

    def __init__(self, densities: dict[int, Vector]) -> None:
        self._densities = densities
        self.values: dict[Component, Vector] = {}
        self.adjoint: dict[Component | int, Vector] = {}

    def value(self, factor: Factor, m: int) -> Vector:
        """Component m of a factor."""
        pair, degree = factor
        return self._densities[degree * degree + m] if pair is None else self.values[factor, m]

    def pull(self, factor: Factor, m: int, term: Vector) -> None:
        """Add to the derivative by component m of a factor."""
        pair, degree = factor
        self._pull(degree * degree + m if pair is None else (factor, m), term)

    def _pull(self, key: Component | int, term: Vector) -> None:
        self.adjoint[key] = self.adjoint[key] + term if key in self.adjoint else term

    def couple(self, terms: Terms) -> None:
        """Coupled pairs from the densities."""
        for a, b, weights in terms:
            product = self._densities[a] * self._densities[b]
            for component, weight in weights:
                term = weight * product
                self.values[component] = self.values[component] + term if component in self.values else term

    def uncouple(self, terms: Terms) -> None:
        """Derivatives by the densities from those by the coupled pairs."""
        for a, b, weights in terms:
            (component, weight), *rest = weights
            product = weight * self.adjoint[component]
            for component, weight in rest:
                product = product + weight * self.adjoint[component]
            if a == b:
                self._pull(a, 2.0 * (product * self._densities[a]))
            else:
                self._pull(a, product * self._densities[b])
                self._pull(b, product * self._densities[a])

    def multiply(self, path: Path3or4, theta: Vector) -> Vector:
        """Energy θ B of one product; pulls θ times the other factor into the adjoint of each."""
        left, right = factors_of(path)
        energy = None
        for m in range(2 * left[1] + 1):
            u, v = self.value(left, m), self.value(right, m)
            scaled = theta * v
            energy = scaled * u if energy is None else energy + scaled * u
            self.pull(left, m, scaled)
            self.pull(right, m, theta * u)
        assert energy is not None
        return energy


def emit_products(e: Emitter, shape: KernelShape, scratch: Pointer, parameters: Pointer) -> Any:
    """Append the code of `stages.products`."""
    channels, adjoint, row = shape.scratch.channels, shape.scratch.channel_adjoint, shape.channel_row
    (energy,) = e.sums(1)
    with e.loop(row // LANES) as part:
        column = e.times(part, LANES)
        tape = Tape({lm: e.load(scratch + (channels + lm * row) + column) for lm in range(shape.n_lm)})
        thetas = parameters + shape.parameters.product + column
        pairs = [pair_terms(pair, degrees) for pair, degrees in coupled_pairs(shape.paths).items()]
        for terms in pairs:
            tape.couple(terms)
        for number, path in enumerate(shape.paths):
            energy.add(tape.multiply(path, e.load(thetas + number * row)))
        for terms in reversed(pairs):
            tape.uncouple(terms)
        for lm in range(shape.n_lm):
            e.store(scratch + (adjoint + lm * row) + column, tape.adjoint.get(lm, e.constant(0.0)))
    return e.horizontal_sum(energy.total)


def coupled_pairs(paths: tuple[Path3or4, ...]) -> dict[Pair, list[int]]:
    """Pairs that the products need, each with the degrees it is coupled to."""
    needed: dict[Pair, list[int]] = {}
    for path in paths:
        for pair, degree in factors_of(path):
            if pair is not None and degree not in needed.setdefault(pair, []):
                needed[pair].append(degree)
    return needed
