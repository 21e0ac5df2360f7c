"""Changes of densities against finite differences of the densities themselves."""

import numpy as np
import pytest

from hpcmat_kernels.ace import ace_model, densities, pairs_of, shape_of
from hpcmat_kernels.displacements import most_directions, site_changes, site_workspace
from hpcmat_kernels.harmonics import recursion
from hpcmat_kernels.neighbors import neighbor_list

STEP = 1e-5
RNG = np.random.default_rng(4)
CELL = 5.0 * np.eye(3) + RNG.uniform(-0.4, 0.4, size=(3, 3))
POSITIONS = RNG.uniform(0, 5, size=(6, 3))
SPECIES = np.array([0, 1, 1, 0, 1, 0])
MODEL = ace_model(np.zeros((2, 4, 6, 1)), 4.2, 0.8, (-1, -1))
N, N_LM, N_Q = 6, 16, 6
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def density(positions, cell):
    return densities(MODEL, neighbor_list(positions, cell, (True,) * 3, MODEL.cutoff), SPECIES)


def moved(row, step):
    """Densities (n, lm, Q) after atom row // 3 was shifted, or the cell strained by component row - 3 n."""
    if row < 3 * N:
        shift = np.zeros((N, 3))
        shift[row // 3, row % 3] = step
        return density(POSITIONS + shift, CELL)
    a, b = VOIGT[row - 3 * N]
    strain = np.eye(3)
    strain[a, b] += 0.5 * step
    strain[b, a] += 0.5 * step
    return density(POSITIONS @ strain, CELL @ strain)


@pytest.fixture(scope="module")
def changes():
    """(row, atom, lm, Q): derivative of each atom's density."""
    pairs = neighbor_list(POSITIONS, CELL, (True,) * 3, MODEL.cutoff)
    legendre = recursion(MODEL.l_max)
    work = site_workspace(legendre, (2, 3, 8, N_LM), most_directions(MODEL, pairs.offsets))
    total = np.zeros((3 * N + 6, N, N_LM, N_Q))
    for i in range(N):
        count = site_changes(pairs_of(pairs), i, SPECIES, shape_of(MODEL), legendre, work)
        _, _, site, change, rows, columns = work
        np.testing.assert_allclose(site[:, :N_Q], density(POSITIONS, CELL)[i], rtol=1e-12, atol=1e-12)
        for d in range(count):
            # Rows of forces have the sign of a force.
            sign = -1.0 if rows[d] < 3 * N else 1.0
            total[rows[d], i, :, columns[d] : columns[d] + 3] += sign * change[d, :, :3]
    return total


@pytest.mark.parametrize("row", [0, 4, 11, 18, 20, 21, 22, 23])
def test_changes_are_the_derivatives_of_the_densities(changes, row):
    slope = (moved(row, STEP) - moved(row, -STEP)) / (2 * STEP)
    np.testing.assert_allclose(changes[row], slope, rtol=1e-6, atol=1e-7)
    other = (row + 1) % len(changes)
    assert abs(changes[other] - slope).max() > 1e-2


def test_shift_of_all_atoms_changes_nothing(changes):
    for a in range(3):
        np.testing.assert_allclose(changes[a : 3 * N : 3].sum(axis=0), 0.0, atol=1e-12)
