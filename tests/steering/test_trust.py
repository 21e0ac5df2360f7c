"""Trust windows: deviations are the posterior's, and each frame falls on one side."""

import numpy as np
import pytest

from hpcmat.steering.trust import TrustWindow, largest_deviation, rank_by_deviation, sort_by_trust


def test_deviation_is_that_of_drawn_potentials():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(6, 6))
    forces = rng.normal(size=(12, 6))
    drawn = rng.normal(size=(200_000, 6)) @ root.T @ forces.T
    per_atom = np.sqrt((drawn.std(axis=0) ** 2).reshape(4, 3).mean(axis=1))
    assert largest_deviation(root @ root.T, forces) == pytest.approx(per_atom.max(), rel=0.01)


def test_the_most_uncertain_atom_decides_not_the_mean():
    quiet, one = np.full((9, 2), 0.5), np.zeros((9, 2))
    one[:3] = 1.0
    assert [index for index, _ in rank_by_deviation(np.eye(2), [quiet, one])] == [1, 0]


def test_frames_are_sorted_by_the_window():
    window = TrustWindow(0.1, 0.3)
    sorted_ = sort_by_trust(np.array([0.05, 0.1, 0.2, 0.3, 0.31, np.nan]), window)
    assert sorted_.accurate == (0,)
    assert sorted_.candidates == (1, 2, 3)
    assert sorted_.failed == (4, 5)
