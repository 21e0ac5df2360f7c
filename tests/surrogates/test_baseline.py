"""Energies of isolated atoms: kept exactly, and what they are worth where the frames have one composition."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from hpcmat.records import Structure
from hpcmat.surrogates.ace import AceBasis, AceSettings
from hpcmat.surrogates.baseline import composition_counts, fit_baseline, have_another_zero, known_together
from hpcmat.surrogates.dataset import Dataset, Frame, LabelKeys
from hpcmat.surrogates.fitting import fit_potential
from hpcmat.surrogates.trainer import FitOptions, fit_dataset

CORE_EV = {"Cu": -1000.0, "Au": -400.0}
"""Added for each atom, as codes do that count electrons of the cores."""
ELEMENTS = ("Cu", "Au")
SETTINGS = AceSettings(ELEMENTS, cutoff_ang=4.5)
ISOLATED = tuple((s, CORE_EV[s] + Atoms(s, calculator=EMT()).get_potential_energy()) for s in ELEMENTS)


@pytest.fixture(scope="module")
def alloy(make):
    """Maker of labels of an alloy with some gold atoms among eight."""

    def made(seed, n_gold):
        rng = np.random.default_rng(seed)
        atoms = bulk("Cu", a=3.85, cubic=True) * (2, 1, 1)
        atoms.symbols[rng.permutation(8)[:n_gold]] = "Au"
        atoms.positions += 0.1 * rng.normal(size=(8, 3))
        label = make.label(atoms, EMT(), offset=0.0)
        return replace(label, energy=label.energy + sum(CORE_EV[symbol] for symbol in label.structure.symbols))

    return made


@pytest.fixture(scope="module")
def half_gold(alloy):
    return tuple(alloy(seed, 4) for seed in range(25))


@pytest.fixture(scope="module")
def held(half_gold):
    """The potential that isolated atoms hold."""
    return fit_potential(half_gold, AceBasis(SETTINGS, isolated=ISOLATED)).potential


def energy_errors(potential, labels):
    """eV/atom"""
    return np.array([(potential.predict(s.structure).energy - s.energy) / len(s.structure) for s in labels])


def test_other_compositions_are_predicted_from_one(half_gold, held, alloy):
    others = [alloy(100 + seed, n_gold) for seed, n_gold in enumerate((2, 3, 5, 6))]
    guessed = fit_potential(half_gold, SETTINGS).potential
    assert abs(energy_errors(held, others)).max() < 0.3
    assert abs(energy_errors(guessed, others)).min() > 10.0
    assert abs(energy_errors(held, half_gold)).max() < 0.01


def test_an_isolated_atom_has_its_energy(held):
    assert held.metadata.atom_energies == ISOLATED
    for symbol, energy in ISOLATED:
        atom = Structure((symbol,), np.zeros((1, 3)), np.zeros((3, 3)), (False,) * 3)
        assert held.predict(atom).energy == pytest.approx(energy, abs=1e-6)
        # Nothing of it is left to learn: what remains is noise, which is least where the posterior is sure.
        assert np.linalg.norm(held.design(atom).energy @ held.covariance_factor) < 1e-5
        assert 0.0 < held.energy_sigma(atom) <= held.noise_energy


def test_one_known_element_leaves_the_other_to_the_frames(half_gold):
    counts = composition_counts(half_gold, ELEMENTS)
    energies = np.array([label.energy for label in half_gold])
    baseline = fit_baseline(counts, energies, np.array([ISOLATED[0][1], np.nan]))
    assert baseline[0] == ISOLATED[0][1]
    assert (energies - counts @ baseline).mean() == pytest.approx(0.0, abs=1e-6)


def test_what_frames_do_not_tell_apart(half_gold, alloy):
    counts = composition_counts(half_gold, ELEMENTS)
    assert known_together(counts, ELEMENTS, ()) == ELEMENTS
    assert known_together(counts, ELEMENTS, ISOLATED[:1]) == ()
    more = composition_counts((*half_gold, alloy(0, 2)), ELEMENTS)
    assert known_together(more, ELEMENTS, ()) == ()


def test_energies_of_another_zero_are_recognised(half_gold):
    counts = composition_counts(half_gold, ELEMENTS)
    energies = np.array([label.energy for label in half_gold])
    right = np.array([energy for _, energy in ISOLATED])
    assert not have_another_zero(counts, energies, right)
    assert have_another_zero(counts, energies, np.zeros(2))
    assert not have_another_zero(counts, energies, np.full(2, np.nan))


def data_set(labels, isolated):
    frames = tuple(Frame(index, label, "") for index, label in enumerate(labels))
    return Dataset("set.xyz", "ab" * 32, LabelKeys("E", "F"), frames, (), ELEMENTS, isolated, len(labels))


def test_a_fit_holds_isolated_atoms_and_tells_what_is_guessed(half_gold):
    for isolated, word in (
        (ISOLATED, None),
        ((), "add an isolated atom"),
        ((("Cu", 0.0), ("Au", 0.0)), "another zero"),
    ):
        told = []
        fitted = fit_dataset(data_set(half_gold, isolated), FitOptions("small", 4.5), told.append)
        assert fitted.metadata.atom_energies == (ISOLATED if isolated is ISOLATED else ())
        assert any(word in line for line in told) if word else told == []
