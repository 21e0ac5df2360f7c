"""Appending the points of a run that lie within the cutoff: eight at a time, no branch on the distance."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hpcmat_kernels.simd.emitter import INDEX, Emitter, Pointer
from hpcmat_kernels.simd.lanes import blocks, count, load_integers, pack, packs_at_once, present, splat_integer

COINCIDENT_ANG = 1e-6
"""Atoms nearer than this are the same atom written twice; no force is defined between them."""
_WINDOW = (types.int64,) * 3
_CENTRE = (types.float64,) * 4 + (types.int64,)


def _emit(e: Emitter, arrays: list[Any], window: list[Any], centre: list[Any], how: tuple[bool, bool]) -> list[Any]:
    """Code of `append_near` after its arguments are unpacked; returns the two counts. `how` = (half, at once)."""
    start, stop, total = window
    keys, ids, out = arrays[3:]
    here = [e.splat(value) for value in centre[:3]]
    square, own, tiny = e.splat(centre[3]), splat_integer(e, centre[4]), e.constant(COINCIDENT_ANG**2)
    found, coincident = (cgutils.alloca_once_value(e.builder, v) for v in (total, ir.Constant(INDEX, 0)))
    with blocks(e, start, stop) as (index, _):
        points = [e.load(Pointer(e.builder, data) + index) for data in arrays[:3]]
        apart = [point - centre for point, centre in zip(points, here, strict=True)]
        distance2 = apart[0] * apart[0] + apart[1] * apart[1] + apart[2] * apart[2]
        other = e.builder.icmp_signed(">" if how[0] else "!=", load_integers(e, keys, index), own)
        other = e.builder.and_(other, present(e, index, stop))
        near, same = (
            e.builder.and_(other, e.builder.fcmp_ordered("<", distance2.value, limit.value)) for limit in (square, tiny)
        )
        end = e.builder.load(found)
        pack(e, near, load_integers(e, ids, index), e.builder.gep(out, [end]), how[1])
        e.builder.store(e.builder.add(end, count(e, near)), found)
        e.builder.store(e.builder.add(e.builder.load(coincident), count(e, same)), coincident)
    return [e.builder.load(found), e.builder.load(coincident)]


def _appender(half: bool) -> Any:
    """A function for Numba: (arrays, window, centre) -> (end of the output, coincident points)."""

    def define(_typing: Any, arrays: Any, window: Any, centre: Any) -> Any:
        def append(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            kinds, parts = signature.args, [cgutils.unpack_tuple(builder, value) for value in values]
            data = [
                context.make_array(kind)(context, builder, value).data
                for kind, value in zip(kinds[0], parts[0], strict=True)
            ]
            window, centre = (
                [context.cast(builder, *cast) for cast in zip(parts[n], kinds[n], wanted, strict=True)]
                for n, wanted in ((1, _WINDOW), (2, _CENTRE))
            )
            counts = _emit(Emitter(builder), data, window, centre, (half, packs_at_once(context)))
            return context.make_tuple(builder, signature.return_type, counts)

        return types.UniTuple(types.int64, 2)(arrays, window, centre), append

    define.__name__ = "append_once" if half else "append_near"
    return intrinsic(define)


append_near = _appender(half=False)
"""Append the ids of points nearer than the cutoff.

`arrays` = (x, y, z, keys, ids, output), each readable (output: writable) for eight elements beyond what is used;
`window` = (start, stop, end of the output); `centre` = (x, y, z, squared cutoff, own key): the point with the own key
is left out. Returns the new end of the output and the number of points that coincide with the centre.
"""
append_once = _appender(half=True)
"""The same for points whose key is greater than the own one."""
