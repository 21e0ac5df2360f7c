"""Policies: how much is drawn at random beside a rule."""

import pytest

from hpcmat.steering.policies import random_share


def test_what_runs_ahead_of_the_potential_is_drawn_the_more_the_further_it_does():
    shares = [random_share(0.3, 5, ahead, refit_every=8) for ahead in (8, 15, 64)]
    assert shares[1] == pytest.approx(0.825), (
        "of what is decided a quarter has been seen: so often does the policy hold"
    )
    assert shares == sorted(shares) and shares[0] > 0.3 and 0.9 < shares[2] < 1.0


def test_what_the_next_fit_waits_for_changes_nothing():
    for ahead in range(8):
        assert random_share(0.3, 5, ahead, refit_every=8) == pytest.approx(0.3)


def test_the_same_number_ahead_matters_little_once_many_labels_are_fitted():
    assert random_share(0.3, 1000, 8, refit_every=8) == pytest.approx(0.3, abs=0.01)
    assert random_share(0.3, 8, 8, refit_every=8) > 0.6


def test_who_wants_no_draws_gets_none_and_who_wants_draws_alone_gets_nothing_else():
    assert random_share(0.0, 5, 64, refit_every=8) == 0.0
    assert random_share(1.0, 5, 64, refit_every=8) == random_share(1.0, 5, 0, refit_every=8) == 1.0
