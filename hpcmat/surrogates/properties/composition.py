"""Descriptors of a composition: statistics of the properties of its elements.

After Ward et al., npj Comput. Mater. 2 (2016) 16028: mean, mean absolute deviation and extremes of each property,
weighted with the fractions of the atoms, and how many elements share the atoms how evenly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hpcmat.surrogates.properties.elements import Floats, element_table

STATISTICS = ("mean", "deviation", "least", "largest")


def composition_names() -> tuple[str, ...]:
    """Names of the descriptors, in order."""
    names = element_table().names
    return (*(f"{statistic} {name}" for statistic in STATISTICS for name in names), "elements", "evenness")


def composition_descriptors(symbols: Sequence[str]) -> Floats:
    """(len(composition_names()),) descriptors of the atoms `symbols`; the order and number of copies do not matter.

    Raises
    ------
    InputError
        An element beyond plutonium.
    """
    table = element_table()
    elements, counts = np.unique(table.rows(symbols), return_counts=True)
    fractions = counts / counts.sum()
    values = table.values[elements]
    mean = fractions @ values
    deviation = fractions @ np.abs(values - mean)
    spread = [len(elements), np.sqrt(fractions @ fractions)]
    return np.concatenate([mean, deviation, values.min(axis=0), values.max(axis=0), spread])
