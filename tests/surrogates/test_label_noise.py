"""Noise by structure and atom: found from left-out residuals, kept in the file, used in predictions."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from hpcmat.errors import StorageError
from hpcmat.surrogates.graded_noise import GradedNoise, Term
from hpcmat.surrogates.label_noise import (
    BROKEN_SYMMETRY,
    FEWEST_STRUCTURES,
    Epistemic,
    LabelNoise,
    constant_noise,
    fit_label_noise,
)
from hpcmat.surrogates.left_out import LeftOut
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.scoring import compare

UNITS = np.array([0.002, 0.05, 0.001])
N_ATOMS = 20
KIND = np.repeat([0, 1, 2], [1, 3 * N_ATOMS, 6])


def left_out(number, hot, rng, factor=1.0):
    """A structure with noise four times the unit where hot, a quarter where not; `factor` on its energy alone."""
    noise = 4.0 if hot else 0.25
    variance = np.where(KIND == 1, 0.01, 0.04) * UNITS[KIND] ** 2 * noise**2
    residual = np.sqrt(variance + (noise * UNITS[KIND]) ** 2) * rng.normal(size=len(KIND))
    residual[0] *= factor
    return LeftOut(number, residual, residual, residual, variance, np.ones(len(KIND)), KIND)


def structures(n, factors=(1.0, 1.0), seed=0):
    """Hot and cold ones in turn; the first half with the first factor."""
    rng = np.random.default_rng(seed)
    return [left_out(k, k % 2 == 0, rng, factors[2 * k // n]) for k in range(n)]


def z(noise, score):
    """Root mean square of energy and force errors over their deviations."""
    epistemic = score.variance[1 : 1 + 3 * N_ATOMS].reshape(-1, 3).mean(axis=1)
    known = Epistemic(score.variance[0], epistemic, score.variance[-6:].mean())
    squares = score.residual**2
    force = squares[1 : 1 + 3 * N_ATOMS].reshape(-1, 3) / (epistemic + noise.force_variance(known))[:, None]
    stress = squares[-6:] / (known.stress + noise.stress_variance(known))
    return [squares[0] / (known.energy + noise.energy_variance(known)), force.mean(), stress.mean()]


@pytest.mark.parametrize("hot", [True, False])
def test_each_kind_of_structure_gets_its_own_noise(hot):
    noise = fit_label_noise(structures(200), frozenset(range(200)), UNITS)
    rng = np.random.default_rng(1)
    new = [left_out(k, hot, rng) for k in range(200)]
    assert_allclose(np.sqrt(np.mean([z(noise, score) for score in new], axis=0)), 1.0, atol=0.15)
    # Negative control: with one noise for all the bars are far too narrow or far too wide.
    plain = np.sqrt(np.mean([z(constant_noise(UNITS), score) for score in new], axis=0))
    assert (plain > 2.0).all() if hot else (plain < 0.5).all()


def test_structures_that_the_basis_has_seen_do_not_say_how_large_the_noise_of_energies_is():
    # The basis followed the energies of the first half: their residuals are a third of those of new structures.
    scores, new = structures(200, (1 / 3, 1.0)), structures(200, seed=3)
    honest = fit_label_noise(scores, frozenset(range(100, 200)), UNITS)
    deceived = fit_label_noise(scores, frozenset(range(200)), UNITS)
    found = [np.sqrt(np.mean([z(noise, score)[0] for score in new])) for noise in (honest, deceived)]
    assert found[0] == pytest.approx(1.0, abs=0.2) and found[1] > 1.25


def held_by_symmetry(score, missed):
    """The same structure with its forces held by symmetry, which its labels miss by so much."""
    held = KIND == 1
    sign = np.where(np.arange(held.sum()) % 2, 1.0, -1.0)
    residual, variance = score.residual.copy(), score.variance.copy()
    residual[held], variance[held] = missed * sign, 1e-20 * UNITS[1] ** 2
    return replace(score, residual=residual, fitted=residual, expected=residual, variance=variance)


def force_z(noise, scores):
    return np.sqrt(np.mean([z(noise, score)[1] for score in scores]))


def test_atoms_held_by_symmetry_have_a_noise_of_their_own():
    scores = structures(200)
    clean = [held_by_symmetry(s, 1e-6) if k % 3 == 0 else s for k, s in enumerate(scores)]
    noise = fit_label_noise(clean, frozenset(range(200)), UNITS)
    known = Epistemic(0.0, np.full(N_ATOMS, 1e-20 * UNITS[1] ** 2), 0.0)
    held = np.sqrt(noise.force_variance(known)[0])
    # One that is not clean must still be expected: of 67, by the root of 67 less than it would miss.
    assert BROKEN_SYMMETRY / 20 < held < BROKEN_SYMMETRY / 4
    # The others' bars are what they are without them.
    others = [s for k, s in enumerate(scores) if k % 3]
    assert force_z(noise, others) == pytest.approx(1.0, abs=0.05)
    # Negative control: were one in six off by far more, the bars there would follow.
    broken = [held_by_symmetry(s, 3e-3 if k % 18 == 0 else 1e-6) if k % 3 == 0 else s for k, s in enumerate(scores)]
    wide = fit_label_noise(broken, frozenset(range(200)), UNITS)
    assert np.sqrt(wide.force_variance(known)[0]) > 10 * held
    assert force_z(wide, broken[::3]) == pytest.approx(1.0, abs=0.2)


def test_few_structures_have_constant_noise():
    n = FEWEST_STRUCTURES
    assert fit_label_noise(structures(n), frozenset(range(n - 1)), UNITS) is None
    enough = fit_label_noise(structures(n), frozenset(range(n)), UNITS)
    assert all(z(enough, score)[0] > 0.0 for score in structures(n))


def test_labels_without_stress_leave_its_noise_constant():
    kept = KIND != 2
    without = [
        LeftOut(
            s.structure, s.residual[kept], s.fitted[kept], s.expected[kept], s.variance[kept], s.sigma[kept], KIND[kept]
        )
        for s in structures(40)
    ]
    noise = fit_label_noise(without, frozenset(range(40)), UNITS)
    assert not noise.stress.terms and noise.stress.constant == UNITS[2]
    assert len(noise.energy.terms) == len(noise.forces.terms) == 2


def growing(constant):
    """A noise that grows with both arguments."""
    first = Term(np.array([-8.0, -4.0, 0.0]), np.array([-4.0, -1.0, 2.0]))
    return GradedNoise(constant, (first, Term(np.array([-6.0, -1.0]), np.array([-0.5, 0.5]))))


@pytest.fixture
def uneven(potential):
    """The potential with a noise that grows with the epistemic variance."""
    return replace(potential, label_noise=LabelNoise(potential.noise, *map(growing, potential.noise)))


def deviations(potential, structure):
    variances = potential.variances_of(potential.design(structure))
    return np.sqrt(np.concatenate([[variances.energy], np.ravel(variances.forces), variances.stress]))


def test_potential_keeps_it_in_its_file(uneven, structure, tmp_path):
    uneven.save(tmp_path / "p.npz")
    loaded = Potential.load(tmp_path / "p.npz")
    assert_allclose(deviations(loaded, structure), deviations(uneven, structure), rtol=0)
    assert len(loaded.label_noise.energy.terms) == 2 and loaded.label_noise.forces.constant == uneven.noise_forces


def test_file_without_it_is_read_as_before(potential, uneven, structure, tmp_path):
    replace(potential, label_noise=None).save(tmp_path / "old.npz")
    with np.load(tmp_path / "old.npz") as archive:
        assert not [name for name in archive.files if name.endswith(("knots", "values", "terms"))]
    old = Potential.load(tmp_path / "old.npz")
    assert old.label_noise is None
    expected = np.sqrt(old.epistemic_force_sigma(structure) ** 2 + old.noise_forces**2)
    assert_allclose(old.force_sigma(structure), expected)
    # Negative control: it does make a difference.
    assert np.abs(np.log(uneven.force_sigma(structure) / expected)).max() > 0.1


def test_file_with_noise_of_forces_alone_is_read(potential, structure, tmp_path):
    """As files were when the noise of forces had one argument and the others were constant."""
    replace(potential, label_noise=None).save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    term = growing(1.0).terms[0]
    np.savez(tmp_path / "old.npz", **arrays, force_noise_knots=term.knots, force_noise_values=term.values)
    old = Potential.load(tmp_path / "old.npz")
    v = old.epistemic_force_sigma(structure) ** 2
    h = np.interp(np.log(v / old.noise_forces**2), term.knots, term.values)
    assert_allclose(old.force_sigma(structure) ** 2, v + old.noise_forces**2 * np.exp(h))
    constant = replace(potential, label_noise=None)
    assert old.energy_sigma(structure) == pytest.approx(constant.energy_sigma(structure))


@pytest.mark.parametrize(
    "change",
    [
        {"energy_noise_values": np.zeros(2)},
        {"forces_noise_values": np.array([0.0, np.nan, 1.0, 0.0, 1.0])},
        {"forces_noise_knots": np.array([1.0, 0.0, 2.0, 0.0, 1.0])},
        {"stress_noise_terms": np.array([3])},
        {"stress_noise_terms": np.array([4, 1])},
    ],
)
def test_damaged_noise_is_refused(uneven, change, tmp_path):
    uneven.save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    np.savez(tmp_path / "bad.npz", **(arrays | change))
    with pytest.raises(StorageError, match="noise is not a function"):
        Potential.load(tmp_path / "bad.npz")


def test_noise_belongs_to_an_atom_and_not_to_an_axis(uneven, structure):
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = replace(structure, positions=structure.positions @ turn.T, cell=structure.cell @ turn.T)
    assert_allclose(uneven.force_sigma(turned), uneven.force_sigma(structure), rtol=1e-6)
    assert uneven.energy_sigma(turned) == pytest.approx(uneven.energy_sigma(structure), rel=1e-6)


def test_comparison_brings_the_deviations(uneven, test_labels):
    compared = compare(uneven, "k", test_labels[0])
    sigma = deviations(uneven, test_labels[0].structure)
    assert_allclose([compared.energy[2], *compared.forces[2], *compared.stress_sigma], sigma)
