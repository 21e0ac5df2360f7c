"""The stages of `hpcmat_kernels.simd` as C++: an emitter that writes source text instead of LLVM code.

Every operation becomes one statement, so that the compiler sees the data flow that LLVM is given. The text needs what
`vectors.h.in` defines: `Vector` of eight doubles, `Register` of as many as the processor takes at once, and functions
of both.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hpcmat_kernels.simd.emitter import Emitter, Pointer, Sum, Vector
from hpcmat_kernels.simd.layout import KernelShape


class Body:
    """Statements of one function; `functions` are complete ones that stand before it in the file.

    Where `by_register`, the function does one register of the eight lanes, from `lane` on.
    """

    def __init__(self, functions: list[str], by_register: bool = False) -> None:
        self.functions = functions
        self.by_register = by_register
        self.lines: list[str] = [f"  typedef {'Register' if by_register else 'Vector'} V;"]
        self.depth = 1
        self._numbers = itertools.count()

    def add(self, line: str) -> None:
        """Append a line."""
        self.lines.append("  " * self.depth + line)

    def name(self, letter: str) -> str:
        """A new name."""
        return f"{letter}{next(self._numbers)}"

    def define(self, kind: str, letter: str, expression: str) -> str:
        """Append the definition of a constant; returns its name."""
        name = self.name(letter)
        self.add(f"const {kind} {name} = {expression};")
        return name

    def vector(self, expression: str) -> Vector:
        """Append the definition of a vector."""
        return CppVector(self, self.define("V", "v", expression))

    def place(self, pointer: Pointer) -> str:
        """Address of eight doubles, or of the register among them."""
        return f"{pointer.value} + lane" if self.by_register else str(pointer.value)

    def finish(self, head: str) -> None:
        """The function with this head is complete."""
        self.functions.append("\n".join([f"{head}", "{", *self.lines, "}", ""]))


def number(value: float) -> str:
    """A literal that is read back to the last bit."""
    return float(value).hex()


def _operand(other: Vector | float) -> str:
    return str(other.value) if isinstance(other, Vector) else f"all<V>({number(other)})"


class CppVector(Vector):
    """A vector by its name."""

    __slots__ = ()

    def __add__(self, other: Vector | float) -> Vector:
        return self._builder.vector(f"{self.value} + {_operand(other)}")

    def __sub__(self, other: Vector | float) -> Vector:
        return self._builder.vector(f"{self.value} - {_operand(other)}")

    def __mul__(self, other: Vector | float) -> Vector:
        return self._builder.vector(f"{self.value} * {_operand(other)}")

    def __truediv__(self, other: Vector) -> Vector:
        return self._builder.vector(f"{self.value} / {other.value}")


class CppPointer(Pointer):
    """A pointer as an expression."""

    __slots__ = ()

    def __add__(self, offset: Any) -> Pointer:
        return CppPointer(self._builder, f"{self.value} + {offset}")


class CppSum(Sum):
    """A running sum in a variable."""

    def __init__(self, body: Body) -> None:
        self._builder = body
        self._slot = body.name("s")
        body.add(f"V {self._slot} = all<V>(0.0);")

    def set(self, total: Vector) -> None:
        """Replace the sum."""
        self._builder.add(f"{self._slot} = {total.value};")

    @property
    def total(self) -> Vector:
        """The sum so far."""
        return self._builder.vector(self._slot)


class CppEmitter(Emitter):
    """Appends statements to the function that is being written; indices and scalars are expressions."""

    def __init__(self, body: Body) -> None:
        self.builder = body

    def constant(self, number_: float) -> Vector:
        """The same number in every lane."""
        return self.splat(number(number_))

    def splat(self, scalar: Any) -> Vector:
        """A scalar in every lane."""
        return self.builder.vector(f"all<V>({scalar})")

    def load(self, pointer: Pointer) -> Vector:
        """Eight consecutive doubles."""
        return self.builder.vector(f"load<V>({self.builder.place(pointer)})")

    def load_splat(self, pointer: Pointer) -> Vector:
        """One double in every lane."""
        return self.splat(f"*({pointer.value})")

    def store(self, pointer: Pointer, vector: Vector) -> None:
        """Write eight consecutive doubles."""
        self.builder.add(f"store({self.builder.place(pointer)}, {vector.value});")

    def sums(self, count: int) -> list[Sum]:
        """`count` running sums."""
        return [CppSum(self.builder) for _ in range(count)]

    @contextmanager
    def loop(self, stop: Any, start: Any = 0) -> Iterator[Any]:
        """Loop over indices start <= i < stop; yields i."""
        index = self.builder.name("i")
        self.builder.add(f"for (long {index} = {start}; {index} < {stop}; ++{index}) {{")
        self.builder.depth += 1
        yield index
        self.builder.depth -= 1
        self.builder.add("}")

    def call(self, name: str, emit: Callable[..., None], *pointers: Pointer) -> None:
        """Call code in a function of its own, written by `emit(emitter, *pointers)`.

        It is called for each register, since its many values would not fit twice where registers are short.
        """
        functions = self.builder.functions
        unique, inner = f"{name}_{len(functions)}", Body(functions, by_register=True)
        names = [f"p{place}" for place in range(len(pointers))]
        emit(CppEmitter(inner), *(CppPointer(inner, argument) for argument in names))
        inner.finish(f"NOINLINE void {unique}({', '.join(f'double *{argument}' for argument in names)}, long lane)")
        values = ", ".join(pointer.value for pointer in pointers)
        self.builder.add(f"for (long lane = 0; lane < 8; lane += WIDTH) {unique}({values}, lane);")

    def times(self, index: Any, factor: int) -> Any:
        """Index times factor."""
        return f"{index} * {factor}"

    def plus(self, index: Any, other: Any) -> Any:
        """Sum of two indices."""
        return f"({index} + {other})"

    def split(self, index: Any) -> tuple[Any, Any]:
        """Vector and lane of an element: index // 8, index % 8."""
        return f"({index} >> 3)", f"({index} & 7)"

    def square_root(self, vector: Vector) -> Vector:
        """Square root of each lane."""
        return self.builder.vector(f"square_root({vector.value})")

    def positive_part(self, vector: Vector) -> Vector:
        """max(0, v) of each lane."""
        return self.builder.vector(f"positive_part({vector.value})")

    def horizontal_sum(self, vector: Vector) -> Any:
        """Sum of the eight lanes, a scalar."""
        return self.builder.define("double", "x", f"horizontal_sum({vector.value})")

    def transpose(self, rows: list[Vector]) -> list[Vector]:
        """Columns of eight rows."""
        table = self.builder.name("t")
        self.builder.add(f"V {table}[8] = {{{', '.join(row.value for row in rows)}}};")
        self.builder.add(f"transpose({table});")
        return [CppVector(self.builder, f"{table}[{column}]") for column in range(len(rows))]


def stage_functions(stages: list[Any], shape: KernelShape, constants: dict[str, Any]) -> list[str]:
    """C++ functions of stages, after those they call.

    A stage becomes a function of its name and parameters, but for the shape and the `constants`, whose values are
    expressions that the file defines.
    """
    functions: list[str] = []
    for stage in stages:
        body, heads, operands = Body(functions), [], []
        for name, parameter in list(inspect.signature(stage.emit).parameters.items())[2:]:
            pointer = parameter.annotation == "Pointer"
            operands.append(CppPointer(body, name) if pointer else constants.get(name, name))
            if name not in constants:
                heads.append(f"double *{name}" if pointer else f"long {name}")
        result = stage.emit(CppEmitter(body), shape, *operands)
        if result is not None:
            body.add(f"return {result};")
        kind = "void" if result is None else "double"
        body.finish(f"NOINLINE {kind} {stage.emit.__name__}({', '.join(heads)})")
    return functions
