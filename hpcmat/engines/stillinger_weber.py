"""Silicon of Stillinger and Weber, Phys. Rev. B 31, 5262 (1985), as an ASE calculator.

E = Σ_{i<j} ε f₂(r_ij/σ) + Σ_i Σ_{j<k} ε λ (cos θ_jik + 1/3)² g(r_ij) g(r_ik),
f₂(s) = A (B s⁻⁴ - 1) exp(1/(s - a)), g(s) = exp(γ/(s - a)), both zero for s ≥ a.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

Array = NDArray[np.float64]

SIGMA_ANG = 2.0951
EPSILON_EV = 2.1682
"""Gives the cohesive energy of diamond, 2 ε = 4.3364 eV per atom."""
_A = 7.049556277
_B = 0.6022245584
_CUTOFF = 1.80
_LAMBDA = 21.0
_GAMMA = 1.20


class StillingerWeber(Calculator):  # type: ignore[misc]  # ASE has no type information here
    """Energy (eV), site energies, forces (eV/Å) and stress (eV/Å³) of silicon, periodic or not.

    A pair's energy is shared equally; a triplet's energy belongs to its central atom.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "energies", "forces", "stress"]

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = tuple(all_changes)) -> None:
        """Compute all properties at once (ASE's entry point)."""
        Calculator.calculate(self, atoms, properties, system_changes)
        centre, other, vector = neighbor_list("ijD", self.atoms, cutoff=_CUTOFF * SIGMA_ANG)
        length = np.linalg.norm(vector, axis=1)
        # exp(1/(s - a)) has an essential singularity at the cutoff; beyond this distance it is below 1e-300.
        kept = length / SIGMA_ANG < _CUTOFF - 1.5e-3
        pairs = _Pairs(centre[kept], other[kept], vector[kept], length[kept])
        site_energies, gradient = _evaluate(pairs, len(self.atoms))
        self.results = self._results(pairs, site_energies, gradient)

    def _results(self, pairs: _Pairs, site_energies: Array, gradient: Array) -> dict[str, Any]:
        forces = np.zeros((len(site_energies), 3))
        np.add.at(forces, pairs.centre, gradient)
        np.add.at(forces, pairs.other, -gradient)
        energy = float(site_energies.sum())
        results: dict[str, Any] = {
            "energy": energy,
            "free_energy": energy,
            "energies": site_energies,
            "forces": forces,
        }
        if self.atoms.cell.rank == 3:
            virial = np.einsum("pa,pb->ab", pairs.vector, gradient) / self.atoms.get_volume()
            results["stress"] = full_3x3_to_voigt_6_stress(0.5 * (virial + virial.T))
        return results


class _Pairs:
    """Directed neighbour pairs sorted by their central atom: vectors from centre to other, Å."""

    def __init__(self, centre: NDArray[np.intp], other: NDArray[np.intp], vector: Array, length: Array) -> None:
        self.centre, self.other, self.vector, self.length = centre, other, vector, length


def _evaluate(pairs: _Pairs, n_atoms: int) -> tuple[Array, Array]:
    """Site energies (n,) and dE/d(vector) of each directed pair (p, 3)."""
    reduced = pairs.length / SIGMA_ANG
    unit = pairs.vector / pairs.length[:, None]
    site_energies = np.zeros(n_atoms)
    # Each pair is listed twice, once from either end.
    tail = 1.0 / (reduced - _CUTOFF)
    decay = EPSILON_EV * _A * np.exp(tail)
    polynomial = _B * reduced**-4 - 1.0
    np.add.at(site_energies, pairs.centre, 0.5 * decay * polynomial)
    slope = decay * (-4.0 * _B * reduced**-5 - polynomial * tail**2) / SIGMA_ANG
    gradient = 0.5 * slope[:, None] * unit
    _add_triplets(pairs, unit, site_energies, gradient)
    return site_energies, gradient


def _add_triplets(pairs: _Pairs, unit: Array, site_energies: Array, gradient: Array) -> None:
    """Add the angular energy to `site_energies` and its derivatives to `gradient`."""
    first, second = _triplets(pairs.centre)
    tail = 1.0 / (pairs.length / SIGMA_ANG - _CUTOFF)
    g = np.exp(_GAMMA * tail)
    dg = -_GAMMA * tail**2 * g / SIGMA_ANG
    cosine = np.einsum("ta,ta->t", unit[first], unit[second])
    bend = cosine + 1.0 / 3.0
    scale = EPSILON_EV * _LAMBDA
    np.add.at(site_energies, pairs.centre[first], scale * bend**2 * g[first] * g[second])
    for one, two in ((first, second), (second, first)):
        along = scale * bend**2 * dg[one] * g[two]
        across = 2.0 * scale * bend * g[one] * g[two] / pairs.length[one]
        turn = unit[two] - cosine[:, None] * unit[one]
        np.add.at(gradient, one, along[:, None] * unit[one] + across[:, None] * turn)


def _triplets(centre: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Indices (t,) and (t,) of all pairs of directed pairs that share their centre, each once."""
    starts = np.flatnonzero(np.r_[True, centre[1:] != centre[:-1]]) if len(centre) else np.zeros(0, np.intp)
    ends = np.r_[starts[1:], len(centre)] if len(centre) else starts
    first, second = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
    for start, end in zip(starts, ends, strict=True):
        one, two = np.triu_indices(int(end - start), 1)
        first.append(one + start)
        second.append(two + start)
    return np.concatenate(first), np.concatenate(second)
