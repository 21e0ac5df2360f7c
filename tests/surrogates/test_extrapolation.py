"""What lies outside of a training set of rattled crystals, and what does not."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, surface
from numpy.testing import assert_allclose
from scipy.spatial import KDTree

from hpcmat.errors import InputError
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.extrapolation import (
    ExtrapolationLimits,
    area_under_curve,
    extrapolation_limits,
    extrapolation_score,
    posterior_scores,
    score_structure,
    site_distribution,
)


@pytest.fixture(scope="module")
def designs(potential, train_labels):
    return [potential.design(label.structure) for label in train_labels]


@pytest.fixture(scope="module")
def limits(potential):
    """Those that the potential brings: of training structures left out."""
    return ExtrapolationLimits(*(value for _, value in potential.metadata.extrapolation_limits))


def rattled(atoms, seed, displacement=0.05):
    atoms = atoms.copy()
    atoms.positions += displacement * np.random.default_rng(seed).normal(size=(len(atoms), 3))
    return structure_of(atoms)


def outside(kind, seed):
    if kind == "melt":
        return rattled(bulk("Si", cubic=True), seed, 0.45)
    if kind == "surface":
        return rattled(surface(bulk("Si", cubic=True), (1, 0, 0), 2, vacuum=6.0, periodic=True), seed)
    if kind == "compressed":
        return rattled(bulk("Si", a=5.431 * 0.9, cubic=True), seed)
    return rattled(bulk("Si", "fcc", a=3.9, cubic=True), seed)


@pytest.mark.parametrize("kind", ["melt", "surface", "compressed", "other phase"])
def test_what_is_outside_is_found(potential, test_labels, limits, kind):
    strange = [score_structure(potential, outside(kind, seed), limits) for seed in range(8)]
    familiar = [score_structure(potential, label.structure, limits) for label in test_labels]
    assert area_under_curve(strange, familiar) > 0.95
    assert min(strange) > 1.0 and np.mean(familiar) < 1.0


def test_each_half_of_the_score_misses_what_the_other_finds(potential, test_labels, limits):
    """A perfect crystal at another volume has no forces to be uncertain of."""
    perfect = structure_of(bulk("Si", a=5.431 * 0.9, cubic=True))
    scores = posterior_scores(potential, potential.design(perfect))
    assert scores.force_max / limits.force_max < 1e-6
    assert extrapolation_score(scores, limits) == scores.energy / limits.energy > 1.0


def test_training_structures_lie_well_inside_and_most_of_them_within_their_own_limits(potential, designs, limits):
    found = [posterior_scores(potential, design) for design in designs]
    assert max(extrapolation_score(scores, limits) for scores in found) < 1.0
    own = extrapolation_limits(found)
    assert 0.85 <= np.mean([extrapolation_score(scores, own) <= 1.0 for scores in found]) < 1.0


def test_scores_agree_with_the_potential(potential, structure):
    scores = posterior_scores(potential, potential.design(structure))
    sigma = potential.epistemic_force_sigma(structure)
    assert_allclose([scores.force_max, scores.force_mean], [sigma.max(), sigma.mean()])
    noiseless = replace(potential, noise=np.zeros(3), label_noise=None)
    assert scores.energy == pytest.approx(noiseless.energy_sigma(structure) / len(structure))
    # What is known better by half is half as strange.
    half = replace(potential, covariance_factor=potential.covariance_factor / 2)
    assert posterior_scores(half, potential.design(structure)).leverage_max == pytest.approx(scores.leverage_max / 2)


def test_sites_in_their_own_distribution(designs):
    found = site_distribution(designs)
    sites = np.concatenate([design.site for design in designs])
    # Whitened components have unit variance, so that squared distances average to the number of components.
    assert np.mean(found.mahalanobis(sites) ** 2) == pytest.approx(found.axes.shape[1])
    assert_allclose(found.to_nearest(sites), 0.0, atol=1e-6)


@pytest.mark.parametrize("kind", ["melt", "compressed"])
def test_strange_sites_are_far(potential, designs, test_labels, kind):
    found = site_distribution(designs)
    strange = potential.design(outside(kind, 0)).site
    familiar = potential.design(test_labels[0].structure).site
    for distance in (found.mahalanobis, found.to_nearest):
        assert distance(strange).max() > 1.5 * distance(familiar).max()


def test_local_outlier_factor(potential, designs, test_labels):
    found = site_distribution(designs)
    sites = np.concatenate([design.site for design in designs])
    assert np.median(found.outlier_factor(sites)) == pytest.approx(1.0, abs=0.1)
    # A site of another phase is far from sites that are close to each other.
    strange = found.outlier_factor(potential.design(outside("other phase", 0)).site)
    assert strange.min() > 2.0 > found.outlier_factor(potential.design(test_labels[0].structure).site).max()
    # Unlike a distance, it does not change with the unit of all lengths.
    wider = replace(found, scale=found.scale / 3, nearest=KDTree(3 * found.nearest.data))
    assert_allclose(wider.outlier_factor(sites[:20]), found.outlier_factor(sites[:20]), rtol=1e-6)


def test_area_under_curve():
    assert area_under_curve([3.0, 4.0], [1.0, 2.0]) == 1.0
    assert area_under_curve([1.0, 2.0], [3.0, 4.0]) == 0.0
    assert area_under_curve([1.0, 1.0], [1.0]) == 0.5
    rng = np.random.default_rng(0)
    a, b = rng.normal(1.0, 1.0, 40), rng.normal(0.0, 1.0, 30)
    assert area_under_curve(a, b) == pytest.approx(np.mean(a[:, None] > b[None]))


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(InputError, match="both kinds"):
        area_under_curve([], [1.0])
    with pytest.raises(InputError, match="numbers"):
        area_under_curve([np.nan], [1.0])
    with pytest.raises(InputError, match="at least one structure"):
        extrapolation_limits([])
    with pytest.raises(InputError, match="two atoms"):
        site_distribution([])
