"""Screening: acquisition against quadrature, Monte Carlo and plain definitions; work in flight; constraints."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from hpcmat.steering.screening import (
    best_batch,
    box_gains,
    boxes,
    expected_improvement,
    feasible_draws,
    hypervolume,
    hypervolume_batch,
    improvement_batch,
    regret_bound,
    thompson_batch,
    top_probability,
)

NONE = np.array([], dtype=int)


def test_expected_improvement_is_its_integral():
    found = expected_improvement(np.array([0.3, -2.0]), np.array([0.5, 0.1]), 0.8)
    integral = quad(lambda y: (y - 0.8) * norm.pdf(y, 0.3, 0.5), 0.8, 6.0)[0]
    assert found[0] == pytest.approx(integral, rel=1e-8)
    assert 0.0 <= found[1] < 1e-12


@pytest.mark.parametrize("objectives", [2, 3])
def test_hypervolume_and_gains_are_those_of_monte_carlo(objectives):
    rng = np.random.default_rng(0)
    front, point, reference = rng.random((12, objectives)), rng.random(objectives) + 0.3, np.full(objectives, 0.1)
    darts = 0.1 + rng.random((200_000, objectives)) * 1.3
    dominated = (darts[:, None] < front).all(axis=2).any(axis=1)
    volume = 1.3**objectives
    assert hypervolume(front, reference) == pytest.approx(dominated.mean() * volume, rel=0.02)
    added = hypervolume(np.vstack([front, point]), reference) - hypervolume(front, reference)
    assert box_gains(boxes(front, reference), point) == pytest.approx(added, rel=1e-9)
    assert box_gains(boxes(front, reference), np.full(objectives, 0.05)) == 0.0


def test_boxes_do_not_overlap_and_leave_nothing_out():
    rng = np.random.default_rng(1)
    front, reference = rng.random((9, 3)), np.zeros(3)
    cells = boxes(front, reference)
    darts = rng.random((5000, 3)) * 1.2
    inside = ((darts[:, None] > cells[:, 0]) & (darts[:, None] <= cells[:, 1])).all(axis=2).sum(axis=1)
    free = ~(darts[:, None] <= front).all(axis=2).any(axis=1)
    np.testing.assert_array_equal(inside, free.astype(int))


def test_top_probability_counts_known_members_and_gives_sure_ones_certainty():
    draws = np.array([[5.0, 1.0, 0.0], [5.0, 1.0, 9.0]])
    np.testing.assert_allclose(top_probability(draws, np.array([4.0, 3.0]), 2), [1.0, 0.0, 0.5])
    np.testing.assert_allclose(top_probability(draws, np.array([]), 2), [1.0, 0.5, 0.5])
    assert top_probability(np.full((2, 2), -np.inf), np.array([]), 2).tolist() == [0.0, 0.0]


def test_a_twin_of_what_is_in_flight_is_worth_nothing():
    rng = np.random.default_rng(0)
    first, other = rng.normal(1.0, 1.0, 400), rng.normal(0.0, 1.0, 400)
    draws, known = np.column_stack([first, first, other]), np.array([0.0])
    alone = improvement_batch(draws, known, NONE, 1)[0]
    assert alone.index == 0
    beside = improvement_batch(draws, known, np.array([0]), 2)
    assert [pick.index for pick in beside] == [2, 1] and beside[1].score == 0.0
    two = np.stack([draws, draws[:, ::-1]], axis=-1)
    front, reference = np.array([[0.0, 0.0]]), np.array([-2.0, -2.0])
    assert hypervolume_batch(two, front, np.array([2]), reference, 1)[0].index != 2


def test_a_batch_chosen_lazily_is_the_greedy_one():
    rng = np.random.default_rng(3)
    draws, known, reference = rng.random((20, 15, 2)), np.array([[0.5, 0.5]]), np.zeros(2)
    lazy = [pick.index for pick in hypervolume_batch(draws, known, NONE, reference, 5)]
    greedy: list[int] = []
    for _ in range(5):
        gains = [
            np.mean([hypervolume(np.vstack([known, draw[[*greedy, i]]]), reference) for draw in draws])
            for i in range(15)
        ]
        greedy.append(int(np.argmax([g if i not in greedy else -1 for i, g in enumerate(gains)])))
    assert lazy == greedy


def test_a_batch_of_draws_has_no_candidate_twice_and_none_that_is_taken():
    draws = np.random.default_rng(0).random((30, 6))
    free = np.array([True, True, False, True, True, True])
    picks = thompson_batch(draws, free, 10)
    indices = [pick.index for pick in picks]
    assert sorted(indices) == [0, 1, 3, 4, 5]
    assert indices[0] == int(np.where(free, draws[0], -1).argmax())
    assert [p.index for p in best_batch(np.array([1.0, 3.0, 9.0, 3.0, 0.0, 2.0]), free, 3)] == [1, 3, 5]


def test_a_draw_that_allows_no_candidate_does_not_choose_one_that_is_taken():
    draws, free = np.full((4, 3), -np.inf), np.array([False, True, True])
    assert [pick.index for pick in thompson_batch(draws, free, 3)] == [1, 2]
    assert thompson_batch(draws, np.zeros(3, dtype=bool), 3) == []


def test_what_breaks_a_constraint_is_not_chosen():
    draws = np.array([[9.0, 1.0], [9.0, 2.0]])
    broken = np.array([[True, False], [True, False]])
    known = np.array([0.0])
    assert improvement_batch(draws, known, NONE, 1)[0].index == 0
    assert improvement_batch(feasible_draws(draws, broken), known, NONE, 1)[0].index == 1
    both = feasible_draws(np.stack([draws, draws], axis=-1), broken)
    assert hypervolume_batch(both, np.zeros((1, 2)), NONE, np.full(2, -1.0), 1)[0].index == 1


def test_the_bound_on_the_regret_falls_as_the_rest_is_known_to_be_worse():
    rng = np.random.default_rng(0)
    wide, narrow = rng.normal(0.0, 1.0, (2000, 30)), rng.normal(0.0, 0.1, (2000, 30))
    assert regret_bound(wide, 1.0, 0.95) == pytest.approx(norm.ppf(0.95 ** (1 / 30)) - 1.0, abs=0.1)
    assert regret_bound(narrow, 1.0, 0.95) == 0.0
    assert regret_bound(np.empty((5, 0)), 1.0, 0.95) == 0.0
