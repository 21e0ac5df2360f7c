"""Pseudopotentials of Goedecker, Teter and Hutter (Phys. Rev. B 54, 1703 (1996)) from CP2K's table to files.

The table (`GTH_POTENTIALS`) has the parameters of every element in a few lines. ABINIT reads them in its format 10, and
pw.x reads the same file if its name ends with `.gth`: both codes and CP2K then solve one and the same problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ase.data import atomic_numbers

from hpcmat.errors import InputError

_IXC = {"PBE": 11, "PADE": 1, "LDA": 1}


@dataclass(frozen=True, slots=True)
class Channel:
    """Projectors of one angular momentum: radius (bohr) and upper triangle of their coefficients, by rows (Hartree)."""

    radius: float
    count: int
    coefficients: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GthPotential:
    """One entry of the table: local part (radius, coefficients) and channels s, p, d, ..."""

    symbol: str
    name: str
    electrons: int
    radius: float
    local: tuple[float, ...]
    channels: tuple[Channel, ...]

    @property
    def file_name(self) -> str:
        """`Si.gth`."""
        return f"{self.symbol}.gth"


def find_potential(table: Path, symbol: str, xc: str, electrons: int | None = None) -> GthPotential:
    """Entry of an element and functional (`PBE`, `PADE`); with the fewest electrons, if their number is not given.

    Raises
    ------
    InputError
        The table cannot be read or has no such entry.
    """
    try:
        entries = [entry for entry in read_table(table.read_text()) if entry.symbol == symbol]
    except (OSError, ValueError, IndexError) as error:
        raise InputError(f"{table}: no table of GTH potentials in CP2K's format ({error}); give another file") from None
    fitting = [
        entry for entry in entries if entry.name.split("-")[1:2] == [xc] and electrons in {None, entry.electrons}
    ]
    if not fitting:
        names = ", ".join(entry.name for entry in entries) or "nothing"
        raise InputError(f"{table}: no GTH-{xc} potential for {symbol}; it has {names}")
    return min(fitting, key=lambda entry: entry.electrons)


def read_table(text: str) -> Iterator[GthPotential]:
    """Entries of a table: a line `Si GTH-PBE-q4 GTH-PBE`, then numbers up to the next such line."""
    names: list[str] = []
    numbers: list[float] = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0] in {"PSEUDOPOTENTIAL", "END"}:
            continue
        if words[0][0].isalpha():
            if names:
                yield _entry(names, numbers)
            names, numbers = words, []
            electrons_follow = True
        elif electrons_follow:
            numbers, electrons_follow = [float(sum(map(int, words)))], False
        else:
            numbers += [float(word) for word in words]
    if names:
        yield _entry(names, numbers)


def _entry(names: list[str], numbers: list[float]) -> GthPotential:
    left = iter(numbers)
    electrons, radius, count = int(next(left)), next(left), int(next(left))
    local = tuple(next(left) for _ in range(count))
    channels = []
    for _ in range(int(next(left))):
        width, projectors = next(left), int(next(left))
        triangle = tuple(next(left) for _ in range(projectors * (projectors + 1) // 2))
        channels.append(Channel(width, projectors, triangle))
    return GthPotential(names[0], names[1], electrons, radius, local, tuple(channels))


def write_potential(potential: GthPotential, folder: Path) -> Path:
    """Write `Si.gth` in ABINIT's format 10 (`pspcod`); returns its path."""
    path = folder / potential.file_name
    path.write_text(format_potential(potential))
    return path


def format_potential(potential: GthPotential) -> str:
    """Text of the file. Empty channels at the end are left out, at which pw.x and ABINIT would run into the end."""
    channels = list(potential.channels)
    while channels and not channels[-1].count:
        channels.pop()
    ixc = _IXC[potential.name.split("-")[1]]
    lines = [
        f"{potential.name} {potential.symbol}",
        f"{atomic_numbers[potential.symbol]} {potential.electrons} 010101 zatom,zion,pspdat",
        f"10 {ixc} {max(len(channels) - 1, 0)} 0 2001 0 pspcod,pspxc,lmax,lloc,mmax,r2well",
        f"{potential.radius:.8f} {len(potential.local)} {_shown(potential.local)} rloc nloc c".replace("  ", " "),
        f"{len(channels)} nnonloc",
    ]
    for momentum, channel in enumerate(channels):
        lines += _channel_lines(channel, spin_orbit=momentum > 0)
    return "\n".join(lines) + "\n"


def _channel_lines(channel: Channel, spin_orbit: bool) -> Iterator[str]:
    rows = range(channel.count, 0, -1)
    left = iter(channel.coefficients)
    triangle = [_shown([next(left) for _ in range(length)]) for length in rows]
    yield f"{channel.radius:.8f} {channel.count} {triangle[0] if triangle else ''}".rstrip()
    yield from triangle[1:]
    if spin_orbit:
        # The format has a second triangle for spin-orbit coupling, which the table does not give.
        yield from (_shown([0.0] * length) for length in rows)


def _shown(numbers: list[float] | tuple[float, ...]) -> str:
    return " ".join(f"{number:.8f}" for number in numbers)
