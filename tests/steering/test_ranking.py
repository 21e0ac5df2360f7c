"""A ranking that is kept up chooses as one that is made anew for each label, or loses little."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcmat.steering.acquisition import condition, judge, rank_by_gain
from hpcmat.steering.ranking import TOLERANCE, Ranking

F = 12


def case(seed, known=1.0, candidates=40):
    """Posterior of a campaign with so much behind it, candidates of two sizes, and what is explored."""
    rng = np.random.default_rng(seed)
    scales = 10.0 ** rng.uniform(-1.0, 1.0, F)
    rows = [rng.normal(size=(rng.choice([4, 7]), F)) * scales for _ in range(candidates)]
    forces = rng.normal(size=(200, F)) * scales
    covariance = np.linalg.inv(np.eye(F) + known * sum(x.T @ x for x in rows))
    return covariance, rows, forces.T @ forces / 200


def one_by_one(covariance, rows, reference, count):
    """The measure: all candidates judged anew after each choice."""
    chosen = []
    for _ in range(count):
        best = next(index for index, _ in rank_by_gain(covariance, rows, reference) if index not in chosen)
        chosen.append(best)
        covariance = condition(covariance, rows[best])
    return chosen


def kept_up(covariance, rows, reference, count):
    ranking, chosen = Ranking(covariance, rows, reference), []
    for _ in range(count):
        if ranking.lags:
            ranking.renew(covariance)
        chosen.append(ranking.best(1)[0][0])
        ranking.take_in(rows[chosen[-1]], chosen[-1])
        covariance = condition(covariance, rows[chosen[-1]])
    return chosen


def fall(covariance, rows, reference, chosen):
    """Share of the mean variance that these labels take away together."""
    after = condition(covariance, np.concatenate([rows[index] for index in chosen]))
    return 1.0 - (after * reference).sum() / (covariance * reference).sum()


@given(st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_first_choice_is_exact_and_those_in_a_row_lose_less_than_a_percent(seed):
    posterior, rows, reference = case(seed, known=0.05)
    best, kept = one_by_one(posterior, rows, reference, 10), kept_up(posterior, rows, reference, 10)
    assert kept[0] == best[0]
    assert fall(posterior, rows, reference, kept) > 0.99 * fall(posterior, rows, reference, best)


def test_first_of_one_ranking_alone_would_lose_more():
    """Negative control: twins are worth little together, and the list made once does not know it."""
    posterior, rows, reference = case(1, known=0.02, candidates=8)
    twins = [x for x in rows for _ in range(4)]
    once = [index for index, _ in rank_by_gain(posterior, twins, reference)[:6]]
    lost = [
        1 - fall(posterior, twins, reference, chosen(posterior, twins, reference, 6))
        for chosen in (kept_up, one_by_one)
    ]
    assert lost[0] == pytest.approx(lost[1], rel=0.01)
    assert 1 - fall(posterior, twins, reference, once) > 1.1 * lost[1]


@given(st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_leverage_bounds_how_much_the_posterior_changes(seed):
    """S / (1 + L) <= S' <= S: no direction loses more of its variance, whatever was taken in."""
    posterior, rows, reference = case(seed)
    leverage = judge(posterior, rows[:5], reference)[1].sum()
    after = condition(posterior, np.concatenate(rows[:5]))
    root = np.linalg.cholesky(posterior)
    left = np.linalg.eigvalsh(np.linalg.solve(root, np.linalg.solve(root, after).T))
    assert left.max() <= 1 + 1e-9
    assert left.min() >= (1 - 1e-9) / (1 + leverage)


def test_among_many_labels_one_more_is_not_judged_again():
    posterior, rows, reference = case(2, known=1e4)
    ranking = Ranking(posterior, rows, reference)
    for _ in range(20):
        best = ranking.best(1)[0][0]
        ranking.take_in(rows[best], best)
        assert not ranking.lags
    assert ranking.change <= TOLERANCE
    assert sorted(ranking.taken) == sorted(index for index, _ in rank_by_gain(posterior, rows, reference)[:20])


def test_label_of_another_structure_is_taken_in():
    posterior, rows, reference = case(3, known=0.02)
    ranking = Ranking(posterior, rows, reference)
    best, gain = ranking.best(1)[0]
    ranking.take_in(rows[best])
    assert ranking.lags
    ranking.renew(condition(posterior, rows[best]))
    expected = rank_by_gain(condition(posterior, rows[best]), rows, reference)[0]
    assert ranking.best(1)[0] == pytest.approx(expected)
    assert expected[1] < gain


def test_a_gain_counts_for_what_it_is_worth_and_a_loss_for_what_it_spoils():
    posterior, rows, reference = case(5)
    pair, noisy = [rows[0], 1.01 * rows[0]], [np.full(len(rows[0]), 1e6)] * 2
    worth = np.array([1.0, 0.1])
    (best, score), (other, less) = (ranking := Ranking(posterior, pair, reference, worth=worth)).best(2)
    gains = judge(posterior, pair, reference)[0]
    assert (best, other) == (0, 1) and score > 5 * less > 0
    assert [ranking.gain(best, score), ranking.gain(other, less)] == pytest.approx(list(gains))
    losses = judge(posterior, pair, reference, noisy)[0]
    spoiling = Ranking(posterior, pair, reference, noisy, worth)
    assert losses.max() < 0 and spoiling.best(1)[0] == (losses.argmax(), pytest.approx(losses.max()))
    assert (losses * worth).argmax() != losses.argmax(), "control: cost would excuse the greater loss"


def test_equal_candidates_come_in_the_order_given():
    posterior, rows, reference = case(4)
    assert [index for index, _ in Ranking(posterior, [rows[0]] * 5, reference).best(3)] == [0, 1, 2]
