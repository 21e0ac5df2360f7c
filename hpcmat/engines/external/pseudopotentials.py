"""Pseudopotential files: where they are looked for, what their headers say, and which one belongs to an element."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ase.data import atomic_numbers, chemical_symbols

from hpcmat.errors import InputError
from hpcmat.toml_input import did_you_mean

SEARCH_VARIABLE = "HPCMAT_PSEUDOPOTENTIALS"
"""Folders that are searched first, separated by colons."""

Construction = Literal["norm-conserving", "ultrasoft", "paw"]
Format = Literal["upf", "psp8", "gth"]


@dataclass(frozen=True, slots=True)
class Pseudopotential:
    """What the header of a file says."""

    path: Path
    symbol: str
    xc: str
    """As in the settings (`PBE`); empty for any other functional."""
    construction: Construction
    format: Format
    valence: float
    """Electrons that it leaves to the calculation."""
    spin_orbit: bool = False


@dataclass(frozen=True, slots=True)
class Search:
    """Which files a code reads and where they are looked for."""

    formats: tuple[Format, ...]
    variables: tuple[str, ...]
    """Environment variables of the code itself that name folders."""
    folders: tuple[Path, ...]
    """Where packages put them."""
    get: str
    """How to get some."""
    default_families: Mapping[str, str] = field(default_factory=dict)
    """Folder to use for a functional if no family is named, below the folders searched; else those folders."""

    def roots(self, environment: Mapping[str, str] = os.environ) -> tuple[Path, ...]:
        """Folders that exist, in the order of the search."""
        named = (environment.get(name, "") for name in (SEARCH_VARIABLE, *self.variables))
        paths = [Path(part).expanduser() for text in named for part in text.split(":") if part]
        return tuple(path for path in (*paths, *self.folders) if path.is_dir())


def find(symbols: Iterable[str], xc: str, family: str, search: Search) -> dict[str, Pseudopotential]:
    """The one file of each element for a functional.

    Of several, norm-conserving ones come first, and those with spin-orbit coupling are left out.

    Raises
    ------
    InputError
        There is none, or more than one; names what was found and where it was looked for.
    """
    folders = _family_folders(family or search.default_families.get(xc, ""), search)
    return {symbol: _choose(symbol, xc, folders, search) for symbol in sorted(set(symbols))}


def valence_electrons(symbols: Iterable[str], files: Mapping[str, Pseudopotential]) -> float:
    """Electrons in the calculation."""
    return sum(files[symbol].valence for symbol in symbols)


def link(files: Mapping[str, Pseudopotential], folder: Path) -> None:
    """Links to the files under their own names in one folder: codes want them in one place, and short paths."""
    for file in files.values():
        place = folder / file.path.name
        place.unlink(missing_ok=True)
        place.symlink_to(file.path.resolve())


def _family_folders(family: str, search: Search) -> tuple[Path, ...]:
    if not family:
        return search.roots()
    path = Path(family).expanduser()
    if path.is_absolute() and path.is_dir():
        return (path,)
    found = next((root / family for root in search.roots() if (root / family).is_dir()), None)
    if found is None or path.is_absolute():
        known = sorted(entry.name for root in search.roots() for entry in root.iterdir() if entry.is_dir())
        hint = did_you_mean(family, known) or f"known families: {', '.join(known) or 'none'}"
        raise InputError(
            f"no folder '{family}' of pseudopotentials in {_shown(search)}; {hint}. To get one: {search.get}"
        )
    return (found,)


def _choose(symbol: str, xc: str, folders: tuple[Path, ...], search: Search) -> Pseudopotential:
    for folder in folders:
        fitting = [file for file in _of_element(folder, symbol, search.formats) if file.xc == xc]
        fitting = [file for file in fitting if not file.spin_orbit]
        best = [file for file in fitting if file.construction == "norm-conserving"] or fitting
        if len(best) == 1:
            return best[0]
        if best:
            names = ", ".join(file.path.name for file in best)
            raise InputError(
                f"{folder} has {len(best)} {xc} pseudopotentials for {symbol} ({names}); put the one you want into a "
                "folder of its own and name that folder in engine.pseudopotentials"
            )
    raise InputError(
        f"no {xc} pseudopotential for {symbol} ({', '.join(search.formats)}) in "
        f"{', '.join(map(str, folders)) or _shown(search)}; {search.get}, or name a folder in engine.pseudopotentials "
        f"or {SEARCH_VARIABLE}"
    )


def _shown(search: Search) -> str:
    return ", ".join(str(root) for root in search.roots()) or "any folder searched"


def _of_element(folder: Path, symbol: str, formats: tuple[Format, ...]) -> list[Pseudopotential]:
    # Names begin with the symbol, or with the atomic number and the symbol (`14_Si`).
    pattern = re.compile(rf"(\d+[-_.]?)?{symbol}(?![a-z])", re.IGNORECASE)
    files = [path for path in sorted(folder.iterdir()) if pattern.match(path.name) and path.is_file()]
    headers = (read_header(path) for path in files)
    return [found for found in headers if found and found.symbol == symbol and found.format in formats]


def read_header(path: Path) -> Pseudopotential | None:
    """What a file says of itself: UPF (versions 1 and 2), psp8, or GTH in ABINIT's form; None for anything else."""
    # The older UPF tells at its end whether it has spin-orbit coupling.
    text = path.read_text(encoding="utf-8", errors="replace")
    if "<PP_HEADER" in text:
        return _upf2(path, text) if re.search(r"<PP_HEADER\s+\w", text) else _upf1(path, text)
    return _abinit(path, text.splitlines()[:4])


def _upf2(path: Path, text: str) -> Pseudopotential | None:
    body = text[text.index("<PP_HEADER") :].partition("/>")[0]
    fields = {name: value.strip() for name, value in re.findall(r'(\w+)\s*=\s*"([^"]*)"', body)}
    try:
        return Pseudopotential(
            path,
            fields["element"].capitalize(),
            _functional(fields["functional"]),
            {"NC": "norm-conserving", "SL": "norm-conserving", "PAW": "paw"}.get(fields["pseudo_type"], "ultrasoft"),  # type: ignore[arg-type]
            "upf",
            float(fields["z_valence"]),
            fields.get("has_so", "F").strip(".").upper().startswith("T"),
        )
    except (KeyError, ValueError):
        return None


def _upf1(path: Path, text: str) -> Pseudopotential | None:
    lines = text[text.index("<PP_HEADER") :].splitlines()[1:7]
    try:
        kind = lines[2].split()[0]
        return Pseudopotential(
            path,
            lines[1].split()[0].capitalize(),
            _functional(lines[4]),
            "norm-conserving" if kind == "NC" else "ultrasoft",
            "upf",
            float(lines[5].split()[0]),
            "<PP_ADDINFO>" in text,
        )
    except (IndexError, ValueError):
        return None


def _abinit(path: Path, lines: list[str]) -> Pseudopotential | None:
    try:
        charge, valence = (float(word) for word in lines[1].split()[:2])
        code, functional = (int(word) for word in lines[2].split()[:2])
        symbol = chemical_symbols[int(charge)]
    except (IndexError, ValueError):
        return None
    if code not in {8, 10} or symbol not in atomic_numbers:
        return None
    return Pseudopotential(
        path, symbol, _ABINIT_XC.get(functional, ""), "norm-conserving", "psp8" if code == 8 else "gth", valence
    )


_ABINIT_XC = {1: "LDA", 2: "LDA", 7: "LDA", 11: "PBE", 15: "RPBE", -1012: "LDA", -101130: "PBE", -116133: "PBEsol"}
"""ABINIT's `ixc`; negative ones are pairs of libxc numbers."""


def _functional(text: str) -> str:
    """Name in the settings of a functional as UPF files write it, in one word or four."""
    words = text.upper().replace("-", " ").split()
    if words and words[0] in {"PBE", "LDA", "PZ", "PBESOL", "RPBE"}:
        return {"PZ": "LDA", "PBESOL": "PBEsol"}.get(words[0], words[0])
    key = " ".join(words[:4])
    return {
        "SLA PW PBE PBE": "PBE",
        "SLA PW PBX PBC": "PBE",
        "SLA PZ NOGX NOGC": "LDA",
        "SLA PW NOGX NOGC": "LDA",
        "SLA PW PSX PSC": "PBEsol",
        # Not `RPB` or `REVX`, by which pw.x means the functional of Zhang and Yang.
        "SLA PW HHNX PBC": "RPBE",
    }.get(key, "")
