r"""Stages of one atom's energy and of its adjoint, as vector code.

Each function here is written as if it ran once; it appends code for the shape at hand to the function that calls it
from Numba. In the order of use, with the equations of `hpcmat_kernels.ace`:

    basis            g_k, dg_k, Y_lm of the neighbours of one species                   one lane per neighbour
    density          A_{(zk),lm} of the neighbours of one species                       one lane per k
    mix              A_{c,lm}                                                           one lane per channel
    products         Σ θ B, dE/dA_{c,lm}                                                one lane per channel
    unmix            linear and pair energy, dE/dA_{(zk),lm}                            one lane per k
    pair_gradients   dE_i/dr_ij of the neighbours of one species, virial                one lane per neighbour
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from numba.core import cgutils, types
from numba.core.types.containers import BaseTuple
from numba.extending import intrinsic

from hpcmat_kernels.harmonics import lm_index, recursion
from hpcmat_kernels.simd.emitter import LANES, Emitter, Pointer, Sum, Vector
from hpcmat_kernels.simd.layout import KernelShape
from hpcmat_kernels.simd.products import emit_product_features, emit_products


def stage(emit: Callable[..., Any]) -> Any:
    """A function for Numba, (shape, arrays, numbers and tuples) -> float, from one that appends its code.

    `emit` gets the emitter, the shape, a `Pointer` for each array, a list for each tuple, and returns a scalar or
    None for 0.
    """

    def define(_typing: Any, shape: Any, *arguments: Any) -> Any:
        def append(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kinds = zip(signature.args[1:], values[1:], strict=True)
            operands = [_operand(context, builder, kind, value) for kind, value in kinds]
            result = emit(Emitter(builder), shape.shape, *operands)
            return context.get_constant(types.float64, 0.0) if result is None else result

        return types.float64(shape, *arguments), append

    define.__name__ = emit.__name__
    # For other back ends than Numba.
    define.emit = emit  # type: ignore[attr-defined]
    # Numba matches arguments by name: the emitter's place is that of the typing context.
    define.__signature__ = inspect.signature(emit)  # type: ignore[attr-defined]
    return intrinsic(define)


def _operand(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """What `emit` gets for an argument of type `kind`."""
    if isinstance(kind, types.Array):
        return Pointer(builder, context.make_array(kind)(context, builder, value).data)
    return cgutils.unpack_tuple(builder, value) if isinstance(kind, BaseTuple) else value


@stage
def basis(  # noqa: PLR0913 - one for each argument of the compiled code
    e: Emitter, shape: KernelShape, scratch: Pointer, first: Any, last: Any, radii: Any, core: Pointer, pair: Any
) -> None:
    """Replace each vector of blocks first <= b < last by its direction; write distances, radial functions, harmonics.

    `core` holds start and end for each pair of species, of which `pair` is the one of these blocks and their centre.
    """
    rows = shape.block
    cutoff, inner = (e.splat(radius) for radius in radii)
    ends = core + e.times(pair, 2)
    start, end = e.load_splat(ends), e.load_splat(ends + 1)
    with e.loop(last, start=first) as index:
        block = _block(e, shape, scratch, index)
        x, y, z = (e.load(block + (rows.vector + LANES * a)) for a in range(3))
        distance = e.square_root(x * x + y * y + z * z)
        inverse = e.constant(1.0) / distance
        direction = [x * inverse, y * inverse, z * inverse]
        _store_rows(e, block + rows.vector, direction)
        _store_rows(e, block + rows.distance, [distance, inverse])
        values, slopes = _radial(e, shape.n_radial, distance, cutoff, inner)
        if shape.core:
            values, slopes = _switch_off(e, (values, slopes), distance, start, end)
        _store_rows(e, block + rows.radial, values)
        _store_rows(e, block + rows.slopes, slopes)
        _store_by_neighbour(e, shape, block, values)
        _store_rows(e, block + rows.harmonics, _harmonics(e, shape.l_max, direction))


@stage
def density(e: Emitter, shape: KernelShape, scratch: Pointer, z: Any, first: Any, count: Any) -> None:
    """Density of `count` neighbours of species z, from block `first` on."""
    rows, n_lm = shape.block, shape.n_lm
    for part in range(0, shape.radial_row, LANES):
        sums = e.sums(n_lm)
        with e.loop(count) as neighbour:
            index, lane = e.split(neighbour)
            block = _block(e, shape, scratch, e.plus(first, index))
            radial = e.load(block + (rows.by_neighbour + part) + e.times(lane, shape.radial_row))
            harmonics = block + rows.harmonics + lane
            for lm in range(n_lm):
                sums[lm].add(e.load_splat(harmonics + lm * LANES) * radial)
        start = scratch + (shape.scratch.density + part) + e.times(z, shape.radial_row)
        for lm in range(n_lm):
            e.store(start + lm * shape.density_row, sums[lm].total)


@stage
def mix(e: Emitter, shape: KernelShape, scratch: Pointer, parameters: Pointer, centre: Any) -> None:
    """Channels from the density of an atom of species `centre`."""
    parameters = _of_species(e, shape, parameters, centre)
    q, c = shape.density_row, shape.channel_row
    with e.loop(c // LANES) as part:
        column = e.times(part, LANES)
        sums = e.sums(shape.n_lm)
        weights = parameters + shape.parameters.mixing + column
        _contract(e, shape, sums, (scratch + shape.scratch.density, q), (weights, c))
        for lm, total in enumerate(sums):
            e.store(scratch + (shape.scratch.channels + lm * c) + column, total.total)


@stage
def products(e: Emitter, shape: KernelShape, scratch: Pointer, parameters: Pointer, centre: Any) -> Any:
    """Energy of the products; writes dE/dA_c."""
    return emit_products(e, shape, scratch, _of_species(e, shape, parameters, centre))


@stage
def product_features(e: Emitter, shape: KernelShape, scratch: Pointer, parameters: Pointer, features: Pointer) -> None:
    """Products B (P, C') themselves."""
    emit_product_features(e, shape, scratch, (parameters, features))


@stage
def unmix(e: Emitter, shape: KernelShape, scratch: Pointer, parameters: Pointer, centre: Any) -> Any:
    """Energy of the linear and pair terms; writes dE/dA, where dE/dA_c enters through the transpose of W."""
    parameters = _of_species(e, shape, parameters, centre)
    q, c = shape.density_row, shape.channel_row
    places, tables = shape.scratch, shape.parameters
    (energy,) = e.sums(1)
    with e.loop(q // LANES) as part:
        column = e.times(part, LANES)
        sums = e.sums(shape.n_lm)
        values = [e.load(scratch + (places.density + lm * q) + column) for lm in range(shape.n_lm)]
        _contract(e, shape, sums, (scratch + places.density, q), (parameters + tables.pair + column, q))
        for value, total in zip(values, sums, strict=True):
            energy.add(0.5 * (value * total.total))
        linear = e.load(parameters + tables.linear + column)
        energy.add(linear * values[0])
        sums[0].add(linear)
        _contract(e, shape, sums, (scratch + places.channel_adjoint, c), (parameters + tables.unmixing + column, q))
        for lm, total in enumerate(sums):
            e.store(scratch + (places.adjoint + lm * q) + column, total.total)
    return e.horizontal_sum(energy.total)


@stage
def pair_gradients(e: Emitter, shape: KernelShape, scratch: Pointer, z: Any, first: Any, last: Any) -> None:
    """Write dE_i/dr_ij of blocks first <= b < last, of species z; add to the virial.

    The basis stays as it was, so that other coefficients can follow.
    """
    adjoint = scratch + shape.scratch.adjoint + e.times(z, shape.radial_row)
    with e.loop(last, start=first) as index:
        operands = (_block(e, shape, scratch, index), adjoint, scratch)
        e.call("pair_gradients", partial(_emit_gradients, shape), *operands)


def _emit_gradients(shape: KernelShape, e: Emitter, block: Pointer, adjoint: Pointer, scratch: Pointer) -> None:
    direction = [e.load(block + (shape.block.vector + LANES * a)) for a in range(3)]
    distance = e.load(block + shape.block.distance)
    gradient = _gradient(e, shape, (block, scratch + shape.scratch.across), adjoint)
    for component, term in enumerate(_virial([distance * d for d in direction], gradient)):
        place = scratch + (shape.scratch.virial + LANES * component)
        e.store(place, e.load(place) + term)
    _store_rows(e, block + shape.block.gradient, gradient)


def _of_species(e: Emitter, shape: KernelShape, parameters: Pointer, centre: Any) -> Pointer:
    return parameters + e.times(centre, shape.parameters.size)


def _block(e: Emitter, shape: KernelShape, scratch: Pointer, index: Any) -> Pointer:
    return scratch + shape.scratch.blocks + e.times(index, shape.block.size)


def _store_rows(e: Emitter, start: Pointer, rows: list[Vector]) -> None:
    for number, row in enumerate(rows):
        e.store(start + LANES * number, row)


def _store_by_neighbour(e: Emitter, shape: KernelShape, block: Pointer, values: list[Vector]) -> None:
    """The radial functions again, one row of K' per neighbour."""
    full = values + [e.constant(0.0)] * (shape.radial_row - len(values))
    for part in range(0, shape.radial_row, LANES):
        for lane, row in enumerate(e.transpose(full[part : part + LANES])):
            e.store(block + (shape.block.by_neighbour + lane * shape.radial_row + part), row)


def _radial(
    e: Emitter, n_radial: int, distance: Vector, cutoff: Vector, inner: Vector
) -> tuple[list[Vector], list[Vector]]:
    """g_k and dg_k/dr: T_k(s) u³, with T_k' = k U_{k-1}."""
    one = e.constant(1.0)
    inverse, stretch = one / cutoff, e.constant(2.0) / (cutoff - inner)
    u = e.positive_part(one - distance * inverse)
    s = distance * stretch - (cutoff + inner) * stretch * 0.5
    u2 = u * u
    u3, du3 = u2 * u, -3.0 * (u2 * inverse)
    first, second = [one, s], [one, 2.0 * s]
    for _ in range(2, n_radial):
        first.append(2.0 * s * first[-1] - first[-2])
        second.append(2.0 * s * second[-1] - second[-2])
    scaled = stretch * u3
    values = [u3] + [t * u3 for t in first[1:]]
    slopes = [du3] + [t * du3 + (float(k) * scaled) * second[k - 1] for k, t in enumerate(first) if k]
    return values, slopes


def _switch_off(
    e: Emitter, radial: tuple[list[Vector], list[Vector]], distance: Vector, start: Vector, end: Vector
) -> tuple[list[Vector], list[Vector]]:
    """Radial functions f g_k with their derivatives, f = 6 t^5 - 15 t^4 + 10 t^3."""
    one = e.constant(1.0)
    width = one / (end - start)
    rest = e.positive_part(one - e.positive_part((distance - start) * width))
    t = one - rest
    square = t * t
    step = square * t * (t * (6.0 * t - 15.0) + 10.0)
    slope = 30.0 * (square * (rest * rest)) * width
    values, slopes = radial
    switched = [slope * g + step * dg for g, dg in zip(values, slopes, strict=True)]
    return [step * g for g in values], switched


def _legendre(e: Emitter, l_max: int, z: Vector) -> dict[tuple[int, int], Vector]:
    """P_lm, 0 <= m <= l, by the recursion of `harmonics.recursion`."""
    factors = recursion(l_max)
    table: dict[tuple[int, int], Vector] = {}
    for m in range(l_max + 1):
        table[m, m] = e.constant(factors[0, m, m])
        for degree in range(m + 1, l_max + 1):
            table[degree, m] = (factors[0, degree, m] * z) * table[degree - 1, m]
            if degree > m + 1:
                table[degree, m] = table[degree, m] - factors[1, degree, m] * table[degree - 2, m]
    return table


def _azimuthal(e: Emitter, l_max: int, x: Vector, y: Vector) -> list[tuple[Vector, Vector]]:
    """Real and imaginary part of (x + i y)^m."""
    powers = [(e.constant(1.0), e.constant(0.0)), (x, y)]
    for _ in range(2, l_max + 1):
        c, s = powers[-1]
        powers.append((x * c - y * s, x * s + y * c))
    return powers


def _harmonics(e: Emitter, l_max: int, direction: list[Vector]) -> list[Vector]:
    """Y_lm in the order of `lm_index`."""
    x, y, z = direction
    legendre, powers = _legendre(e, l_max, z), _azimuthal(e, l_max, x, y)
    values: dict[int, Vector] = {}
    for (degree, m), polynomial in legendre.items():
        c, s = powers[m]
        values[lm_index(degree, -m)] = polynomial * s
        values[lm_index(degree, m)] = polynomial * c if m else polynomial
    return [values[lm] for lm in sorted(values)]


def _contract(
    e: Emitter, shape: KernelShape, sums: list[Sum], left: tuple[Pointer, int], right: tuple[Pointer, int]
) -> None:
    """sums[lm] += Σ_i left[lm, i] right[l, i, lanes]; each operand with the length of its rows."""
    (vectors, n_inner), (matrices, row) = left, right
    with e.loop(n_inner) as i:
        matrix = matrices + e.times(i, row)
        for degree in range(shape.l_max + 1):
            factor = e.load(matrix + degree * n_inner * row)
            for lm in range(degree**2, (degree + 1) ** 2):
                sums[lm].add(e.load_splat(vectors + i + lm * n_inner) * factor)


def _gradient(e: Emitter, shape: KernelShape, places: tuple[Pointer, Pointer], adjoint: Pointer) -> list[Vector]:
    """dE_i/dr_ij = r̂ (R - r̂·V / r) + V / r, with R along and V / r across the direction.

    `places` are those of the block and of Q_lm.
    """
    rows, (block, across) = shape.block, places
    radial = _project(e, shape, places, adjoint)
    x, y, z = direction = [e.load(block + (rows.vector + LANES * a)) for a in range(3)]
    vx, vy, vz = _angular_gradient(e, shape.l_max, across, direction)
    inverse = e.load(block + rows.inverse)
    along = radial - inverse * (x * vx + y * vy + z * vz)
    return [inverse * vx + along * x, inverse * vy + along * y, inverse * vz + along * z]


def _project(e: Emitter, shape: KernelShape, places: tuple[Pointer, Pointer], adjoint: Pointer) -> Vector:
    """R = Σ_k dg_k Σ_lm H_{k,lm} Y_lm; writes Q_lm = Σ_k H_{k,lm} g_k."""
    block, across = places
    values = [e.load(block + (shape.block.radial + LANES * k)) for k in range(shape.n_radial)]
    sums = e.sums(shape.n_radial)
    with e.loop(shape.n_lm) as lm:
        row = adjoint + e.times(lm, shape.density_row)
        harmonic, total = e.load(block + shape.block.harmonics + e.times(lm, LANES)), e.constant(0.0)
        for k, value in enumerate(values):
            factor = e.load_splat(row + k)
            total = total + factor * value
            sums[k].add(factor * harmonic)
        e.store(across + e.times(lm, LANES), total)
    radial = e.constant(0.0)
    for k, sum_over_lm in enumerate(sums):
        radial = radial + sum_over_lm.total * e.load(block + (shape.block.slopes + LANES * k))
    return radial


def _angular_gradient(
    e: Emitter, l_max: int, across: Pointer, direction: list[Vector]
) -> tuple[Vector, Vector, Vector]:
    """V = Σ_lm Q_lm ∇Y_lm; terms of equal m and sign share the azimuthal factors of ∇Y."""
    factors = recursion(l_max)
    x, y, z = direction
    legendre, powers = _legendre(e, l_max, z), _azimuthal(e, l_max, x, y)
    vx = vy = vz = e.constant(0.0)
    for m, sign in [(0, 1)] + [(m, sign) for m in range(1, l_max + 1) for sign in (1, -1)]:
        ring = rise = e.constant(0.0)
        for degree in range(m, l_max + 1):
            weight = e.load(across + LANES * lm_index(degree, sign * m))
            if m:
                ring = ring + legendre[degree, m] * weight
            if degree > m:
                rise = rise + factors[2, degree, m] * legendre[degree, m + 1] * weight
        cosine, sine = powers[m]
        vz = vz + rise * (cosine if sign > 0 else sine)
        if m:
            cosine, sine = powers[m - 1]
            scaled = float(m) * ring
            vx = vx + scaled * (cosine if sign > 0 else sine)
            vy = vy - scaled * sine if sign > 0 else vy + scaled * cosine
    return vx, vy, vz


def _virial(vector: list[Vector], gradient: list[Vector]) -> list[Vector]:
    """Tensor r ⊗ dE/dr in the order xx yy zz yz xz xy, symmetrised."""
    diagonal = [vector[a] * gradient[a] for a in range(3)]
    return diagonal + [0.5 * (vector[a] * gradient[b] + vector[b] * gradient[a]) for a, b in [(1, 2), (0, 2), (0, 1)]]
