"""The output file of the teacher: text that is either whole, to its closing line, or refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TITLE = "hpcmat teacher output"
CLOSING_LINE = "end of calculation"


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What the file says: energy (eV), forces (n, 3) eV/Å, stress (6,) or (0,) eV/Å³ in ASE's sign and order."""

    energy: float
    forces: NDArray[np.float64]
    stress: NDArray[np.float64]
    converged: bool
    scf_steps: int


def write_output(path: Path, output: Output, fault: str | None) -> None:
    """Write the file with all digits; `not_finite`, `not_converged` and `truncated` spoil it in that way."""
    text = format_output(output, fault)
    path.write_text(text[: len(text) * 2 // 3] if fault == "truncated" else text)


def format_output(output: Output, fault: str | None = None) -> str:
    """Text of the file."""
    forces = np.array(output.forces)
    if fault == "not_finite":
        forces[0, 0] = np.nan
    verdict = "not converged" if fault == "not_converged" else "converged"
    lines = [TITLE, f"atoms {len(forces)}", f"scf {verdict} {output.scf_steps}", f"energy {output.energy!r}"]
    lines += [f"force {_numbers(row)}" for row in forces]
    lines += [f"stress {_numbers(output.stress)}".rstrip(), CLOSING_LINE]
    return "\n".join(lines) + "\n"


def read_output(path: Path, n_atoms: int) -> Output:
    """Parse a file written by `write_output`.

    Raises
    ------
    ValueError
        The file is missing, cut short, of another number of atoms, or not what this code writes.
    """
    try:
        text = path.read_text()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} cannot be read") from error
    if not text.endswith(f"\n{CLOSING_LINE}\n"):
        raise ValueError(f"{path.name} lacks its closing line")
    lines = iter(text.splitlines())
    try:
        return _parse(lines, n_atoms)
    except (StopIteration, IndexError) as error:
        raise ValueError(f"{path.name} is incomplete") from error


def _parse(lines: Iterator[str], n_atoms: int) -> Output:
    _expect(next(lines), TITLE)
    _expect(next(lines), f"atoms {n_atoms}")
    verdict, steps = _after(next(lines), "scf ").rsplit(" ", 1)
    energy = float(_after(next(lines), "energy "))
    forces = np.array([_vector(next(lines), "force ", {3}) for _ in range(n_atoms)])
    stress = np.array(_vector(next(lines), "stress", {0, 6}))
    _expect(next(lines), CLOSING_LINE)
    return Output(energy, forces, stress, converged=verdict == "converged", scf_steps=int(steps))


def _numbers(values: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _vector(line: str, prefix: str, sizes: set[int]) -> list[float]:
    numbers = [float(word) for word in _after(line, prefix).split()]
    if len(numbers) not in sizes:
        raise ValueError(f"{len(numbers)} numbers in the line of {prefix.strip()}")
    return numbers


def _after(line: str, prefix: str) -> str:
    if not line.startswith(prefix):
        raise ValueError(f"a line of {prefix.strip()} is missing")
    return line[len(prefix) :]


def _expect(line: str, content: str) -> None:
    if line != content:
        raise ValueError(f"a line does not say `{content}`")
