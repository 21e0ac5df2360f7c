"""CP2K's files of basis sets and potentials: where they are, and which entries belong together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hpcmat.engines.external.code import Code
from hpcmat.errors import InputError
from hpcmat.toml_input import did_you_mean

BASIS_FILES = ("BASIS_MOLOPT", "BASIS_MOLOPT_UZH", "GTH_BASIS_SETS")
POTENTIAL_FILE = "GTH_POTENTIALS"
FOLDER_VARIABLE = "CP2K_DATA_DIR"
GET = "apt-get install cp2k-data, or name the folder `data` of CP2K's sources in engine.data_folder"
_POTENTIALS = {"PBE": "GTH-PBE", "LDA": "GTH-PADE"}

Entries = Mapping[str, tuple[tuple[str, ...], ...]]
"""For each element the names of every entry, as its first line gives them."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Entries of one element."""

    symbol: str
    basis: str
    potential: str


@dataclass(frozen=True, slots=True)
class DataFiles:
    """The two files of a calculation and its entries in them."""

    basis: Path
    potentials: Path
    kinds: tuple[Kind, ...]


def find_data(symbols: Iterable[str], xc: str, basis: str, place: Path) -> DataFiles:
    """Entries of a basis family and of the potentials with the same numbers of electrons.

    A basis set that was made for ten electrons is no basis for a potential that leaves two: names such as `GTH-PBE`
    alone leave that open.

    Parameters
    ----------
    basis : name of the family, without the number of electrons.
    place : folder of the files, as `data_folder` finds it.

    Raises
    ------
    InputError
        A file or an entry is missing.
    """
    potentials = place / POTENTIAL_FILE
    wanted = sorted(set(symbols))
    for file in (place / name for name in BASIS_FILES if (place / name).is_file()):
        entries = _entries(file, file.stat().st_mtime_ns)
        names = {symbol: _named(entries.get(symbol, ()), basis) for symbol in wanted}
        if all(names.values()):
            kinds = tuple(_kind(symbol, names[symbol], xc, potentials) for symbol in wanted)
            return DataFiles(file, potentials, kinds)
    raise InputError(_no_basis(wanted, basis, place))


def data_folder(named: str, code: Code) -> Path:
    """Where the files are: the folder named, that of `CP2K_DATA_DIR`, or one beside the executable.

    Raises
    ------
    InputError
        They are in none of these, or no folder is named and there is no executable.
    """
    named = named or os.environ.get(FOLDER_VARIABLE, "")
    for place in (places := [Path(named).expanduser()] if named else _beside(Path(code.command()[0]))):
        if (place / POTENTIAL_FILE).is_file():
            return place
    raise InputError(f"CP2K's {POTENTIAL_FILE} is not in {', '.join(map(str, places))}; {GET}")


def _beside(executable: Path) -> list[Path]:
    installation = executable.resolve().parent.parent
    return [installation / "share" / "cp2k", installation / "share" / "data", installation / "data"]


def _kind(symbol: str, basis: str, xc: str, potentials: Path) -> Kind:
    valence = _valence(basis)
    name = f"{_POTENTIALS[xc]}-q{valence}"
    if not _named(_entries(potentials, potentials.stat().st_mtime_ns).get(symbol, ()), name):
        raise InputError(
            f"{potentials} has no {name} for {symbol}, which the basis set {basis} needs; choose another engine.basis"
        )
    return Kind(symbol, basis, name)


def _named(entries: tuple[tuple[str, ...], ...], name: str) -> str:
    """The name with the number of electrons of the entry called `name` (or `name-q4`); empty where there is none."""
    for names in entries:
        full = next((one for one in names if re.search(r"-q\d+$", one)), "")
        if full and (name in names or full == name or full.startswith(f"{name}-q")):
            return full
    return ""


def _valence(name: str) -> int:
    return int(name.rpartition("-q")[2])


@lru_cache(maxsize=16)
def _entries(path: Path, stamp: int) -> Entries:
    del stamp  # another file in the same place has other entries
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in path.read_text(errors="replace").splitlines():
        match = re.match(r"\s*([A-Z][a-z]?)\s+([A-Za-z]\S*(?:\s+[A-Za-z]\S*)*)\s*$", line)
        if match:
            found.setdefault(match[1], []).append(tuple(match[2].split()))
    return {symbol: tuple(names) for symbol, names in found.items()}


def _no_basis(symbols: list[str], basis: str, place: Path) -> str:
    files = [place / name for name in BASIS_FILES if (place / name).is_file()]
    if not files:
        return f"none of {', '.join(BASIS_FILES)} is in {place}; {GET}"
    known: set[str] = set()
    for file in files:
        entries = _entries(file, file.stat().st_mtime_ns)
        having = [
            {re.sub(r"-q\d+$", "", name) for names in entries.get(symbol, ()) for name in names} for symbol in symbols
        ]
        known |= set.intersection(*having) if having else set()
    hint = did_you_mean(basis, known) or f"there: {', '.join(sorted(known)) or 'none'}"
    return f"no basis sets {basis} for {', '.join(symbols)} in one file of {place}; {hint}"
