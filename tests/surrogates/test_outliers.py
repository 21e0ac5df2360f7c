"""One absurd label does not spoil the fit, and a sound one, however unusual, is not dropped."""

from dataclasses import replace

import numpy as np
import pytest

from hpcmat.surrogates import outliers
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.fitting import fit_potential

SETTINGS = AceSettings(("Si",), cutoff_ang=4.5)
ABSURD = 17


@pytest.fixture(scope="module")
def clean(make):
    return [make.label(make.silicon(seed)) for seed in range(100)]


@pytest.fixture(scope="module")
def clean_fit(clean):
    return fit_potential(tuple(clean), SETTINGS)


def energy_off(label):
    return replace(label, energy=label.energy + 5.0)


def force_off(label):
    forces = label.forces.copy()
    forces[3, 1] += 50.0
    return replace(label, forces=forces)


def in_rydberg_and_bohr(label):
    return replace(label, energy=label.energy / 13.6057, forces=label.forces / 25.7110)


def stress_in_gpa(label):
    return replace(label, stress=label.stress * 160.2177)


def with_one(labels, change):
    return tuple(change(label) if index == ABSURD else label for index, label in enumerate(labels))


def difference(one, other, labels):
    """Largest change of predictions over the noise: energies per atom, force components."""
    pairs = [(one.predict(label.structure), other.predict(label.structure)) for label in labels]
    energy = max(abs(a.energy - b.energy) / len(a.forces) for a, b in pairs) / other.noise_energy
    return max(energy, max(abs(a.forces - b.forces).max() for a, b in pairs) / other.noise_forces)


@pytest.mark.parametrize(
    ("change", "named"),
    [(energy_off, "energy"), (force_off, "force"), (in_rydberg_and_bohr, "energy"), (stress_in_gpa, "stress")],
)
def test_one_absurd_label_does_not_spoil_the_fit(clean, clean_fit, test_labels, monkeypatch, change, named):
    spoilt = with_one(clean, change)
    fit = fit_potential(spoilt, SETTINGS)
    assert fit.dropped == (ABSURD,)
    assert len(fit.reasons) == 1 and f"its {named} is" in fit.reasons[0]
    assert difference(fit.potential, clean_fit.potential, test_labels) < 1.0
    monkeypatch.setattr(outliers, "ABSURD", np.inf)
    trusting = fit_potential(spoilt, SETTINGS)
    assert trusting.dropped == ()
    assert difference(trusting.potential, clean_fit.potential, test_labels) > 2.0


def test_dropping_is_fitting_without(clean, test_labels):
    fit = fit_potential(with_one(clean, force_off), SETTINGS)
    rest = fit_potential(tuple(clean[:ABSURD] + clean[ABSURD + 1 :]), SETTINGS)
    np.testing.assert_allclose(fit.potential.noise, rest.potential.noise, rtol=1e-6)
    assert difference(fit.potential, rest.potential, test_labels) < 1e-4


def test_three_absurd_labels_are_dropped_and_many_are_believed(clean):
    three, many = (
        tuple(energy_off(label) if index % step == 0 else label for index, label in enumerate(clean))
        for step in (40, 4)
    )
    assert sorted(fit_potential(three, SETTINGS).dropped) == [0, 40, 80]
    assert fit_potential(many, SETTINGS).dropped == ()


@pytest.mark.parametrize(("displacement", "strain"), [(0.5, 0.15), (0.8, 0.25), (0.1, 0.45)])
def test_nothing_is_dropped_from_sound_labels(clean, clean_fit, make, displacement, strain):
    """Neither from a set of one kind nor one hot, compressed or dilute structure among many quiet ones."""
    assert clean_fit.dropped == ()
    unusual = make.label(make.silicon(6, displacement, strain))
    for number in (25, 100):
        assert fit_potential((*clean[: number - 1], unusual), SETTINGS).dropped == ()


def test_few_labels_are_all_kept(clean):
    few = with_one(clean, energy_off)[: ABSURD + 1]
    assert len(few) < outliers.LEAST_LABELS
    assert fit_potential(few, SETTINGS).dropped == ()
