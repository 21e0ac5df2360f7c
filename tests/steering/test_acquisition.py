"""Acquisition: exact algebra of Gaussian posteriors, and choices that follow from it."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcmat.steering.acquisition import (
    condition,
    greedy_batch,
    information_gains,
    judge,
    rank_by_gain,
    rank_by_information,
    retract,
    variance_reductions,
)

F = 7


def random_case(seed, rows=5):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(F, F))
    reference = rng.normal(size=(40, F))
    return root @ root.T + 0.1 * np.eye(F), rng.normal(size=(rows, F)), reference.T @ reference / 40


@given(st.integers(0, 2**31))
@settings(max_examples=50)
def test_conditioning_is_the_inverse_of_the_summed_precision(seed):
    covariance, rows, _ = random_case(seed)
    expected = np.linalg.inv(np.linalg.inv(covariance) + rows.T @ rows)
    np.testing.assert_allclose(condition(covariance, rows), expected, rtol=1e-6, atol=1e-9)


def test_conditioning_in_any_order_and_at_once_is_the_same():
    covariance, rows, _ = random_case(1, rows=6)
    one_way = condition(condition(covariance, rows[:2]), rows[2:])
    other_way = condition(condition(covariance, rows[2:]), rows[:2])
    np.testing.assert_allclose(one_way, other_way, atol=1e-10)
    np.testing.assert_allclose(one_way, condition(covariance, rows), atol=1e-10)


@given(st.integers(0, 2**31))
@settings(max_examples=50)
def test_gain_is_the_fall_of_the_mean_variance(seed):
    covariance, rows, reference = random_case(seed)
    fall = np.trace(reference @ covariance) - np.trace(reference @ condition(covariance, rows))
    assert variance_reductions(covariance, rows[None], reference) == pytest.approx([fall], rel=1e-6)
    assert fall > 0


def test_a_label_in_flight_makes_its_twin_worthless():
    """Without conditioning on what is in flight the twin would be chosen again: that is the negative control."""
    covariance, rows, reference = random_case(3)
    sharp = rows * 1e3
    other = np.random.default_rng(9).normal(size=rows.shape)
    assert rank_by_gain(covariance, [sharp, other], reference)[0][0] == 0
    assert rank_by_gain(condition(covariance, sharp), [sharp, other], reference)[0][0] == 1


def test_only_what_is_explored_counts():
    covariance = np.eye(F)
    along, across = np.eye(F)[:1], np.eye(F)[1:2]
    reference = np.diag([1.0] + [0.0] * (F - 1))
    gains = variance_reductions(covariance, np.stack([across, along]), reference)
    np.testing.assert_allclose(gains, [0.0, 0.5], atol=1e-12)


def test_candidates_of_different_sizes_are_ranked_together():
    covariance, rows, reference = random_case(6)
    ranked = rank_by_gain(covariance, [rows[:1], rows, rows[:3]], reference)
    assert [index for index, _ in ranked] == [1, 2, 0], "more rows of the same structure teach more"


def test_equal_gains_keep_the_order_given():
    covariance, rows, reference = random_case(4)
    assert [index for index, _ in rank_by_gain(covariance, [rows, rows, rows], reference)] == [0, 1, 2]


def test_inputs_are_left_alone():
    covariance, rows, reference = random_case(5)
    before = covariance.copy(), rows.copy(), reference.copy()
    condition(covariance, rows)
    rank_by_gain(covariance, [rows], reference)
    for array, copy in zip((covariance, rows, reference), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@given(st.integers(0, 2**31))
@settings(max_examples=50)
def test_a_failed_job_is_taken_back_exactly(seed):
    covariance, rows, _ = random_case(seed)
    pending = condition(condition(covariance, rows[:2]), rows[2:])
    np.testing.assert_allclose(retract(pending, rows[:2]), condition(covariance, rows[2:]), rtol=1e-6, atol=1e-8)


def test_what_was_never_taken_in_cannot_be_taken_back():
    covariance, rows, _ = random_case(1)
    with pytest.raises(np.linalg.LinAlgError):
        retract(covariance, 10.0 * rows)


@given(st.integers(0, 2**31))
@settings(max_examples=50)
def test_information_is_the_fall_of_the_entropy(seed):
    covariance, rows, _ = random_case(seed)
    fall = 0.5 * (np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(condition(covariance, rows))[1])
    assert information_gains(covariance, rows[None]) == pytest.approx([fall], rel=1e-6)


def test_information_counts_what_the_reference_does_not_ask_for():
    """Negative control of I-optimality: the candidate that matters for nothing is as good as the other here."""
    gains = information_gains(np.eye(F), np.stack([np.eye(F)[:1], np.eye(F)[1:2]]))
    np.testing.assert_allclose(gains, 0.5 * np.log(2.0), atol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_a_greedy_batch_by_information_is_near_the_best_of_all_batches(seed):
    rng = np.random.default_rng(seed)
    candidates = [rng.normal(size=(int(rng.integers(1, 4)), F)) for _ in range(8)]
    covariance = random_case(seed)[0]

    def total(batch):
        return float(information_gains(covariance, [np.concatenate([candidates[i] for i in batch])])[0])

    chosen = greedy_batch(covariance, candidates, 3, rank_by_information)
    best = max(total(batch) for batch in combinations(range(8), 3))
    assert total([i for i, _ in chosen]) >= (1 - 1 / np.e) * best
    assert sum(gain for _, gain in chosen) == pytest.approx(total([i for i, _ in chosen])), "gains add up"
    assert chosen[0] == rank_by_information(covariance, candidates)[0]


def test_a_batch_is_what_one_by_one_would_choose_with_labels_in_flight():
    covariance, _, reference = random_case(8)
    rng = np.random.default_rng(8)
    candidates = [rng.normal(size=(3, F)) for _ in range(10)]

    def rank(posterior, left):
        return rank_by_gain(posterior, left, reference)

    chosen = greedy_batch(covariance, candidates, 4, rank)
    pending = covariance
    for index, gain in chosen:
        left = [i for i in range(10) if i not in [c for c, _ in chosen[: [c for c, _ in chosen].index(index)]]]
        gains = variance_reductions(pending, np.stack([candidates[i] for i in left]), reference)
        assert left[int(np.argmax(gains))] == index
        assert gain == pytest.approx(gains.max())
        pending = condition(pending, candidates[index])


def test_a_batch_has_no_twins_where_the_ranking_alone_would():
    covariance, rows, _ = random_case(3)
    other = np.random.default_rng(9).normal(size=rows.shape)
    candidates = [1e3 * rows, 1e3 * rows, other]
    assert [i for i, _ in rank_by_information(covariance, candidates)[:2]] == [0, 1]
    assert [i for i, _ in greedy_batch(covariance, candidates, 2, rank_by_information)] == [0, 2]
    assert len(greedy_batch(covariance, candidates, 9, rank_by_information)) == 3


@pytest.mark.parametrize("seed", range(5))
def test_a_ranking_does_not_depend_on_the_order_of_candidates(seed):
    covariance, _, reference = random_case(seed)
    rng = np.random.default_rng(seed)
    candidates = [rng.normal(size=(int(rng.integers(1, 5)), F)) for _ in range(9)]
    order = rng.permutation(9)
    for ranked in (rank_by_information, lambda s, c: rank_by_gain(s, c, reference)):
        straight = ranked(covariance, candidates)
        shuffled = ranked(covariance, [candidates[i] for i in order])
        assert [int(order[index]) for index, _ in shuffled] == [index for index, _ in straight]


@pytest.mark.parametrize("seed", range(5))
def test_gain_with_misfit_is_the_fall_of_the_error_of_the_fit_that_is_made(seed):
    """By brute force: labels with another noise than the fit believes, its estimate by the rows' weights."""
    covariance, rows, reference = random_case(seed)
    excess = np.random.default_rng(seed).uniform(-0.9, 20.0, len(rows))
    weights = covariance @ rows.T @ np.linalg.inv(np.eye(len(rows)) + rows @ covariance @ rows.T)
    residual = np.eye(F) - weights @ rows
    error = residual @ covariance @ residual.T + weights @ np.diag(1.0 + excess) @ weights.T
    fall = np.trace(reference @ covariance) - np.trace(reference @ error)
    assert judge(covariance, [rows], reference, [excess])[0] == pytest.approx([fall], rel=1e-6)


def test_a_candidate_that_is_mostly_misfit_is_passed_over():
    covariance, rows, reference = random_case(2)
    candidates, excess = [2.0 * rows, rows], [np.full(len(rows), 100.0), np.zeros(len(rows))]
    assert rank_by_gain(covariance, candidates, reference, excess)[0][0] == 1
    assert rank_by_gain(covariance, candidates, reference)[0][0] == 0, "control: without its misfit it is the best"
    assert judge(covariance, candidates, reference, excess)[0][0] < 0, "it would spoil the fit"
