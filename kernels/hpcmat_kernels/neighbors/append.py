"""Appending the points of a run that lie within the cutoff: eight at a time, no branch on the distance.

Vector code written out, since no vectoriser packs what passes a test. AVX-512 packs eight indices in one instruction;
elsewhere each index is written and the end moves on where it counts.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hpcmat_kernels.simd.emitter import INDEX, LANES, Emitter, Vector

INTEGER = ir.IntType(32)
INTEGERS = ir.VectorType(INTEGER, LANES)
BYTE = ir.IntType(LANES)
COINCIDENT_ANG = 1e-6
"""Atoms nearer than this are the same atom written twice; no force is defined between them."""


def _splat(e: Emitter, integer: Any) -> Any:
    """A 32-bit integer in every lane."""
    undefined = ir.Constant(INTEGERS, ir.Undefined)
    first = e.builder.insert_element(undefined, integer, ir.Constant(INTEGER, 0))
    return e.builder.shuffle_vector(first, undefined, ir.Constant(INTEGERS, [0] * LANES))


def _load(e: Emitter, data: Any, index: Any, kind: Any, align: int) -> Any:
    """Eight consecutive elements."""
    address = e.builder.bitcast(e.builder.gep(data, [index]), kind.as_pointer())
    return e.builder.load(address, align=align)


def _count(e: Emitter, mask: Any) -> Any:
    """Lanes that are set."""
    bits = e.builder.zext(e.builder.bitcast(mask, BYTE), INDEX)
    return e.builder.ctpop(bits)


def _pack_at_once(e: Emitter, mask: Any, values: Any, target: Any) -> None:
    name = "llvm.x86.avx512.mask.compress.v8i32"
    kind = ir.FunctionType(INTEGERS, [INTEGERS, INTEGERS, mask.type])
    pack = cgutils.get_or_insert_function(e.builder.module, kind, name)
    packed = e.builder.call(pack, [values, ir.Constant(INTEGERS, [0] * LANES), mask])
    e.builder.store(packed, e.builder.bitcast(target, INTEGERS.as_pointer()), align=4)


def _pack_one_by_one(e: Emitter, mask: Any, values: Any, target: Any) -> None:
    place: Any = ir.Constant(INDEX, 0)
    for lane in range(LANES):
        at = ir.Constant(INTEGER, lane)
        e.builder.store(e.builder.extract_element(values, at), e.builder.gep(target, [place]))
        place = e.builder.add(place, e.builder.zext(e.builder.extract_element(mask, at), INDEX))


def _emit(e: Emitter, arrays: list[Any], window: list[Any], centre: list[Any], half: bool, at_once: bool) -> list[Any]:
    """Code of `append_near` after its arguments are unpacked; returns the two counts."""
    x, y, z, keys, ids, out = arrays
    start, stop, total = window
    here = [e.splat(value) for value in centre[:3]]
    square, own = e.splat(centre[3]), _splat(e, e.builder.trunc(centre[4], INTEGER))
    found, coincident = (cgutils.alloca_once_value(e.builder, v) for v in (total, ir.Constant(INDEX, 0)))
    ramp = ir.Constant(INTEGERS, list(range(LANES)))
    with cgutils.for_range_slice(e.builder, start, stop, ir.Constant(INDEX, LANES), INDEX) as (index, _):
        apart = [
            Vector(e.builder, _load(e, data, index, value.value.type, 8)) - value
            for data, value in zip((x, y, z), here, strict=True)
        ]
        distance2 = apart[0] * apart[0] + apart[1] * apart[1] + apart[2] * apart[2]
        left = _splat(e, e.builder.trunc(e.builder.sub(stop, index), INTEGER))
        key = _load(e, keys, index, INTEGERS, 4)
        other = e.builder.icmp_signed(">" if half else "!=", key, own)
        other = e.builder.and_(other, e.builder.icmp_signed("<", ramp, left))
        mask = e.builder.and_(other, e.builder.fcmp_ordered("<", distance2.value, square.value))
        end = e.builder.load(found)
        pack = _pack_at_once if at_once else _pack_one_by_one
        pack(e, mask, _load(e, ids, index, INTEGERS, 4), e.builder.gep(out, [end]))
        e.builder.store(e.builder.add(end, _count(e, mask)), found)
        tiny = e.constant(COINCIDENT_ANG**2)
        same = e.builder.and_(other, e.builder.fcmp_ordered("<", distance2.value, tiny.value))
        e.builder.store(e.builder.add(e.builder.load(coincident), _count(e, same)), coincident)
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
                [
                    context.cast(builder, value, kind, wanted)
                    for value, kind, wanted in zip(part, have, want, strict=True)
                ]
                for part, have, want in ((parts[1], kinds[1], _WINDOW), (parts[2], kinds[2], _CENTRE))
            )
            at_once = "+avx512vl" in context.codegen().magic_tuple()[2]
            counts = _emit(Emitter(builder), data, window, centre, half, at_once)
            return context.make_tuple(builder, signature.return_type, counts)

        return types.UniTuple(types.int64, 2)(arrays, window, centre), append

    define.__name__ = "append_once" if half else "append_near"
    return intrinsic(define)


_WINDOW = (types.int64,) * 3
_CENTRE = (types.float64,) * 4 + (types.int64,)

append_near = _appender(half=False)
"""Append the ids of points nearer than the cutoff.

`arrays` = (x, y, z, keys, ids, output), each readable (output: writable) for eight elements beyond what is used;
`window` = (start, stop, end of the output); `centre` = (x, y, z, squared cutoff, own key): the point with the own key
is left out. Returns the new end of the output and the number of points that coincide with the centre.
"""
append_once = _appender(half=True)
"""The same for points whose key is greater than the own one."""
