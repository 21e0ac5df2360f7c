"""What to write instead of a key or a value in another unit: `cutoff_ry = 22` should be `cutoff_ev = 299.3`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit of one dimension: value in the project's unit = factor × value + offset."""

    dimension: str
    factor: float
    offset: float = 0.0


_SYNONYMS = {"rydberg": "ry", "hartree": "ha", "kj_per_mol": "kjmol", "angstrom": "ang", "a": "ang", "au": "bohr"}
_SHOWN = {"ev": "eV", "ang": "Å", "ev_per_ang": "eV/Å", "per_ang": "1/Å", "k": "K", "fs": "fs", "s": "s"}
_TIMES = {"s": 1.0, "min": 60.0, "minutes": 60.0, "h": 3600.0, "hours": 3600.0, "days": 86400.0}
_SHORT_TIMES = {"ms": 1e-3, "ns": 1e-9, "ps": 1e-12, "fs": 1e-15, "as": 1e-18}
_VALUE_WITH_UNIT = re.compile(r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([A-Za-zÅ/_]+)\s*")


@cache
def known_units() -> dict[str, Unit]:
    """Units by the suffix with which a key may end, in lower case."""
    from hpcmat.units import ANG_PER, EV_PER

    energies = EV_PER | {word: EV_PER[unit] for word, unit in _SYNONYMS.items() if unit in EV_PER}
    lengths = ANG_PER | {word: ANG_PER[unit] for word, unit in _SYNONYMS.items() if unit in ANG_PER}
    units = {name: Unit("energy", factor) for name, factor in energies.items()}
    units |= {name: Unit("length", factor) for name, factor in lengths.items()}
    units |= {f"per_{name}": Unit("wave number", 1.0 / factor) for name, factor in lengths.items()}
    for energy, ev in energies.items():
        units |= {f"{energy}_per_{length}": Unit("force", ev / ang) for length, ang in lengths.items()}
    units |= {name: Unit("time", factor) for name, factor in (_TIMES | _SHORT_TIMES).items()}
    units |= {"k": Unit("temperature", 1.0), "c": Unit("temperature", 1.0, 273.15)}
    return units | {"celsius": units["c"], "kelvin": units["k"]}


def unit_of(key: str) -> str:
    """Unit of a key by its suffix, as printed (`eV/Å`); empty for a pure number."""
    if key == "node_hours":
        return "node-hours"
    return _SHOWN.get(_split(key)[1], "")


def unit_hint(key: str, value: Any, allowed: Sequence[str]) -> str:
    """Sentence for an unknown key that is a known one in another unit, or an empty text."""
    stem, suffix = _split(key)
    if not suffix:
        return ""
    for name in allowed:
        known_stem, known_suffix = _split(name)
        if known_stem == stem and known_suffix in _SHOWN and _dimension(known_suffix) == _dimension(suffix):
            number = _converted(value, suffix, known_suffix)
            return f"the unit of {stem} is {_SHOWN[known_suffix]} here: write {name}{number}"
    return ""


def value_hint(key: str, value: Any) -> str:
    """Sentence for a value written as a text with its unit, or an empty text."""
    suffix = _split(key)[1]
    match = _VALUE_WITH_UNIT.fullmatch(value) if isinstance(value, str) else None
    if match is None or not suffix:
        return f"write a number in {_SHOWN[suffix]}" if suffix in _SHOWN else ""
    unit = match[2].lower().replace("å", "ang").replace("/", "_per_").removeprefix("1_")
    if unit not in known_units() or _dimension(unit) != _dimension(suffix):
        return f"write a number in {_SHOWN[suffix]}"
    return f"write {key}{_converted(float(match[1]), unit, suffix)}"


def _split(key: str) -> tuple[str, str]:
    """Stem and the longest suffix that is a unit."""
    words = key.lower().split("_")
    for start in range(1, len(words)):
        suffix = "_".join(words[start:])
        if suffix in known_units():
            return "_".join(words[:start]), suffix
    return key, ""


def _dimension(suffix: str) -> str:
    return known_units()[suffix].dimension


def _converted(value: Any, written: str, wanted: str) -> str:
    if isinstance(value, list):
        numbers = [_in_unit(item, written, wanted) for item in value if isinstance(item, int | float)]
        return f" = [{', '.join(numbers)}]" if numbers and len(numbers) == len(value) else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return f" = {_in_unit(value, written, wanted)}"


def _in_unit(value: float, written: str, wanted: str) -> str:
    source, target = known_units()[written], known_units()[wanted]
    number = (source.factor * value + source.offset - target.offset) / target.factor
    # Four digits are what a user would have written; a temperature in °C keeps its .15.
    text = f"{number:.4g}" if abs(number) < 1e4 and not source.offset else f"{number:.6g}"
    return text if "." in text or "e" in text else text + ".0"
