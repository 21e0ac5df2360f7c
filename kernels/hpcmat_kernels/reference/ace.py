"""Site energies of the cluster expansion written as the formulas stand, sharing no code with the kernels but W and θ.

Periodic images are summed by brute force, harmonics come from angles and associated Legendre functions, invariant
products are contractions of dense Gaunt tensors.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.polynomial import Legendre, chebyshev
from numpy.typing import NDArray

from hpcmat_kernels.ace import AceModel, Coefficients
from hpcmat_kernels.couplings import ProductPath, gaunt

Floats = NDArray[np.float64]


def site_energies(
    model: AceModel,
    coefficients: Coefficients,
    positions: Floats,
    cell: Floats,
    pbc: tuple[bool, bool, bool],
    species: NDArray[np.int64],
) -> Floats:
    """Energies (n,) eV; see `hpcmat_kernels.ace` for the formulas."""
    energies = np.empty(len(positions))
    for i in range(len(positions)):
        around = _neighbours(positions, cell, pbc, i, model.cutoff)
        density = _density(model, int(species[i]), around, species)
        energies[i] = _energy(model, coefficients, density, int(species[i]))
    return energies


def _neighbours(
    positions: Floats, cell: Floats, pbc: tuple[bool, bool, bool], centre: int, cutoff: float
) -> list[tuple[int, Floats]]:
    """(index, vector) of every atom and image within the cutoff of atom `centre`."""
    spread = cutoff + np.ptp(positions, axis=0).sum()
    reach = [0, 0, 0]
    for a in range(3):
        if pbc[a]:
            normal = np.cross(cell[(a + 1) % 3], cell[(a + 2) % 3]) if all(pbc) else cell[a]
            reach[a] = math.ceil(spread * np.linalg.norm(normal) / abs(normal @ cell[a])) + 1
    found = []
    for shift in itertools.product(*(range(-n, n + 1) for n in reach)):
        for j in range(len(positions)):
            vector = positions[j] + np.array(shift) @ cell - positions[centre]
            if 1e-9 < np.linalg.norm(vector) < cutoff:
                found.append((j, vector))
    return found


def real_harmonic(degree: int, order: int, vector: Floats) -> float:
    """Y_lm with mean square 1 over the sphere, from the angles."""
    x, y, z = vector / np.linalg.norm(vector)
    m = abs(order)
    theta, phi = math.acos(max(-1.0, min(1.0, z))), math.atan2(y, x)
    derivative = Legendre.basis(degree).deriv(m) if m else Legendre.basis(degree)
    associated = math.sin(theta) ** m * float(derivative(math.cos(theta)))
    norm = math.sqrt((2 * degree + 1) * math.factorial(degree - m) / math.factorial(degree + m))
    if order == 0:
        return norm * associated
    return math.sqrt(2) * norm * associated * (math.cos(m * phi) if order > 0 else math.sin(m * phi))


def _radial(model: AceModel, pair: tuple[int, int], distance: float) -> Floats:
    s = (2 * distance - model.cutoff - model.inner) / (model.cutoff - model.inner)
    values: Floats = chebyshev.chebvander(np.array([s]), model.n_radial - 1)[0]
    return values * (1 - distance / model.cutoff) ** 3 * _core(model, pair, distance)


def _core(model: AceModel, pair: tuple[int, int], distance: float) -> float:
    start, end = model.core[pair]
    if distance >= end:
        return 1.0
    t = (distance - start) / (end - start)
    return 6 * t**5 - 15 * t**4 + 10 * t**3 if t > 0 else 0.0


def _density(
    model: AceModel, centre: int, neighbours: list[tuple[int, Floats]], species: NDArray[np.int64]
) -> list[Floats]:
    """A[l][m, q] of an atom of species `centre`."""
    density = [np.zeros((2 * degree + 1, model.n_density)) for degree in range(model.l_max + 1)]
    for j, vector in neighbours:
        q = slice(int(species[j]) * model.n_radial, (int(species[j]) + 1) * model.n_radial)
        radial = _radial(model, (centre, int(species[j])), float(np.linalg.norm(vector)))
        for degree in range(model.l_max + 1):
            for order in range(-degree, degree + 1):
                density[degree][order + degree, q] += real_harmonic(degree, order, vector) * radial
    return density


def _energy(model: AceModel, coefficients: Coefficients, density: list[Floats], z: int) -> float:
    energy = float(coefficients.constant[z]) + float(coefficients.linear[z] @ density[0][0])
    for degree, a in enumerate(density):
        energy += float(np.einsum("mq,qp,mp->", a, coefficients.pair[z, degree], a))
    for c in range(model.n_channels):
        channel = [a @ model.mixing[z, degree, :, c] for degree, a in enumerate(density)]
        for p, path in enumerate(model.paths):
            energy += float(coefficients.product[z, p, c]) * _product(path, channel)
    return energy


def _product(path: ProductPath, channel: list[Floats]) -> float:
    if path.intermediate is None:
        l1, l2, l3 = path.degrees
        return float(np.einsum("abc,a,b,c->", gaunt(l1, l2, l3), channel[l1], channel[l2], channel[l3]))
    l1, l2, l3, l4 = path.degrees
    left = np.einsum("abm,a,b->m", gaunt(l1, l2, path.intermediate), channel[l1], channel[l2])
    right = np.einsum("abm,a,b->m", gaunt(l3, l4, path.intermediate), channel[l3], channel[l4])
    return float(left @ right)
