"""Training of the channel mixing: it lowers errors it has not seen, and only by steps that the evidence favours."""

from types import SimpleNamespace

import numpy as np
import pytest

from hpcmat.surrogates import mixing_training
from hpcmat.surrogates.ace import AceBasis, AceSettings, basis_for
from hpcmat.surrogates.communicator import SERIAL
from hpcmat.surrogates.fitting import Trained, fit_potential, rows_of
from hpcmat.surrogates.mixing_steps import ITERATIONS, PROBES, damping_of, linearised
from hpcmat.surrogates.mixing_training import chosen_for_mixing, train_mixing

SETTINGS = AceSettings(("Si",), cutoff_ang=4.5)


@pytest.fixture(scope="module")
def trained(wild_label):
    """Labels of wide variety, the lines told, and the basis trained on them."""
    labels = tuple(wild_label(seed) for seed in range(150))
    lines = []
    basis, scales = train_mixing(labels, basis_for(SETTINGS), 2, lines.append)
    unseen = tuple(wild_label(5000 + seed) for seed in range(20))
    return SimpleNamespace(labels=labels, unseen=unseen, lines=lines, basis=basis, scales=scales)


def force_rmse(trained, form):
    potential = fit_potential(trained.labels, form).potential
    errors = [potential.predict(label.structure).forces - label.forces for label in trained.unseen]
    return np.sqrt(np.mean(np.square(errors)))


def test_errors_on_unseen_labels_fall(trained):
    assert force_rmse(trained, trained.basis) < 0.95 * force_rmse(trained, SETTINGS)


def test_random_steps_of_the_same_size_lower_them_less(trained):
    start = basis_for(SETTINGS).model.mixing
    step = trained.basis.model.mixing - start
    shuffled = np.random.default_rng(0).permutation(step.ravel()).reshape(step.shape)
    assert force_rmse(trained, AceBasis(SETTINGS, start + shuffled)) > 1.1 * force_rmse(trained, trained.basis)


def test_every_step_but_the_last_raises_the_evidence(trained):
    gains = [float(line.split()[-1]) for line in trained.lines]
    assert gains and all(gain > 0 for gain in gains[:-1])


def test_step_against_the_evidence_is_not_taken(trained, monkeypatch):
    monkeypatch.setattr(
        mixing_training,
        "_gauss_newton",
        lambda judged, _before, _ranks: 10.0 * np.ones(judged.basis.model.mixing.shape),
    )
    basis, _ = train_mixing(trained.labels, basis_for(SETTINGS))
    np.testing.assert_array_equal(basis.model.mixing, basis_for(SETTINGS).model.mixing)


def test_threads_do_not_change_the_answer(trained):
    again, _ = train_mixing(trained.labels, basis_for(SETTINGS), threads=1)
    np.testing.assert_allclose(again.model.mixing, trained.basis.model.mixing, rtol=1e-6, atol=1e-8)


def test_mixing_learns_from_a_share_of_many_structures_and_from_none_of_few():
    counts = np.full(200, 10)
    chosen = chosen_for_mixing(counts, 100, seed=0)
    assert chosen.sum() == round(mixing_training.SHARE * 200)
    assert (chosen != chosen_for_mixing(counts, 100, seed=1)).any()
    assert not chosen_for_mixing(counts[: mixing_training.FEWEST_STRUCTURES - 1], 100, seed=0).any()


def test_mixing_learns_from_no_more_than_memory_holds():
    counts, n_columns = np.random.default_rng(0).integers(100, 2000, 1000), 1000
    chosen = chosen_for_mixing(counts, n_columns, seed=0)
    used = 8 * n_columns * counts[chosen].sum()
    assert 0.9 * mixing_training.LARGEST_BYTES < used <= mixing_training.LARGEST_BYTES


@pytest.fixture(scope="module")
def equations(trained):
    """Of the first step and, after it was made, of the second; the first step; C of the second multiplied out."""
    judged = mixing_training._first(trained.labels, basis_for(SETTINGS), 2, SERIAL)
    first = linearised(judged.rows, judged.posterior, SERIAL)
    step = first.step(np.zeros(len(first.slope())))
    basis = judged.basis.with_mixing(judged.basis.model.mixing + step.reshape(1, *judged.basis.model.mixing.shape[1:]))
    later = mixing_training._judge(rows_of(judged.rows.labels, basis, 2), SERIAL, judged.posterior.scales)
    second = linearised(later.rows, later.posterior, SERIAL)
    return SimpleNamespace(first=first, second=second, step=step, dense=dense(second))


def dense(equations):
    """C, its cousin β JᵀM²J and what is not projected, β JᵀJ."""
    beta, factor = equations.posterior.beta, equations.posterior.factor
    leaves = [equations.leaves[index] for index in sorted(equations.leaves)]
    x, j = (np.concatenate([getattr(leaf, name) for leaf in leaves]).astype(float) for name in ("x", "jacobian"))
    left = j - beta * x @ (factor @ (factor.T @ (x.T @ j)))
    return SimpleNamespace(c=beta * j.T @ left, squared=beta * left.T @ left, whole=beta * j.T @ j)


def test_curvature_is_that_of_what_the_coefficients_do_not_follow(equations):
    c, found = equations.dense.c, equations.second.curvature()
    vector = np.random.default_rng(0).normal(size=len(c))
    np.testing.assert_allclose(
        equations.second.curvature_times(vector), c @ vector, rtol=1e-3, atol=1e-4 * np.diag(c).max()
    )
    ratio = found / np.diag(equations.dense.squared)
    assert np.median(ratio) == pytest.approx(1.0, abs=0.1)
    assert np.std(ratio) == pytest.approx(np.sqrt(2 / PROBES), rel=0.3)
    assert np.median(found / np.diag(equations.dense.whole)) < 0.1


def test_a_few_conjugate_gradients_gain_most_of_what_the_exact_step_does(equations):
    """They would not with the curvature of slopes that coefficients may follow in their place."""
    second, c = equations.second, equations.dense.c
    damping = damping_of(second.curvature())
    exact = np.linalg.solve(c + np.diag(damping), second.slope())

    def gain(step):
        return second.slope() @ step - 0.5 * step @ (c + np.diag(damping)) @ step

    nothing = np.zeros(len(c))
    assert 0.9 < gain(second.step(nothing)) / gain(exact) < 1.0
    assert gain(second.step(equations.step)) > gain(second.step(nothing, ITERATIONS // 2))
    mistaken = np.random.default_rng(0).permutation(equations.step)
    assert gain(second.step(mistaken)) < gain(second.step(equations.step))


def test_noise_is_told_by_labels_that_the_basis_has_not_seen(trained):
    """The residuals of what it was trained on are smaller than those of anything else."""
    basis, scales = train_mixing(trained.labels[:50], basis_for(SETTINGS), 2)
    told, flattered = (
        fit_potential(trained.labels, basis, trained=Trained(frozenset(seen), scales)).potential.noise_forces
        for seen in (range(50), range(50, 150))
    )
    assert flattered < told


def test_fit_from_the_scales_of_the_training_is_that_from_none(trained):
    near, cold = (
        fit_potential(trained.labels, trained.basis, trained=how) for how in (Trained(scales=trained.scales), None)
    )
    np.testing.assert_allclose(near.posterior.alpha, cold.posterior.alpha, rtol=0.2)
    assert near.posterior.beta == pytest.approx(cold.posterior.beta, rel=0.02)
    assert near.posterior.log_evidence == pytest.approx(cold.posterior.log_evidence, abs=2.0)
