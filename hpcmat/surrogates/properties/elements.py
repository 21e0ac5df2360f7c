"""Facts of the elements, as columns of descriptors; `elements.csv` names their sources."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat.toml_input import did_you_mean

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ElementTable:
    """Properties of the elements."""

    symbols: tuple[str, ...]
    names: tuple[str, ...]
    """Of the properties."""
    values: Floats
    """(elements, properties)"""

    def column(self, name: str) -> Floats:
        """(elements,) one property."""
        column: Floats = self.values[:, self.names.index(name)]
        return column

    def rows(self, symbols: Sequence[str]) -> Ints:
        """(n,) rows of these elements.

        Raises
        ------
        InputError
            An element without a row.
        """
        known = {symbol: row for row, symbol in enumerate(self.symbols)}
        for symbol in symbols:
            if symbol not in known:
                hint = did_you_mean(symbol, self.symbols) or "leave candidates with it out."
                raise InputError(f"'{symbol}' is no element from hydrogen to plutonium; {hint}")
        return np.array([known[symbol] for symbol in symbols])


@lru_cache(maxsize=1)
def element_table() -> ElementTable:
    """The table: lengths in Å, energies in the unit of `elements.csv`; what spans decades as its logarithm."""
    text = (resources.files(__package__) / "elements.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))
    symbols = tuple(row.pop("symbol") for row in rows)
    columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    columns["radius_ang"] = columns.pop("radius_pm") / 100.0
    columns["log_polarisability"] = np.log(columns.pop("polarisability_au"))
    columns["log_mass"] = np.log([atomic_masses[atomic_numbers[symbol]] for symbol in symbols])
    columns["valence"] = columns["s"] + columns["p"] + columns["d"]
    return ElementTable(symbols, tuple(columns), np.column_stack(list(columns.values())))
