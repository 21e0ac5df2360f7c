"""Embedded-atom method: E_i = F(ρ_i) + ½ Σ_j φ(r_ij), with the density ρ_i = Σ_j ρ_{z_j}(r_ij) of the neighbours.

Daw and Baskes, Phys. Rev. B 29 (1984) 6443. Tables become the piecewise cubics of LAMMPS' `eam/alloy`: slopes at the
entries by differences over four neighbours, and above the last density a straight line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcmat_kernels.pair.eam_kernel import density_sites, embed, force_sites
from hpcmat_kernels.pair.evaluation import Parallel
from hpcmat_kernels.pair.setfl import Setfl, read_setfl
from hpcmat_kernels.simd.emitter import LANES
from hpcmat_kernels.simd.layout import aligned
from hpcmat_kernels.verlet import VerletList

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedAtom:
    """Cubics as the compiled loops take them."""

    elements: tuple[str, ...]
    """Element of each species."""
    pairs: Floats
    """(species² n_r, 8): cubics of the density of the second species and of r φ, first species slowest."""
    embedding: Floats
    """(species, n_ρ, 4) cubics of F."""
    numbers: Floats
    """Squared cutoff, entries per Å, last interval, n_r, number of species."""
    density_step: float
    cutoff: float
    """Å"""

    @property
    def n_species(self) -> int:
        """Number of species."""
        return len(self.elements)

    @property
    def parameters(self) -> tuple[Floats, Floats, tuple[Floats, float]]:
        """What `eam_kernel.eam_rows` takes."""
        return self.pairs, self.numbers, (self.embedding, self.density_step)

    def rows(self, verlet: VerletList, points: Floats, sums: tuple[Floats, Floats], parallel: Parallel) -> None:
        """As `evaluation.PairStyle`."""
        n = len(verlet.order)
        kept, ends = np.empty(len(verlet.neighbors) + LANES * n, dtype=np.int32), np.empty(n, dtype=np.int64)
        density, charged = np.empty(n), np.empty_like(points)
        rows = (points, verlet.offsets, verlet.neighbors, self.pairs, self.numbers, kept, ends)
        parallel(partial(density_sites, rows, density))
        energies = embed(verlet.owners, (points, density), (self.embedding, self.density_step), charged)
        parallel(partial(force_sites, (charged, verlet.offsets, points, *rows[3:]), (energies, *sums)))


def embedded_atom(source: str | Path | Setfl, elements: Sequence[str]) -> EmbeddedAtom:
    """Potential for species 0, 1, ... = `elements`, from a setfl file (`*.eam.alloy`) or its tables.

    Raises
    ------
    ValueError
        Where the file is not in the format, or does not hold an element.
    """
    tables = source if isinstance(source, Setfl) else read_setfl(source)
    missing = [name for name in elements if name not in tables.elements]
    if missing or not elements:
        raise ValueError(f"The tables are for {', '.join(tables.elements)}, not {missing}: choose among these.")
    chosen = [tables.elements.index(name) for name in elements]
    s, n_r = len(chosen), tables.density.shape[1]
    pairs = aligned((s, s, n_r, 8))
    for first, a in enumerate(chosen):
        for second, b in enumerate(chosen):
            pairs[first, second, :, :4] = cubics(tables.density[b])
            pairs[first, second, :, 4:] = cubics(tables.pair[a, b])
    embedding = np.stack([cubics(tables.embedding[a]) for a in chosen])
    numbers = np.array([tables.cutoff**2, 1.0 / tables.distance_step, n_r - 2.0, n_r, s])
    flat = pairs.reshape(-1, 8)
    for array in (flat, embedding, numbers):
        array.setflags(write=False)
    return EmbeddedAtom(tuple(elements), flat, embedding, numbers, tables.density_step, tables.cutoff)


def cubics(values: Floats) -> Floats:
    """Coefficients (n, 4), highest power first, of the cubic in p = 0 .. 1 from each entry to the next.

    The slope at an entry m is (f[m-2] - 8 f[m-1] + 8 f[m+1] - f[m+2]) / 12, nearer the ends a shorter difference.
    """
    f, slope = values, np.empty(len(values))
    slope[2:-2] = ((f[:-4] - f[4:]) + 8.0 * (f[3:-1] - f[1:-3])) / 12.0
    slope[1], slope[-2] = 0.5 * (f[2] - f[0]), 0.5 * (f[-1] - f[-3])
    slope[0], slope[-1] = f[1] - f[0], f[-1] - f[-2]
    rise, result = np.diff(f), np.zeros((len(f), 4))
    result[:, 3], result[:, 2] = f, slope
    result[:-1, 1] = 3.0 * rise - 2.0 * slope[:-1] - slope[1:]
    result[:-1, 0] = slope[:-1] + slope[1:] - 2.0 * rise
    return result
