"""The Lennard-Jones potential φ(r) = 4ε ((σ/r)¹² - (σ/r)⁶), cut off at r_c and, where wished, shifted to φ(r_c) = 0.

Proc. R. Soc. Lond. A 106 (1924) 463. The force is not shifted and jumps at r_c.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpcmat_kernels.pair.evaluation import Parallel
from hpcmat_kernels.pair.lj_kernel import lj_sites
from hpcmat_kernels.pair.parameters import symmetric
from hpcmat_kernels.verlet import VerletList

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class LennardJones:
    """Parameters as the compiled loops take them."""

    table: Floats
    """(species², 4): 4εσ¹² eV Å¹², 4εσ⁶ eV Å⁶, φ(r_c) eV or 0, r_c² Å²."""
    n_species: int
    cutoff: float
    """Å, the longest."""

    @property
    def parameters(self) -> tuple[Floats, Floats]:
        """What `lj_kernel.lj_rows` takes."""
        return self.table, np.array([float(self.n_species)])

    def rows(self, verlet: VerletList, points: Floats, sums: tuple[Floats, Floats], parallel: Parallel) -> None:
        """As `evaluation.PairStyle`."""
        arrays = (points, verlet.offsets, verlet.neighbors, *self.parameters, *sums)
        parallel(partial(lj_sites, arrays))


def lennard_jones(epsilon: ArrayLike, sigma: ArrayLike, cutoff: ArrayLike, shift: bool = False) -> LennardJones:
    """Lennard-Jones potential; each parameter is one number or a symmetric matrix (species, species).

    Parameters
    ----------
    epsilon : depth, eV.
    sigma, cutoff : Å.
    shift : take φ(r_c) off the energy.

    Raises
    ------
    ValueError
        Where a matrix is not symmetric or of another size than the rest, or σ or a cutoff is not positive.
    """
    n_species = max(len(np.atleast_1d(np.asarray(value))) for value in (epsilon, sigma, cutoff))
    named = {"epsilon": epsilon, "sigma": sigma, "cutoff": cutoff}
    depth, size, reach = (symmetric(name, value, n_species) for name, value in named.items())
    if min(size.min(), reach.min()) <= 0:
        raise ValueError("sigma and the cutoffs must be positive lengths in Å: correct the parameters.")
    sixth = 4.0 * depth * size**6
    twelfth = sixth * size**6
    at_cutoff = twelfth / reach**12 - sixth / reach**6
    columns = [twelfth, sixth, at_cutoff if shift else np.zeros_like(depth), reach**2]
    table = np.ascontiguousarray(np.stack(columns, axis=-1).reshape(-1, 4))
    table.setflags(write=False)
    return LennardJones(table, n_species, float(reach.max()))
