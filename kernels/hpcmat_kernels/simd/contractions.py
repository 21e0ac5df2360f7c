r"""Sums of products over short axes, eight channels or columns at a time, for loops whose lengths a vectoriser dislikes.

    add_weighted    out[d, c] += Σ_u a[u, c] x[d, u, c]        eight directions d at a time
    add_outer       out[j, c] += Σ_m s[m, j] v[m, c]

Arrays are flat and passed whole with the places where to begin: Numba counts references to slices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hpcmat_kernels.simd.emitter import INDEX, LANES, Emitter, Pointer

ROWS_AT_ONCE = 4
"""Rows of `add_outer` that share a load of v."""


def _code(emit: Callable[..., None]) -> Any:
    """A function for Numba, (tuple of arrays, tuple of numbers) -> None, from one that appends its code."""

    def define(_typing: Any, arrays: Any, numbers: Any) -> Any:
        def append(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kinds, parts = signature.args, [cgutils.unpack_tuple(builder, value) for value in values]
            pointers = [
                Pointer(builder, context.make_array(kind)(context, builder, part).data)
                for kind, part in zip(kinds[0], parts[0], strict=True)
            ]
            counts = [
                context.cast(builder, part, kind, types.int64) for kind, part in zip(kinds[1], parts[1], strict=True)
            ]
            emit(Emitter(builder), pointers, counts)
            return context.get_dummy_value()

        return types.void(arrays, numbers), append

    define.__name__ = emit.__name__
    return intrinsic(define)


@_code
def add_weighted(e: Emitter, arrays: list[Pointer], numbers: list[Any]) -> None:
    """Add Σ_u a[u, c] x[d, used[u], c] to out[places[first + d] + column + c] for eight d and all c.

    `arrays` = (out, a (u, C'), x (8, rows, C'), places, used (u,)), `numbers` = (column, begin and end of u, first,
    C', number of rows of x).
    """
    out, a, x, places, used = arrays
    column, begin, end, first, row, rows = numbers
    b = e.builder
    starts = [x + e.times(b.mul(rows, row), d) for d in range(LANES)]
    targets = [out + b.add(b.load((places + first + d).value), column) for d in range(LANES)]
    with e.loop(b.sdiv(row, ir.Constant(INDEX, LANES))) as part:
        lane_offset = e.times(part, LANES)
        sums = e.sums(LANES)
        with e.loop(end, begin) as u:
            weight = e.load(a + b.add(b.mul(u, row), lane_offset))
            offset = b.add(b.mul(b.load((used + u).value), row), lane_offset)
            for total, start in zip(sums, starts, strict=True):
                total.add(weight * e.load(start + offset))
        for total, target in zip(sums, targets, strict=True):
            place = target + lane_offset
            e.store(place, e.load(place) + total.total)


@_code
def add_outer(e: Emitter, arrays: list[Pointer], numbers: list[Any]) -> None:
    """Add Σ_m s[m, j] v[m, c] to out[j, c] for all j and c.

    `arrays` = (out, s, v), `numbers` = (place of out[0, 0], stride of j, number of j; place of s[0, 0], strides of m
    and j; place of v[0, 0], stride of m; number of m; number of c, a multiple of eight).
    """
    out, s, v = arrays
    out_at, out_j, n_j, s_at, s_m, s_j, v_at, v_m, n_m, n_c = numbers
    b = e.builder

    def rows(count: int, j: Any, lane_offset: Any) -> None:
        sums = e.sums(count)
        steps = [b.add(j, ir.Constant(INDEX, step)) for step in range(count)]
        scalars = [s + s_at + b.mul(step, s_j) for step in steps]
        vectors = v + v_at + lane_offset
        with e.loop(n_m) as m:
            vector, offset = e.load(vectors + b.mul(m, v_m)), b.mul(m, s_m)
            for total, scalar in zip(sums, scalars, strict=True):
                total.add(e.load_splat(scalar + offset) * vector)
        for step, total in zip(steps, sums, strict=True):
            place = out + out_at + b.mul(step, out_j) + lane_offset
            e.store(place, e.load(place) + total.total)

    whole = b.sdiv(n_j, ir.Constant(INDEX, ROWS_AT_ONCE))
    with e.loop(b.sdiv(n_c, ir.Constant(INDEX, LANES))) as part:
        lane_offset = e.times(part, LANES)
        with e.loop(whole) as tile:
            rows(ROWS_AT_ONCE, e.times(tile, ROWS_AT_ONCE), lane_offset)
        with e.loop(n_j, e.times(whole, ROWS_AT_ONCE)) as j:
            rows(1, j, lane_offset)
