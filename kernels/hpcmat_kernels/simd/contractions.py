r"""Sums of products over short axes, eight channels or columns at a time: no vectoriser does well there.

    add_weighted    out[d, p, c] += Σ_u a[u, c] x[d, used[u], c]      eight directions d at a time
    add_outer       out[j, c] += Σ_m s[m, j] v[m, c]                  set_outer writes it instead
    add_three       derivatives of w θ_c A_x A_y A_z by each factor   add_four, and *_twice by two factors also

Arrays are passed whole with the places where to begin: Numba counts references to slices. A row of C' channels begins
C'' after the one before where many rows are read for the same channels: `spread`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from hpcmat_kernels.simd.emitter import INDEX, LANES, Emitter, Pointer, Vector

ROWS_AT_ONCE = (8, 2, 1)
"""Rows of `add_outer` that share a load of v, while there are so many left."""


@register_jitable
def spread(row: Any) -> Any:
    """C'' for rows of C': an odd number of vectors, since rows a power of two apart share few sets of the cache."""
    return row if row // LANES % 2 else row + LANES


def _code(name: str, emit: Callable[..., None], **options: Any) -> Any:
    """A function for Numba, (tuple of arrays, tuple of numbers) -> None, from one that appends its code.

    `emit` gets the emitter, a pointer for each array, the numbers and the options.
    """

    def define(_typing: Any, arrays: Any, numbers: Any) -> Any:
        def append(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            (kinds, integers), (parts, counts) = signature.args, (cgutils.unpack_tuple(builder, v) for v in values)
            pointers = [
                Pointer(builder, context.make_array(kind)(context, builder, part).data)
                for kind, part in zip(kinds, parts, strict=True)
            ]
            casts = zip(counts, integers, strict=True)
            emit(Emitter(builder), pointers, [context.cast(builder, *cast, types.int64) for cast in casts], **options)
            return context.get_dummy_value()

        return types.void(arrays, numbers), append

    define.__name__ = name
    return intrinsic(define)


def _integer(e: Emitter, array: Pointer, index: Any) -> Any:
    return e.builder.load((array + index).value)


def _next(e: Emitter, index: Any, step: int) -> Any:
    return e.plus(index, ir.Constant(INDEX, step))


def _parts(e: Emitter, row: Any) -> Any:
    """Number of vectors in a row."""
    return e.split(row)[0]


def _emit_weighted(e: Emitter, arrays: list[Pointer], numbers: list[Any]) -> None:
    out, a, x, places, used, begins = arrays
    column, first, n_p, p_step, rows, row, step = numbers
    times = e.builder.mul
    size = times(rows, step)
    starts = [x + e.times(size, d) for d in range(LANES)]
    targets = [out + _integer(e, places + first, ir.Constant(INDEX, d)) + column for d in range(LANES)]
    # All rows for some channels: what is read of x then stays in the nearest cache.
    with e.loop(_parts(e, row)) as part, e.loop(n_p) as p:
        lane = e.times(part, LANES)
        sums = e.sums(LANES)
        with e.loop(_integer(e, begins, _next(e, p, 1)), _integer(e, begins, p)) as u:
            weight, offset = e.load(a + times(u, step) + lane), e.plus(times(_integer(e, used, u), step), lane)
            for total, start in zip(sums, starts, strict=True):
                total.add(weight * e.load(start + offset))
        for total, target in zip(sums, targets, strict=True):
            place = target + times(p, p_step) + lane
            e.store(place, e.load(place) + total.total)


def _emit_outer(e: Emitter, arrays: list[Pointer], numbers: list[Any], add: bool) -> None:
    out, s, v = arrays
    out_at, out_j, n_j, s_at, s_m, s_j, v_at, v_m, n_m, row = numbers
    times = e.builder.mul

    def rows(count: int, j: Any, lane: Any) -> None:
        sums = e.sums(count)
        steps = [_next(e, j, step) for step in range(count)]
        scalars = [s + s_at + times(step, s_j) for step in steps]
        with e.loop(n_m) as m:
            vector = e.load(v + v_at + times(m, v_m) + lane)
            for total, scalar in zip(sums, scalars, strict=True):
                total.add(e.load_splat(scalar + times(m, s_m)) * vector)
        for step, total in zip(steps, sums, strict=True):
            place = out + out_at + times(step, out_j) + lane
            e.store(place, e.load(place) + total.total if add else total.total)

    with e.loop(_parts(e, row)) as part:
        lane, done = e.times(part, LANES), ir.Constant(INDEX, 0)
        for count in ROWS_AT_ONCE:
            tiles = e.builder.sdiv(e.builder.sub(n_j, done), ir.Constant(INDEX, count))
            with e.loop(tiles) as tile:
                rows(count, e.plus(done, e.times(tile, count)), lane)
            done = e.plus(done, e.times(tiles, count))


def _emit_derivatives(e: Emitter, arrays: list[Pointer], numbers: list[Any], count: int, twice: bool) -> None:
    factors, weights, channels, theta, targets, gradient = arrays[:6]
    begin, end, theta_at, n_lm, row, step = numbers
    times = e.builder.mul

    def add(place: Pointer, left_out: tuple[int, ...], scale: Vector, values: list[Vector]) -> None:
        for x in range(count):
            if x not in left_out:
                scale = scale * values[x]
        e.store(place, e.load(place) + scale)

    with e.loop(_parts(e, row)) as part:
        lane = e.times(part, LANES)
        scale = e.load(theta + theta_at + lane)
        with e.loop(end, begin) as m:
            at = [_next(e, e.times(m, 4), x) for x in range(count)]
            lms = [_integer(e, factors, place) for place in at]
            values = [e.load(channels + times(lm, step) + lane) for lm in lms]
            scaled = scale * e.load_splat(weights + m)
            for x in range(count):
                add(gradient + times(_integer(e, targets, at[x]), step) + lane, (x,), scaled, values)
            for x, y in combinations(range(count), 2) if twice else ():
                place = e.plus(times(lms[x], n_lm), lms[y])
                add(arrays[6] + times(place, step) + lane, (x, y), scaled, values)


add_weighted = _code("add_weighted", _emit_weighted)
"""Add Σ_u a[u, c] x[d, used[u], c] to out[places[first + d] + column + p step + c] for eight d, all p, c.

`arrays` = (out, a (u, C''), x (8, rows, C''), places, used (u,), begins (p + 1,)): u from begins[p] to begins[p + 1];
`numbers` = (column, first, number and step of p, rows, C', C'').
"""
add_outer = _code("add_outer", _emit_outer, add=True)
"""Add Σ_m s[m, j] v[m, c] to out[j, c] for all j and c.

`arrays` = (out, s, v), `numbers` = (place of out[0, 0], stride of j, number of j; place of s[0, 0], strides of m and j;
place of v[0, 0], stride of m; number of m; number of c, a multiple of eight).
"""
set_outer = _code("set_outer", _emit_outer, add=False)
"""The same in place of what was in out."""
add_three, add_four = (_code(f"add_{n}", _emit_derivatives, count=n, twice=False) for n in (3, 4))
"""Add the derivatives of w_m θ_c Π_x A_{factors[m, x], c} by each of the factors to gradient[targets[m, x], c].

`arrays` = (factors (M, 4), w (M,), A (lm, C''), θ, targets (M, 4), gradient (.., C'')), `numbers` = (begin and end of
m, place of θ, number of lm, C', C'').
"""
add_three_twice, add_four_twice = (_code(f"add_{n}_twice", _emit_derivatives, count=n, twice=True) for n in (3, 4))
"""And those by factors x < y to curvature[factors[m, x], factors[m, y], c], a seventh array."""
