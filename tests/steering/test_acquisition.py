"""Acquisition: exact algebra of Gaussian posteriors, and choices that follow from it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcmat.steering.acquisition import condition, rank_by_gain, variance_reductions

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
