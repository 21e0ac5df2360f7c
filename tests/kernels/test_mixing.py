"""Derivatives by the channel mixing against finite differences of the kernel."""

import numpy as np
import pytest

from hpcmat_kernels.ace import ace_model, evaluate, split_coefficients
from hpcmat_kernels.mixing import mixing_rows
from hpcmat_kernels.neighbors import neighbor_list

STEP = 1e-6
CUTOFF, INNER = 4.0, 1.0


class Case:
    """Atoms of two species in a cell with self-images, coefficients, a direction of change."""

    def __init__(self, degrees):
        rng = np.random.default_rng(0)
        self.degrees = degrees
        self.mixing = rng.normal(size=(2, 4, 8, 5))
        self.direction = rng.normal(size=(4, 8, 5))
        self.species = rng.integers(0, 2, 9)
        self.neighbors = neighbor_list(rng.uniform(0, 5, size=(9, 3)), np.eye(3) * 5, (True,) * 3, CUTOFF)
        self.vector = rng.normal(size=self.model(0.0).n_features)

    def model(self, step):
        return ace_model(self.mixing + step * self.direction, CUTOFF, INNER, self.degrees)

    def coefficients(self):
        return split_coefficients(self.model(0.0), self.vector)

    def evaluate(self, step):
        return evaluate(self.model(step), self.coefficients(), self.neighbors, self.species)

    def rows(self):
        return mixing_rows(self.model(0.0), self.coefficients(), self.neighbors, self.species)

    def slope(self, value):
        """Central difference along the direction."""
        return (value(self.evaluate(STEP)) - value(self.evaluate(-STEP))) / (2 * STEP)


QUANTITIES = {
    "energy": lambda result: np.array([result.site_energies.sum()]),
    "forces": lambda result: result.forces.ravel(),
    "virial": lambda result: result.virial,
}


@pytest.mark.parametrize("degrees", [(3, 2), (2, -1)], ids=["up to four factors", "three factors"])
@pytest.mark.parametrize("name", QUANTITIES)
def test_rows_are_the_derivatives_of_the_kernel(degrees, name):
    case = Case(degrees)
    slope = case.slope(QUANTITIES[name])
    rows = np.atleast_2d(getattr(case.rows(), name))
    np.testing.assert_allclose(rows @ case.direction.ravel(), slope, rtol=1e-6, atol=1e-6 * abs(slope).max())


def test_rows_of_other_coefficients_differ():
    case = Case((3, 2))
    before = case.rows().forces
    case.vector = 1.1 * case.vector
    assert not np.allclose(case.rows().forces, before)


def test_rows_without_virial_are_the_others():
    case = Case((3, 2))
    whole = case.rows()
    rows = mixing_rows(case.model(0.0), case.coefficients(), case.neighbors, case.species, virial=False)
    assert len(rows.virial) == 0 and abs(whole.virial).max() > 0
    for name in ("energy", "forces"):
        np.testing.assert_allclose(getattr(rows, name), getattr(whole, name), rtol=1e-12, atol=1e-12)


def test_refuses_species_out_of_range():
    case = Case((3, 2))
    with pytest.raises(ValueError, match="Species must be"):
        mixing_rows(case.model(0.0), case.coefficients(), case.neighbors, case.species + 5)
