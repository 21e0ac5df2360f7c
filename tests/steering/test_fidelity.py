"""Courses at two fidelities: against quadrature, with cheap values in flight, and where these are no use."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from hpcmat.steering.fidelity import Outlook, best_step

COST = 0.05


def outlook(chances, told, flying=()):
    """Independent candidates, of whose dear values the own cheap one tells the share `told`; some are in flight."""
    chances = np.asarray(chances)
    order = [*flying, *(row for row in range(len(chances)) if row not in flying)]
    shared = np.sqrt(told) * np.eye(len(chances))[:, order]
    subjects = np.array(order[len(flying) :], dtype=int)
    return Outlook(100 + np.arange(len(chances)), chances, np.ones(len(chances)), np.eye(len(order)), shared, subjects)


def step(*arguments, cost=COST, seed=0):
    return best_step(outlook(*arguments), cost, np.random.default_rng(seed))


def best_of_two(p, other, told):
    """E max(p(u), other), where the cheap value of the first is known."""
    bound = norm.ppf(1 - p)

    def after(u):
        return max(norm.cdf((u - bound) / np.sqrt(1 - told)), other) * norm.pdf(u, scale=np.sqrt(told))

    return quad(after, -8, 8, limit=200)[0]


def test_the_worth_of_a_course_is_its_integral():
    found = step([0.3, 0.299], 0.8)
    assert found.kind == "cheap" and found.dear_rate == pytest.approx(0.3, rel=1e-9)
    one = outlook([0.3, 0.299], 0.8)
    only = Outlook(one.rows, one.chances, one.variance, one.cheap[:1, :1], one.shared[:, :1], one.subjects[:1])
    rate = best_step(only, COST, np.random.default_rng(0)).rate
    assert rate == pytest.approx(best_of_two(0.3, 0.299, 0.8) / (1 + COST), rel=0.03)


def test_what_is_in_flight_counts_as_known_with_all_its_outcomes():
    found = step([0.3, 0.299], 0.8, (0,), cost=0.99)
    assert found.dear_rate == pytest.approx(best_of_two(0.3, 0.299, 0.8), rel=0.03)
    assert found.dear_rate > 1.1 * 0.3, "negative control: without anything in flight it is the largest probability"


def test_what_is_in_flight_is_not_bought_again():
    """A second cheap value that the first one tells: no course has it, but those of other candidates do have a use."""
    chances, shared = np.array([0.3, 0.299]), np.array([[0.9, 0.9 - 1e-9], [0.0, 0.0]])
    twin = np.array([[1.0, 1.0 - 1e-9], [1.0 - 1e-9, 1.0]])
    again = Outlook(np.arange(2), chances, np.ones(2), twin, shared, np.array([0]))
    first = Outlook(np.arange(2), chances, np.ones(2), twin[:1, :1], shared[:, :1], np.array([0]))
    draws = np.random.default_rng(0)
    assert best_step(first, COST, draws).kind == "cheap" and best_step(again, COST, draws).rate <= 0.5
    assert best_step(again, 0.2, draws).kind == "wait"


def test_cheap_values_that_tell_nothing_or_cost_as_much_are_left_alone():
    chances = np.linspace(0.05, 0.2, 20)
    assert step(chances, 0.8).kind == "cheap"
    for found in (step(chances, 0.0), step(chances, 0.8, cost=1.0)):
        assert (found.kind, found.candidate, found.rate) == ("dear", 119, 0.2)


def test_a_sure_find_needs_no_cheap_value_and_no_waiting():
    assert step([0.99, 0.1, 0.1], 0.8).kind == "dear"
    assert step([0.99, 0.1, 0.1], 0.8, (1, 2)).kind == "dear"


def test_a_worker_waits_for_what_will_make_the_choice_much_better():
    found = step(np.full(40, 0.1), 0.95, range(40))
    assert found.kind == "wait" and found.rate > 0.5


def test_without_anything_to_find_the_first_candidate_is_taken():
    assert step(np.zeros(3), 0.8) == step(np.zeros(3), 0.8, seed=1)
    assert step(np.zeros(3), 0.8).kind == "dear"


def test_equal_draws_give_equal_steps():
    assert step(np.linspace(0.05, 0.2, 20), 0.7, (3,)) == step(np.linspace(0.05, 0.2, 20), 0.7, (3,))


def test_where_all_cheap_values_are_known_dear_calculations_are_left():
    none = np.empty((0, 0))
    rest = Outlook(np.arange(2), np.array([0.1, 0.3]), np.ones(2), none, np.empty((2, 0)), np.array([], dtype=int))
    found = best_step(rest, COST, np.random.default_rng(0))
    assert (found.kind, found.candidate) == ("dear", 1)
