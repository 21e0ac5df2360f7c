"""Choice by geometry: against brute force, and with what it cannot see."""

from itertools import combinations

import numpy as np
import pytest

from hpcmat.steering.diversity import distances, expressed, farthest_first, maxvol, rank_by_distance, rank_by_volume


def points(seed, number=9, dimension=3):
    return np.random.default_rng(seed).normal(size=(number, dimension))


@pytest.mark.parametrize("seed", range(5))
def test_distance_is_that_of_the_nearest_known_one(seed):
    candidates, known = points(seed), points(seed + 100, 4)
    expected = [min(np.linalg.norm(c - k) for k in known) for c in candidates]
    np.testing.assert_allclose(distances(candidates, known), expected, atol=1e-7)
    assert rank_by_distance(candidates, known)[0][0] == int(np.argmax(expected))


@pytest.mark.parametrize("seed", range(10))
def test_farthest_first_covers_at_most_twice_as_badly_as_the_best_choice(seed):
    candidates = points(seed)

    def radius(chosen):
        return distances(candidates, candidates[list(chosen)]).max()

    chosen = [index for index, _ in farthest_first(candidates, np.zeros((0, 3)), 3)]
    assert len(set(chosen)) == 3
    assert radius(chosen) <= 2.0 * min(radius(batch) for batch in combinations(range(9), 3)) + 1e-9


def test_what_is_known_is_not_chosen_again():
    candidates = points(1)
    known = candidates[[4]]
    assert 4 not in [index for index, _ in farthest_first(candidates, known, 8)]
    assert len(farthest_first(candidates, known, 99)) == 9


@pytest.mark.parametrize("seed", range(10))
def test_maxvol_finds_a_submatrix_that_no_swap_enlarges(seed):
    rows = points(seed, 10)
    chosen = maxvol(rows)
    assert len(set(chosen.tolist())) == 3
    assert np.abs(expressed(rows, rows[chosen])).max() <= 1.01 + 1e-9

    def volume(batch):
        return abs(np.linalg.det(rows[list(batch)]))

    best = max(volume(batch) for batch in combinations(range(10), 3))
    # Goreinov et al.: a dominant submatrix is within F^(F/2) of the largest volume; here it is far nearer.
    assert volume(chosen) >= 0.5 * best
    assert volume(chosen) > volume(range(3)) or set(chosen.tolist()) == {0, 1, 2}


def test_grade_is_one_inside_and_above_one_where_a_candidate_extrapolates():
    labelled = np.eye(3)
    ranked = rank_by_volume([0.5 * np.ones((1, 3)), np.array([[0.0, 3.0, 0.0]]), np.array([[0.2, 0, 0]])], labelled)
    assert [index for index, _ in ranked] == [1, 0, 2]
    np.testing.assert_allclose([grade for _, grade in ranked], [3.0, 0.5, 0.2], atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_labelled_extrapolates_and_a_multiple_of_it_does_so_by_its_factor(seed):
    labelled = np.random.default_rng(seed).normal(size=(12, 4)) * [1.0, 1e3, 1e-3, 7.0]
    grades = dict(rank_by_volume([row[None] for row in labelled], labelled))
    assert max(grades.values()) == pytest.approx(1.0, abs=0.0101)
    tripled = dict(rank_by_volume([3.0 * row[None] for row in labelled], labelled))
    for index, grade in grades.items():
        assert tripled[index] == pytest.approx(3.0 * grade)


def test_labelled_rows_of_lower_rank_span_what_they_span():
    labelled = np.array([[1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0]])
    assert rank_by_volume([np.array([[2.0, 0, 5.0]])], labelled)[0][1] == pytest.approx(2.0)
