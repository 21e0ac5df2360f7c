r"""The invariant products and their adjoint, as vector code over channels.

Pairs of densities are coupled once (see `plan`) and serve all products; the adjoint goes the same way back:

    T̄ = dE/dT  from the other factor of each product,    dE/dA += C T̄ A.

This costs about half of multiplying out the monomials.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from hpcmat_kernels.simd.emitter import LANES, Emitter, Pointer, Vector
from hpcmat_kernels.simd.layout import KernelShape
from hpcmat_kernels.simd.plan import Component, Factor, PathDegrees, Step, Terms, factors_of, steps_of


class Tape:
    """Values of all components and the derivatives of the energy by them, for one vector of channels."""

    def __init__(self, densities: dict[int, Vector], next_weight: Callable[[], Vector]) -> None:
        self._densities = densities
        self._next_weight = next_weight
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
            for component, _ in weights:
                term = self._next_weight() * product
                self.values[component] = self.values[component] + term if component in self.values else term

    def uncouple(self, terms: Terms) -> None:
        """Derivatives by the densities from those by the coupled pairs."""
        for a, b, weights in terms:
            product = None
            for component, _ in weights:
                term = self._next_weight() * self.adjoint[component]
                product = term if product is None else product + term
            assert product is not None
            self._pull(a, product * self._densities[b])
            if a != b:
                self._pull(b, product * self._densities[a])

    def product(self, path: PathDegrees) -> Vector:
        """B of one product."""
        left, right = factors_of(path)
        terms = [self.value(left, m) * self.value(right, m) for m in range(2 * left[1] + 1)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def multiply(self, path: PathDegrees, theta: Vector) -> Vector:
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
    """Append the code of `stages.products`: one function per step, run over all channels before the next."""
    row, places = shape.channel_row, shape.scratch
    _clear(e, scratch + places.energy, LANES)
    _clear(e, scratch + places.channel_adjoint, shape.n_lm * row)
    weights = parameters + shape.parameters.weights
    for step in steps_of(shape.paths):
        with e.loop(row // LANES) as part:
            column = e.times(part, LANES)
            operands = (scratch, scratch + column, parameters + column, weights)
            e.call("products", partial(_emit_step, shape, step), *operands)
        weights = weights + len(step.weights)
    return e.horizontal_sum(e.load(scratch + places.energy))


def emit_product_features(e: Emitter, shape: KernelShape, scratch: Pointer, tables: tuple[Pointer, Pointer]) -> None:
    """Append the code of `stages.product_features`; `tables` = parameters, place of the features (P, C')."""
    parameters, features = tables
    weights = parameters + shape.parameters.weights
    for step in steps_of(shape.paths):
        with e.loop(shape.channel_row // LANES) as part:
            column = e.times(part, LANES)
            operands = (scratch + column, features + column, weights)
            e.call("features", partial(_emit_features, shape, step), *operands)
        weights = weights + len(step.weights)


def _emit_features(shape: KernelShape, step: Step, e: Emitter, *operands: Pointer) -> None:
    """Write the products of one step for eight channels; operands as in `_emit_step`."""
    shifted, features, weights = operands
    row, places = shape.channel_row, itertools.count()
    channels = shifted + shape.scratch.channels
    used = {lm: e.load(channels + lm * row) for lm in step.densities}
    tape = Tape(used, lambda: e.load_splat(weights + next(places)))
    for terms in step.pairs:
        tape.couple(terms)
    for number in step.paths:
        e.store(features + number * row, tape.product(shape.paths[number]))


def _clear(e: Emitter, start: Pointer, length: int) -> None:
    with e.loop(length // LANES) as index:
        e.store(start + e.times(index, LANES), e.constant(0.0))


def _emit_step(shape: KernelShape, step: Step, e: Emitter, *operands: Pointer) -> None:
    """Add the energy and dE/dA_c of one step for eight channels.

    `operands`: scratch vector, the same and the parameters shifted to the first of the channels, weights of the step.
    """
    scratch, shifted, parameters, weights = operands
    row, places = shape.channel_row, itertools.count()
    channels, adjoint = shifted + shape.scratch.channels, shifted + shape.scratch.channel_adjoint
    used = step.densities
    tape = Tape({lm: e.load(channels + lm * row) for lm in used}, lambda: e.load_splat(weights + next(places)))
    for terms in step.pairs:
        tape.couple(terms)
    energy = e.load(scratch + shape.scratch.energy)
    for number in step.paths:
        theta = e.load(parameters + (shape.parameters.product + number * row))
        energy = energy + tape.multiply(shape.paths[number], theta)
    e.store(scratch + shape.scratch.energy, energy)
    for terms in reversed(step.pairs):
        tape.uncouple(terms)
    for lm in used:
        place = adjoint + lm * row
        e.store(place, e.load(place) + tape.adjoint[lm])
