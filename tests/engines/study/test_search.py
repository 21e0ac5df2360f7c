"""The search for the cheapest settings, on curves that are known."""

import math

import pytest

from hpcmat.engines.study.search import cheapest_within, coarsest_within


def searched(errors):
    asked = []

    def within(index):
        asked.append(index)
        return errors[index] <= 1.0

    return coarsest_within(len(errors), within), asked


def test_finer_settings_than_need_be_are_not_computed():
    assert searched([9.0, 3.0, 0.9, 0.5, 0.3, 0.1, 0.01]) == (2, [0, 1, 2, 3, 4])


@pytest.mark.parametrize(
    ("errors", "found"),
    [
        ([9.0, 0.1, 8.0, 3.0, 0.9, 0.5, 0.2], 4),
        ([0.5, 0.5, 2.0, 0.5, 0.5, 0.5], 3),
        ([math.inf, 5.0, 0.9, 0.5, 0.2], 2),
        ([9.0, 5.0, 2.0, 0.9], 3),
        ([9.0, 0.9, 2.0], None),
        ([], None),
    ],
)
def test_an_error_that_is_small_by_accident_is_passed_over(errors, found):
    """The first two are no monotone curves: the first setting within tolerance would be wrong."""
    assert searched(errors)[0] == found


def cheapest(first, second, joint=lambda a, b: a + b):
    return cheapest_within(
        (len(first), len(second)),
        (first.__getitem__, second.__getitem__),
        lambda i, j: joint(first[i], second[j]),
    )


def test_the_pair_is_checked_itself_and_the_worse_of_it_refined():
    errors = [4.0, 0.9, 0.3, 0.1, 0.0], [8.0, 2.0, 0.6, 0.2, 0.0]
    assert cheapest(*errors, joint=max) == (1, 2)
    assert cheapest(*errors) == (2, 2)


def test_no_pair_where_a_series_or_all_pairs_fail():
    assert cheapest([4.0, 0.1], [4.0, 2.0]) is None
    assert cheapest([0.9, 0.8], [0.9, 0.8]) is None
