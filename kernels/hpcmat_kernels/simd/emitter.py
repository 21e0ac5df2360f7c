"""Writing LLVM code as arithmetic on vectors of eight doubles.

`Emitter` hands out `Vector`s, whose operators append instructions. Nothing is left to the vectoriser: eight doubles
are one register with AVX-512 or a 512-bit SVE unit, two with AVX2. Products and sums may fuse, but are never
reordered, so that results do not depend on how the code around them is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import binding, ir
from numba.core import cgutils, config

LANES = 8
DOUBLE = ir.DoubleType()
INDEX = ir.IntType(64)
VECTOR = ir.VectorType(DOUBLE, LANES)
POSITION = ir.IntType(32)
FUSE = ("contract",)
FIXED_WIDTH = {"a64fx": "vscale_range(4,4)"}
"""Function attribute by processor that tells LLVM the width of its registers; else it takes the narrow NEON ones."""


class Vector:
    """A value of eight doubles; numbers mix with vectors."""

    __slots__ = ("_builder", "value")
    __array_ufunc__ = None
    """Leaves numpy's numbers to the operators below."""

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder = builder
        self.value = value

    def _other(self, other: Vector | float) -> Any:
        return other.value if isinstance(other, Vector) else ir.Constant(VECTOR, [float(other)] * LANES)

    def __add__(self, other: Vector | float) -> Vector:
        return Vector(self._builder, self._builder.fadd(self.value, self._other(other), flags=FUSE))

    def __sub__(self, other: Vector | float) -> Vector:
        return Vector(self._builder, self._builder.fsub(self.value, self._other(other), flags=FUSE))

    def __mul__(self, other: Vector | float) -> Vector:
        return Vector(self._builder, self._builder.fmul(self.value, self._other(other), flags=FUSE))

    def __rmul__(self, other: float) -> Vector:
        return self * other

    def __truediv__(self, other: Vector) -> Vector:
        return Vector(self._builder, self._builder.fdiv(self.value, other.value))


class Pointer:
    """Start of an array of doubles; `pointer + offset` takes numbers and indices of loops."""

    __slots__ = ("_builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        self._builder = builder
        self.value = value

    def __add__(self, offset: Any) -> Pointer:
        index = ir.Constant(INDEX, offset) if isinstance(offset, int) else offset
        return Pointer(self._builder, self._builder.gep(self.value, [index], inbounds=True))


class Sum:
    """A running sum that survives the turns of a loop."""

    __slots__ = ("_builder", "_slot")

    def __init__(self, builder: Any) -> None:
        self._builder = builder
        self._slot = cgutils.alloca_once(builder, VECTOR)
        self._builder.store(ir.Constant(VECTOR, [0.0] * LANES), self._slot)

    def add(self, term: Vector) -> None:
        """Add a vector."""
        self.set(self.total + term)

    def set(self, total: Vector) -> None:
        """Replace the sum."""
        self._builder.store(total.value, self._slot)

    @property
    def total(self) -> Vector:
        """The sum so far."""
        return Vector(self._builder, self._builder.load(self._slot))


class Emitter:
    """Appends instructions to the function that is being compiled."""

    def __init__(self, builder: Any, processor: str | None = None) -> None:
        self.builder = builder
        self._processor = processor or config.CPU_NAME or binding.get_host_cpu_name()
        attribute = FIXED_WIDTH.get(self._processor)
        if attribute is not None:
            # llvmlite's own `add` knows no attribute with an argument.
            set.add(builder.function.attributes, attribute)

    def constant(self, number: float) -> Vector:
        """The same number in every lane."""
        return Vector(self.builder, ir.Constant(VECTOR, [float(number)] * LANES))

    def splat(self, scalar: Any) -> Vector:
        """A scalar value in every lane."""
        undefined = ir.Constant(VECTOR, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(POSITION, 0))
        return Vector(self.builder, self._shuffle(first, undefined, [0] * LANES))

    def load(self, pointer: Pointer) -> Vector:
        """Eight consecutive doubles."""
        address = self.builder.bitcast(pointer.value, VECTOR.as_pointer())
        return Vector(self.builder, self.builder.load(address, align=8))

    def load_splat(self, pointer: Pointer) -> Vector:
        """One double in every lane."""
        return self.splat(self.builder.load(pointer.value))

    def store(self, pointer: Pointer, vector: Vector) -> None:
        """Write eight consecutive doubles."""
        address = self.builder.bitcast(pointer.value, VECTOR.as_pointer())
        self.builder.store(vector.value, address, align=8)

    def sums(self, count: int) -> list[Sum]:
        """`count` running sums."""
        return [Sum(self.builder) for _ in range(count)]

    @contextmanager
    def loop(self, stop: Any, start: Any = 0) -> Iterator[Any]:
        """Loop over indices start <= i < stop; yields i."""
        first, last = (ir.Constant(INDEX, n) if isinstance(n, int) else n for n in (start, stop))
        with cgutils.for_range(self.builder, last, start=first, intp=INDEX) as turn:
            yield turn.index

    def call(self, name: str, emit: Callable[..., None], *pointers: Pointer) -> None:
        """Call code in a function of its own, written by `emit(emitter, *pointers)`.

        A loop around inlined code would lift its invariants out, far more than there are registers.
        """
        values = [pointer.value for pointer in pointers]
        module = self.builder.module
        signature = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        function = ir.Function(module, signature, module.get_unique_name(name))
        function.linkage = "internal"
        function.attributes.add("noinline")
        inner = Emitter(ir.IRBuilder(function.append_basic_block()), self._processor)
        emit(inner, *(Pointer(inner.builder, argument) for argument in function.args))
        inner.builder.ret_void()
        self.builder.call(function, values)

    def times(self, index: Any, factor: int) -> Any:
        """Index times factor."""
        return self.builder.mul(index, ir.Constant(INDEX, factor), flags=("nsw",))

    def plus(self, index: Any, other: Any) -> Any:
        """Sum of two indices."""
        return self.builder.add(index, other)

    def split(self, index: Any) -> tuple[Any, Any]:
        """Vector and lane of an element: index // 8, index % 8."""
        return self.builder.ashr(index, ir.Constant(INDEX, 3)), self.builder.and_(index, ir.Constant(INDEX, 7))

    def square_root(self, vector: Vector) -> Vector:
        """Square root of each lane."""
        function = cgutils.get_or_insert_function(
            self.builder.module, ir.FunctionType(VECTOR, [VECTOR]), f"llvm.sqrt.v{LANES}f64"
        )
        return Vector(self.builder, self.builder.call(function, [vector.value]))

    def positive_part(self, vector: Vector) -> Vector:
        """max(0, v) of each lane."""
        zero = self.constant(0.0).value
        positive = self.builder.fcmp_ordered(">", vector.value, zero)
        return Vector(self.builder, self.builder.select(positive, vector.value, zero))

    def horizontal_sum(self, vector: Vector) -> Any:
        """Sum of the eight lanes, a scalar."""
        total = vector.value
        for distance in (4, 2, 1):
            lanes = [(lane + distance) % LANES for lane in range(LANES)]
            total = self.builder.fadd(total, self._shuffle(total, total, lanes))
        return self.builder.extract_element(total, ir.Constant(POSITION, 0))

    def transpose(self, rows: list[Vector]) -> list[Vector]:
        """Columns of eight rows: exchanges one bit of the row number with the same bit of the lane at a time."""
        values = [row.value for row in rows]
        for bit in (4, 2, 1):
            low = [lane if not lane & bit else lane - bit + LANES for lane in range(LANES)]
            high = [lane + bit if not lane & bit else lane + LANES for lane in range(LANES)]
            for i in (i for i in range(LANES) if not i & bit):
                pair = values[i], values[i + bit]
                values[i], values[i + bit] = self._shuffle(*pair, low), self._shuffle(*pair, high)
        return [Vector(self.builder, value) for value in values]

    def _shuffle(self, left: Any, right: Any, lanes: list[int]) -> Any:
        mask = ir.Constant(ir.VectorType(POSITION, LANES), lanes)
        return self.builder.shuffle_vector(left, right, mask)
