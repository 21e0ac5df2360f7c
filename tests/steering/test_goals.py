"""Goals: utilities of values, prospects that reward doubt, and preselection that keeps the whole front."""

import numpy as np
import pytest

from hpcmat.steering.goals import LEVELS, Goal, preselect


def normal_quantiles(means, deviations):
    from scipy.special import ndtri

    return np.asarray(means) + ndtri(LEVELS)[:, None] * np.asarray(deviations)


def test_utilities_order_values_as_the_goal_says():
    values = np.array([80.0, 95.0, 110.0, 150.0])
    assert Goal("maximise").utility(values).argmax() == 3
    assert Goal("minimise").utility(values).argmax() == 0
    assert Goal("reach", 100.0).utility(values) == pytest.approx([-20.0, -5.0, -10.0, -50.0])


def test_prospects_are_of_what_is_good_or_uncertain():
    quantiles = normal_quantiles([100.0, 100.0, 130.0, 60.0], [1.0, 20.0, 1.0, 20.0])
    most = Goal("maximise").prospects(quantiles)
    assert most[2] > most[1] > most[0] > most[3] and most[1] == pytest.approx(125.6, abs=2.0)
    near = Goal("reach", 100.0).prospects(quantiles)
    assert near[0] > near[1] > near[2] and near[3] < near[1]


def test_preselection_keeps_the_front_of_contrary_objectives_as_one_objective_does_not():
    rng = np.random.default_rng(0)
    first = rng.uniform(size=600)
    values = np.column_stack([first, -first + 0.3 * rng.standard_normal(600)])
    better = (values > values[:, None]).all(axis=-1).sum(axis=1)
    front = np.flatnonzero(better == 0)
    assert set(front) <= set(preselect(values, 60))
    alone = preselect(values[:, :1], 60)
    assert set(alone) == set(np.argsort(-first)[:60]) and not set(front) <= set(alone)
    assert list(alone) == sorted(alone)
