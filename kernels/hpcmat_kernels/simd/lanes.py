"""Integers and masks in eight lanes, and packing of the lanes that pass a test.

No vectoriser packs what passes a test, so this is written out. AVX-512 packs eight lanes in one instruction; elsewhere
each lane is written and the end moves on where it counts.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from hpcmat_kernels.simd.emitter import DOUBLE, INDEX, LANES, Emitter

INTEGER = ir.IntType(32)
INTEGERS = ir.VectorType(INTEGER, LANES)
BYTE = ir.IntType(LANES)


def packs_at_once(context: Any) -> bool:
    """Whether the processor that Numba compiles for packs lanes in one instruction."""
    return "+avx512vl" in context.codegen().magic_tuple()[2]


def splat_integer(e: Emitter, value: Any) -> Any:
    """A 64-bit integer in every lane, as 32 bits."""
    undefined = ir.Constant(INTEGERS, ir.Undefined)
    first = e.builder.insert_element(undefined, e.builder.trunc(value, INTEGER), ir.Constant(INTEGER, 0))
    return e.builder.shuffle_vector(first, undefined, ir.Constant(INTEGERS, [0] * LANES))


def load_integers(e: Emitter, data: Any, index: Any) -> Any:
    """Eight consecutive 32-bit integers."""
    address = e.builder.bitcast(e.builder.gep(data, [index]), INTEGERS.as_pointer())
    return e.builder.load(address, align=4)


def present(e: Emitter, index: Any, stop: Any) -> Any:
    """Mask of the lanes of a block at `index` that come before `stop`."""
    left = splat_integer(e, e.builder.sub(stop, index))
    return e.builder.icmp_signed("<", ir.Constant(INTEGERS, list(range(LANES))), left)


def blocks(e: Emitter, start: Any, stop: Any) -> Any:
    """Loop over start, start + 8, ... below stop; yields (index, _)."""
    return cgutils.for_range_slice(e.builder, start, stop, ir.Constant(INDEX, LANES), INDEX)


def count(e: Emitter, mask: Any) -> Any:
    """Number of lanes that are set."""
    return e.builder.ctpop(e.builder.zext(e.builder.bitcast(mask, BYTE), INDEX))


def pack(e: Emitter, mask: Any, values: Any, target: Any, at_once: bool) -> None:
    """Write the lanes of the mask one after another; up to eight elements of the target are overwritten."""
    if at_once:
        _pack_at_once(e, mask, values, target)
    else:
        _pack_one_by_one(e, mask, values, target)


def _pack_at_once(e: Emitter, mask: Any, values: Any, target: Any) -> None:
    suffix, align = ("v8f64", 8) if values.type.element == DOUBLE else ("v8i32", 4)
    kind = ir.FunctionType(values.type, [values.type, values.type, mask.type])
    function = cgutils.get_or_insert_function(e.builder.module, kind, f"llvm.x86.avx512.mask.compress.{suffix}")
    packed = e.builder.call(function, [values, ir.Constant(values.type, ir.Undefined), mask])
    e.builder.store(packed, e.builder.bitcast(target, values.type.as_pointer()), align=align)


def _pack_one_by_one(e: Emitter, mask: Any, values: Any, target: Any) -> None:
    place: Any = ir.Constant(INDEX, 0)
    for lane in range(LANES):
        at = ir.Constant(INTEGER, lane)
        e.builder.store(e.builder.extract_element(values, at), e.builder.gep(target, [place]))
        place = e.builder.add(place, e.builder.zext(e.builder.extract_element(mask, at), INDEX))
