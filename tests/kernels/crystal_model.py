"""A crystal that stays together: a cluster expansion fitted to a Lennard-Jones solid, for tests of dynamics."""

from functools import lru_cache

import numpy as np

from hpcmat_kernels.ace import ace_model, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.neighbors import neighbor_list

PERIODIC = (True, True, True)
CUTOFF, SIGMA, DEPTH, MASS = 4.4, 2.3, 4.0, 63.5
LATTICE = 3.515
FACE_CENTRES = np.array([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])


def fcc(repeat, rattle=0.0, seed=0, strain=0.0):
    """Positions and cell of a cubic crystal."""
    cells = np.array(list(np.ndindex(repeat, repeat, repeat)))
    positions = (cells[:, None] + FACE_CENTRES[None]).reshape(-1, 3) * LATTICE
    rng = np.random.default_rng(seed)
    deform = np.eye(3) * (1 + strain)
    noise = rattle * rng.normal(size=positions.shape)
    return positions @ deform + noise, np.eye(3) * LATTICE * repeat @ deform


def pair_forces(pairs, n):
    """Energy, forces and virial of Lennard-Jones times (1 - r/r_c)³, by the definition."""
    r = np.linalg.norm(pairs.vectors, axis=1)
    s6, u = (SIGMA / r) ** 6, 1 - r / CUTOFF
    plain, slope = 4 * DEPTH * (s6**2 - s6), 4 * DEPTH * (6 * s6 - 12 * s6**2) / r
    slope = slope * u**3 - 3 * plain * u**2 / CUTOFF
    along = 0.5 * (slope / r)[:, None] * pairs.vectors
    forces = np.zeros((n, 3))
    np.add.at(forces, pairs.first, along)
    np.add.at(forces, pairs.second, -along)
    outer = np.einsum("pa,pb->ab", along, pairs.vectors)
    virial = outer[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return 0.5 * (plain * u**3).sum(), forces, virial


@lru_cache(maxsize=1)
def fitted(members=4):
    """Model, coefficients and a committee of draws from the posterior of the fit."""
    rng = np.random.default_rng(0)
    model = ace_model(rng.normal(size=(1, 3, 6, 2)) / 6, CUTOFF, 1.5, (2, 1))
    rows, targets = [], []
    for seed in range(24):
        positions, cell = fcc(2, rattle=0.02 + 0.006 * seed, seed=seed, strain=-0.02 + 0.0025 * seed)
        pairs = neighbor_list(positions, cell, PERIODIC, CUTOFF)
        energy, forces, _ = pair_forces(pairs, len(positions))
        design = design_rows(model, pairs, np.zeros(len(positions), dtype=int))
        rows += [design.site.sum(axis=0)[None], design.forces]
        targets += [[energy], forces.ravel()]
    x, y = np.concatenate(rows), np.concatenate(targets)
    scale = np.sqrt((x**2).mean(axis=0)) + 1e-12
    normal = (x / scale).T @ (x / scale) + 1e-6 * np.eye(len(scale))
    vector = np.linalg.solve(normal, (x / scale).T @ y) / scale
    rms = np.sqrt(((x @ vector - y) ** 2).mean())
    root = np.linalg.inv(np.linalg.cholesky(normal)).T / scale[:, None] * rms
    draws = [split_coefficients(model, vector + root @ rng.normal(size=len(vector))) for _ in range(members)]
    return model, split_coefficients(model, vector), draws, rms
