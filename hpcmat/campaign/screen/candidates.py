"""Candidates of a screening: crystals of a prototype, or structures from a file."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from hpcmat.campaign.screen.spec import PrototypeSource, ScreenCampaign, Source
from hpcmat.campaign.structures import file_structures
from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.properties.elements import element_table

_FCC = np.array([(0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)])
_BCC = np.array([(-0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0.5, 0.5, -0.5)])


@dataclass(frozen=True, slots=True)
class _Lattice:
    """A prototype with lattice constant 1."""

    cell: np.ndarray
    sites: tuple[tuple[int, tuple[float, float, float]], ...]
    """(number of the list of elements, place) of each atom."""
    bond: float
    """Distance between neighbours."""
    neighbours: int


_PROTOTYPES = {
    "sc": _Lattice(np.eye(3), ((0, (0.0, 0.0, 0.0)),), 1.0, 6),
    "bcc": _Lattice(_BCC, ((0, (0.0, 0.0, 0.0)),), 3**0.5 / 2, 8),
    "fcc": _Lattice(_FCC, ((0, (0.0, 0.0, 0.0)),), 0.5**0.5, 12),
    "diamond": _Lattice(_FCC, ((0, (0.0, 0.0, 0.0)), (0, (0.25, 0.25, 0.25))), 3**0.5 / 4, 4),
    "zincblende": _Lattice(_FCC, ((0, (0.0, 0.0, 0.0)), (1, (0.25, 0.25, 0.25))), 3**0.5 / 4, 4),
    "rocksalt": _Lattice(_FCC, ((0, (0.0, 0.0, 0.0)), (1, (0.5, 0.5, 0.5))), 0.5, 6),
    "cesiumchloride": _Lattice(np.eye(3), ((0, (0.0, 0.0, 0.0)), (1, (0.5, 0.5, 0.5))), 3**0.5 / 2, 8),
    "L1_0": _Lattice(
        np.array([(0.5, 0.5, 0.0), (-0.5, 0.5, 0.0), (0.0, 0.0, 1.0)]),
        ((0, (0.0, 0.0, 0.0)), (1, (0.0, 0.5, 0.5))),
        0.5**0.5,
        12,
    ),
    "L1_2": _Lattice(
        np.eye(3),
        ((0, (0.0, 0.0, 0.0)), (1, (0.0, 0.5, 0.5)), (1, (0.5, 0.0, 0.5)), (1, (0.5, 0.5, 0.0))),
        0.5**0.5,
        12,
    ),
}


@dataclass(frozen=True, slots=True, eq=False)
class Crystal:
    """A candidate: a name of its own, and the structure from which its recipe starts."""

    name: str
    structure: Structure


def candidates_of(campaign: ScreenCampaign) -> tuple[Crystal, ...]:
    """All candidates in the order of the campaign file.

    Raises
    ------
    InputError
        A file cannot be read, an element is unknown, a site has no elements, or two candidates have one name.
    """
    return _listed(campaign, campaign.candidates, "candidates")


def references_of(campaign: ScreenCampaign) -> tuple[Crystal, ...]:
    """Crystals of the elements, against which energies are formed; errors as for candidates."""
    return _listed(campaign, campaign.references, "references")


def _listed(campaign: ScreenCampaign, sources: Iterable[Source], key: str) -> tuple[Crystal, ...]:
    found: list[Crystal] = []
    for number, source in enumerate(sources):
        where = f"{key}[{number}]"
        if isinstance(source, PrototypeSource):
            found.extend(_of_prototype(source, where))
        else:
            structures = file_structures(source, campaign.folder, where)
            found.extend(Crystal(f"{_formula(s.symbols)} {number}.{k}", s) for k, s in enumerate(structures))
    names = Counter(crystal.name for crystal in found)
    double = next((name for name, count in names.items() if count > 1), None)
    if double is not None:
        raise InputError(f"{key}: '{double}' occurs twice; list it once")
    return tuple(found)


def _of_prototype(source: PrototypeSource, where: str) -> Iterator[Crystal]:
    lattice = _PROTOTYPES[source.prototype]
    needed = 1 + max(site for site, _ in lattice.sites)
    if len(source.sites) != needed or not all(source.sites):
        raise InputError(f"{where}.sites: {source.prototype} has {needed} site(s); give one list of elements for each")
    for elements in product(*source.sites):
        if len(set(elements)) == needed:
            symbols = tuple(elements[site] for site, _ in lattice.sites)
            a = source.bond_scale * _bond_ang(elements, lattice.neighbours) / lattice.bond
            positions = np.array([place for _, place in lattice.sites]) * a
            yield Crystal(f"{_formula(symbols)} {source.prototype}", Structure(symbols, positions, lattice.cell * a))


def _bond_ang(elements: tuple[str, ...], neighbours: int) -> float:
    """First guess: the covalent radii, stretched with the coordination (Pauling, J. Am. Chem. Soc. 69 (1947) 542)."""
    table = element_table()
    radii = table.column("radius_ang")[table.rows(elements)]
    return float(2.0 * radii.mean() + 0.6 * np.log10(neighbours / 4.0))


def _formula(symbols: tuple[str, ...]) -> str:
    order = list(dict.fromkeys(symbols))
    counts = [symbols.count(symbol) for symbol in order]
    unit = math.gcd(*counts)
    return "".join(symbol + (str(n // unit) if n > unit else "") for symbol, n in zip(order, counts, strict=True))
