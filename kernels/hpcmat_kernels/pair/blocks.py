"""Vector code that pair styles share: eight neighbours at a time, and functions for Numba made from such code.

Positions, spline coefficients and parameters lie in rows of four doubles. A row is one load, and eight rows turned
into four vectors cost less than the gathers of their elements, by which pair styles are otherwise bound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from hpcmat_kernels.simd.emitter import DOUBLE, INDEX, LANES, POSITION, VECTOR, Emitter, Pointer, Sum, Vector
from hpcmat_kernels.simd.lanes import INTEGERS, packs_at_once

ROW = 4
QUARTET = ir.VectorType(DOUBLE, ROW)
CHUNK = 64
"""Atoms whose virial is summed together, whatever the number of threads."""
VIRIAL = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Components xx yy zz yz xz xy."""


def kernel(emit: Callable[..., None], **options: bool) -> Any:
    """A function for Numba, (tuple of arrays, first atom, end) -> None, from one that appends its code.

    `emit` gets the emitter, a pointer for each array, the two numbers, the options, and whether lanes pack at once.
    """

    def define(_typing: Any, arrays: Any, first: Any, end: Any) -> Any:
        def append(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            pointers = [
                Pointer(builder, context.make_array(kind)(context, builder, part).data)
                for kind, part in zip(signature.args[0], cgutils.unpack_tuple(builder, values[0]), strict=True)
            ]
            kinds = (types.int64, types.int64)
            ends = [context.cast(builder, *cast) for cast in zip(values[1:], signature.args[1:], kinds, strict=True)]
            emit(Emitter(builder), pointers, ends, at_once=packs_at_once(context), **options)
            return context.get_dummy_value()

        return types.void(arrays, first, end), append

    define.__name__ = emit.__name__ + "".join(f"_{name}" for name, chosen in options.items() if chosen)
    return intrinsic(define)


def integer(e: Emitter, array: Pointer, index: Any, offset: int = 0) -> Any:
    """An element of an array of integers, as a 64-bit number."""
    place = e.builder.add(index, ir.Constant(INDEX, offset))
    value = e.builder.load(e.builder.gep(array.value, [place]))
    return value if value.type == INDEX else e.builder.sext(value, INDEX)


def eight_integers(e: Emitter, array: Pointer, start: Any) -> list[Any]:
    """Eight consecutive elements of an array of integers, as 64-bit numbers."""
    return [integer(e, array, start, lane) for lane in range(LANES)]


def whole(e: Emitter, vector: Vector) -> list[Any]:
    """The lanes of a vector of numbers >= 0, rounded down, as 64-bit integers."""
    integers = e.builder.fptosi(vector.value, INTEGERS)
    lanes = (e.builder.extract_element(integers, ir.Constant(POSITION, lane)) for lane in range(LANES))
    return [e.builder.sext(lane, INDEX) for lane in lanes]


def rounded_down(e: Emitter, vector: Vector) -> Vector:
    """Numbers >= 0 rounded down."""
    return Vector(e.builder, e.builder.sitofp(e.builder.fptosi(vector.value, INTEGERS), VECTOR))


def smaller(e: Emitter, left: Vector, right: Vector) -> Vector:
    """The smaller of two numbers in each lane."""
    return Vector(e.builder, e.builder.select(below(e, left, right), left.value, right.value))


def rows(e: Emitter, table: Pointer, indices: list[Any], stride: int = ROW) -> list[Vector]:
    """Columns of the rows with these indices: element c of row `indices[lane]` in lane `lane` of vector c."""
    quartets = [_row(e, table, index, stride) for index in indices]
    pairs = [_shuffle(e, quartets[a], quartets[a + 2], range(LANES)) for a in (0, 1, 4, 5)]
    even, odd = (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15)
    low, high = (0, 1, 4, 5, 8, 9, 12, 13), (2, 3, 6, 7, 10, 11, 14, 15)
    xz, yw = ([_shuffle(e, pairs[a], pairs[a + 1], lanes) for a in (0, 2)] for lanes in (even, odd))
    columns = [_shuffle(e, pair[0], pair[1], lanes) for lanes, pair in ((low, xz), (low, yw), (high, xz), (high, yw))]
    return [Vector(e.builder, column) for column in columns]


def _row(e: Emitter, table: Pointer, index: Any, stride: int) -> Any:
    address = (table + e.times(index, stride)).value
    return e.builder.load(e.builder.bitcast(address, QUARTET.as_pointer()), align=8)


def _shuffle(e: Emitter, left: Any, right: Any, lanes: Iterable[int]) -> Any:
    chosen = list(lanes)
    return e.builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(POSITION, len(chosen)), chosen))


def gather(e: Emitter, array: Pointer, indices: list[Any], stride: int) -> Vector:
    """Element indices[lane] * stride of an array in each lane."""
    value: Any = ir.Constant(VECTOR, ir.Undefined)
    for lane, index in enumerate(indices):
        element = e.builder.load((array + e.times(index, stride)).value)
        value = e.builder.insert_element(value, element, ir.Constant(POSITION, lane))
    return Vector(e.builder, value)


def keep(e: Emitter, mask: Any, vector: Vector) -> Vector:
    """Lanes of the mask; zero elsewhere."""
    return Vector(e.builder, e.builder.select(mask, vector.value, e.constant(0.0).value))


def below(e: Emitter, left: Vector, right: Vector) -> Any:
    """Mask of the lanes with left < right."""
    return e.builder.fcmp_ordered("<", left.value, right.value)


def squared(vector: list[Vector]) -> Vector:
    """x² + y² + z²."""
    return vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]


def own_row(e: Emitter, points: Pointer, index: Any) -> list[Vector]:
    """The row of an atom in every lane."""
    start = points + e.times(index, ROW)
    return [e.load_splat(start + a) for a in range(ROW)]


def minus(left: list[Vector], right: list[Vector]) -> list[Vector]:
    """Difference of the first three columns."""
    return [a - b for a, b in zip(left[:3], right[:3], strict=True)]


def add_virial(totals: list[Sum], apart: list[Vector], force: list[Vector]) -> None:
    """Add d_a f_b of a block."""
    for total, (a, b) in zip(totals, VIRIAL, strict=True):
        total.set(total.total + apart[a] * force[b])


def store_virial(e: Emitter, virial: Pointer, first: Any, totals: list[Sum]) -> None:
    """Write the sums of all lanes into the row of the chunk that begins with atom `first`."""
    row = virial + e.times(e.builder.sdiv(first, ir.Constant(INDEX, CHUNK)), len(VIRIAL) * LANES)
    for component, total in enumerate(totals):
        e.store(row + LANES * component, total.total)


def store_totals(e: Emitter, target: Pointer, sums: list[Sum]) -> None:
    """Write the totals over the lanes of four sums as a row."""
    totals = [s.total.value for s in sums]
    halves = [e.builder.fadd(_shuffle(e, t, t, range(4)), _shuffle(e, t, t, range(4, LANES))) for t in totals]
    pairs = [
        e.builder.fadd(
            _shuffle(e, halves[a], halves[a + 1], (0, 4, 2, 6)), _shuffle(e, halves[a], halves[a + 1], (1, 5, 3, 7))
        )
        for a in (0, 2)
    ]
    total = e.builder.fadd(_shuffle(e, pairs[0], pairs[1], (0, 1, 4, 5)), _shuffle(e, pairs[0], pairs[1], (2, 3, 6, 7)))
    e.builder.store(total, e.builder.bitcast(target.value, QUARTET.as_pointer()), align=8)
