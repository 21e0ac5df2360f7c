"""Draws by name: in proportion to weights, whatever the order."""

import numpy as np
import pytest

from hpcmat.steering.chance import uniform_for, weighted_draw

WEIGHTS = [0.0, 1.0, 2.0, 5.0]


def drawn(weights, seed):
    return weighted_draw(weights, [uniform_for(seed, index) for index in range(len(weights))])


def test_weights_are_the_chances():
    counts = np.bincount([drawn(WEIGHTS, seed) for seed in range(4000)], minlength=4)
    expected = 4000 * np.array(WEIGHTS) / sum(WEIGHTS)
    # Four standard deviations of a binomial count.
    assert np.all(np.abs(counts - expected) <= 4.0 * np.sqrt(expected * (1.0 - expected / 4000)))


def test_equal_weights_are_a_uniform_draw():
    counts = np.bincount([drawn([3.0] * 5, seed) for seed in range(4000)], minlength=5)
    assert counts == pytest.approx(np.full(5, 800), abs=4.0 * np.sqrt(800 * 0.8))


def test_another_order_draws_the_same():
    draws = [uniform_for("order", index) for index in range(4)]
    order = [2, 0, 3, 1]
    assert order[weighted_draw([WEIGHTS[i] for i in order], [draws[i] for i in order])] == weighted_draw(WEIGHTS, draws)
