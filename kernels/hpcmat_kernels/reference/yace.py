"""Site energies of a .yace file (as `hpcmat_kernels.lammps.yace` writes it), term by term as the format is documented.

Lysogorskiy et al., npj Comput. Mater. 7 (2021) 97. No code is shared with the kernels or with the writer; spline tables
are not imitated: radial functions are evaluated where they are needed.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.polynomial import Legendre, chebyshev
from numpy.typing import NDArray

from hpcmat_kernels.neighbors import NeighborList

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


@dataclass(frozen=True)
class YaceFile:
    """Content of a file."""

    elements: list[str]
    constants: list[float]
    bonds: dict[tuple[int, int], dict[str, Any]]
    functions: dict[int, list[dict[str, Any]]]


def parse(text: str) -> YaceFile:
    """Read sections of lines in flow style; embeddings must be the density itself."""
    sections: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line[0] != " ":
            name, _, rest = line.partition(":")
            sections[name] = [rest] if rest else []
        else:
            sections[name].append(line.strip())
    embeddings = [_value(line.partition(": ")[2]) for line in sections["embeddings"]]
    assert all(e["npoti"] == "FinnisSinclair" and e["FS_parameters"] == [1.0, 1.0] for e in embeddings)
    bonds = dict(line.split(": ", 1) for line in sections["bonds"])
    functions: dict[int, list[dict[str, Any]]] = {}
    current: list[dict[str, Any]] = []
    for line in sections["functions"]:
        if line.startswith("- "):
            current.append(_value(line[2:]))
        else:
            current = functions[int(line.rstrip(":"))] = []
    (elements,), (constants,) = sections["elements"], sections["E0"]
    pairs = {(first, second): _value(bond) for key, bond in bonds.items() for first, second in [_value(key)]}
    return YaceFile(_value(elements), _value(constants), pairs, functions)


def _value(text: str) -> Any:
    """A value in flow style: JSON but for the quotes around words."""
    return json.loads(re.sub(r"(?<![\w.])[A-Za-z_]\w*", r'"\g<0>"', text))


def site_energies(file: YaceFile, neighbors: NeighborList, species: NDArray[np.int64]) -> Floats:
    """Energies (n,) eV of atoms with these neighbours."""
    energies = np.empty(len(species))
    for i, z in enumerate(species):
        pairs = range(neighbors.offsets[i], neighbors.offsets[i + 1])
        around = [(int(species[neighbors.second[p]]), neighbors.vectors[p]) for p in pairs]
        single, densities = _densities(file, int(z), around)
        total = 0.0 + 0.0j
        for function in file.functions[int(z)]:
            total += _product(function, single, densities)
        energies[i] = file.constants[z] + total.real
    return energies


def _product(function: dict[str, Any], single: dict[tuple[int, int], float], densities: dict[Any, complex]) -> complex:
    """Σ over combinations of m of c Π A."""
    mus, ns, ls, rank = function["mus"], function["ns"], function["ls"], function["rank"]
    if rank == 1:
        return complex(function["ctildes"][0] * single.get((mus[0], ns[0]), 0.0))
    total = 0.0 + 0.0j
    orders = np.reshape(function["ms_combs"], (-1, rank)).tolist()
    for weight, ms in zip(function["ctildes"], orders, strict=True):
        factors = zip(mus, ns, ls, ms, strict=True)
        total += weight * math.prod(densities.get(factor, 0.0) for factor in factors)
    return total


def _densities(
    file: YaceFile, centre: int, around: list[tuple[int, Floats]]
) -> tuple[dict[tuple[int, int], float], dict[Any, complex]]:
    """Σ_j G_n by (species, n), and A by (species, n, l, m)."""
    single: dict[tuple[int, int], float] = {}
    densities: dict[Any, complex] = {}
    for z, vector in around:
        bond = file.bonds[centre, z]
        basis = _basis(bond, float(np.linalg.norm(vector)))
        for n, value in enumerate(basis):
            single[z, n + 1] = single.get((z, n + 1), 0.0) + float(value)
        radial = np.array(bond["radcoefficients"]) @ basis
        for degree in range(bond["lmax"] + 1):
            for m in range(-degree, degree + 1):
                angular = complex_harmonic(degree, m, vector)
                for n in range(bond["nradmax"]):
                    key = (z, n + 1, degree, m)
                    densities[key] = densities.get(key, 0.0) + float(radial[n, degree]) * angular
    return single, densities


def _basis(bond: dict[str, Any], distance: float) -> Floats:
    """ChebPow functions G_n, n = 1 .. nradbasemax, times the inner cutoff."""
    assert bond["radbasename"] == "ChebPow" and bond["inner_cutoff_type"] == "distance" and bond["prehc"] == 0.0
    x = 2.0 * (1.0 - (1.0 - distance / bond["rcut"]) ** bond["radparameters"][0]) - 1.0
    values: Floats = 0.5 - 0.5 * chebyshev.chebvander(np.array([x]), bond["nradbasemax"])[0, 1:]
    return values * (1.0 - _inner_cutoff(distance, bond["rcut_in"], bond["dcut_in"]))


def _inner_cutoff(distance: float, end: float, width: float) -> float:
    """1 below end - width, 0 beyond end."""
    if distance >= end:
        return 0.0
    if distance <= end - width:
        return 1.0
    x = 1.0 - 2.0 * (1.0 + (distance - end) / width)
    return 0.5 + 3.75 * (x / 4.0 - x**3 / 6.0 + x**5 / 20.0)


def complex_harmonic(degree: int, order: int, vector: Floats) -> complex:
    """Y_lm with Condon-Shortley phase and Y_00 = 1, from the angles."""
    x, y, z = vector / np.linalg.norm(vector)
    m = abs(order)
    derivative = Legendre.basis(degree).deriv(m) if m else Legendre.basis(degree)
    associated = (-1) ** m * math.sqrt(max(0.0, 1.0 - z * z)) ** m * float(derivative(z))
    norm = math.sqrt((2 * degree + 1) * math.factorial(degree - m) / math.factorial(degree + m))
    angle = math.atan2(y, x)
    value = norm * associated * complex(math.cos(m * angle), math.sin(m * angle))
    return value if order >= 0 else (-1) ** m * value.conjugate()
