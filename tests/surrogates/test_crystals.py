"""A crystal at several volumes is found among other frames, and nothing else is."""

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.surrogates.crystals import crystal_at_rest, scaled_copies
from hpcmat.surrogates.dataset import Dataset, Frame, LabelKeys


def data_set(labels):
    frames = tuple(Frame(index, label, "") for index, label in enumerate(labels))
    return Dataset("set.xyz", "ab" * 32, LabelKeys("E", "F"), frames, (), ("Si",), (), len(labels))


def silicon(a_ang):
    return bulk("Si", a=a_ang, cubic=True)


@pytest.fixture
def others(make):
    """A rattled, a sheared and a larger cell of the same atoms."""
    sheared, rattled = silicon(5.4), silicon(5.5)
    sheared.set_cell(sheared.cell.array @ (np.eye(3) + 0.01 * np.eye(3, k=1)), scale_atoms=True)
    rattled.rattle(0.05, seed=0)
    return [make.label(atoms) for atoms in (sheared, rattled, silicon(5.4) * (2, 1, 1))]


def test_scaled_cells_are_found(make, others):
    shifted = silicon(5.6)
    shifted.positions += 1.0
    shifted.wrap()
    crystals = [make.label(atoms) for atoms in (silicon(5.5), silicon(5.431), silicon(5.3), shifted)]
    data = data_set([*crystals, *others])
    seed = crystal_at_rest(data)
    assert seed == crystals[1].structure
    volumes = [np.linalg.det(label.structure.cell) ** (1 / 3) for label in scaled_copies(data, seed)]
    np.testing.assert_allclose(volumes, [5.3, 5.431, 5.5, 5.6])


def test_no_crystal_is_none(others):
    assert crystal_at_rest(data_set(others[1:2])) is None
