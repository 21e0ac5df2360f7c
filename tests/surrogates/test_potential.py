"""A real fit: accuracy, uncertainties, the calculator, and the file."""

import json
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet

from hpcmat.errors import InputError, StorageError, VersionError
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.calculator import AceCalculator, structure_of
from hpcmat.surrogates.fitting import fit_potential
from hpcmat.surrogates.potential import COMMITTEE_SIZE, Potential
from hpcmat.surrogates.scoring import compare, summarise

SETTINGS = AceSettings(("Si",), cutoff_ang=4.5)
OFFSET = -5000.0
"""eV/atom in the labels"""


def scores_of(potential, labels):
    return [compare(potential, str(k), label).score() for k, label in enumerate(labels)]


def errors_of(potential, labels):
    return summarise(tuple(compare(potential, str(k), label) for k, label in enumerate(labels)))


def test_held_out_errors_are_small(potential, test_labels):
    errors = errors_of(potential, test_labels)
    spread = np.sqrt(np.mean([np.mean(label.forces**2) for label in test_labels]))
    assert errors.forces_rmse < 0.06 * spread
    assert errors.energy_rmse < 0.005
    assert errors.stress_rmse < 0.003
    assert errors.n_frames == len(test_labels)


def test_error_bound_would_catch_wrong_labels(train_labels, test_labels):
    shuffled = tuple(replace(label, forces=label.forces[::-1]) for label in train_labels)
    wrong = fit_potential(shuffled, SETTINGS).potential
    spread = np.sqrt(np.mean([np.mean(label.forces**2) for label in test_labels]))
    assert errors_of(wrong, test_labels).forces_rmse > 0.3 * spread


def test_more_labels_lower_the_error(train_labels, test_labels, potential):
    few = fit_potential(train_labels[:5], SETTINGS).potential
    assert errors_of(few, test_labels).forces_rmse > 1.3 * errors_of(potential, test_labels).forces_rmse


def test_uncertainties_of_held_out_labels_are_calibrated(potential, test_labels):
    scores = scores_of(potential, test_labels)
    assert 0.5 < np.mean([score.forces_z2 for score in scores]) < 2.0
    assert 0.88 < np.mean([score.coverage_95 for score in scores]) <= 1.0
    energy_z = [score.energy_error / score.energy_sigma for score in scores]
    assert 0.2 < np.mean(np.square(energy_z)) < 3.0


def test_five_labels_give_sane_forces(train_labels, test_labels):
    few = fit_potential(train_labels[:5], SETTINGS).potential
    scores = scores_of(few, test_labels)
    spread = np.sqrt(np.mean([np.mean(label.forces**2) for label in test_labels]))
    assert np.sqrt(np.mean([score.forces_mse for score in scores])) < 0.3 * spread
    assert np.mean([score.forces_z2 for score in scores]) < 4.0


def test_one_perfect_crystal_gives_finite_predictions(structure, make):
    potential = fit_potential((make.label(make.silicon(0, 0.0, 0.0)),), SETTINGS).potential
    prediction = potential.predict(structure)
    assert np.isfinite(prediction.forces).all()
    assert potential.energy_sigma(structure) > 0


def test_large_offset_costs_no_digits(train_labels, test_labels, potential):
    shifted = tuple(replace(label, energy=label.energy - OFFSET * 8) for label in train_labels)
    other = fit_potential(shifted, SETTINGS).potential
    a, b = potential.predict(test_labels[0].structure), other.predict(test_labels[0].structure)
    assert a.energy - OFFSET * 8 == pytest.approx(b.energy, abs=1e-6)
    np.testing.assert_allclose(a.forces, b.forces, atol=1e-6)


def test_pulay_stress_of_the_labels_is_found_and_left_out(train_labels, test_labels, potential):
    """Labels with an isotropic stress of 0.2 eV/atom that their energies do not have."""

    def shifted(label):
        volume = abs(np.linalg.det(label.structure.cell)) / 8
        return replace(label, stress=label.stress + 0.2 / volume * np.array([1, 1, 1, 0, 0, 0]))

    biased = fit_potential(tuple(map(shifted, train_labels)), SETTINGS).potential
    assert potential.metadata.stress_offset_ev == pytest.approx(0.0, abs=0.01)
    assert biased.metadata.stress_offset_ev == pytest.approx(0.2, abs=0.01)
    assert errors_of(biased, map(shifted, test_labels)).stress_rmse < 0.003
    assert errors_of(biased, test_labels).stress_rmse > 0.005
    np.testing.assert_allclose(
        biased.predict(test_labels[0].structure).stress, potential.predict(test_labels[0].structure).stress, atol=5e-4
    )


def test_two_elements(make):
    labels = [make.copper_gold(seed) for seed in range(24)]
    fit = fit_potential(tuple(labels[:20]), AceSettings(("Cu", "Au"), cutoff_ang=4.5))
    errors = errors_of(fit.potential, labels[20:])
    spread = np.sqrt(np.mean([np.mean(label.forces**2) for label in labels]))
    assert errors.forces_rmse < 0.25 * spread
    swapped = replace(
        labels[20].structure, symbols=tuple({"Cu": "Au", "Au": "Cu"}[s] for s in labels[20].structure.symbols)
    )
    right, wrong = (fit.potential.predict(s).forces for s in (labels[20].structure, swapped))
    assert abs(right - wrong).max() > 0.1


def test_an_element_never_seen_is_very_uncertain(train_labels, structure):
    potential = fit_potential(train_labels[:5], AceSettings(("Si", "Ge"), cutoff_ang=4.5)).potential
    unseen = replace(structure, symbols=("Ge",) * 8)
    assert np.isfinite(potential.predict(unseen).forces).all()
    assert potential.energy_sigma(unseen) > 100 * potential.energy_sigma(structure)
    assert potential.force_sigma(unseen).min() > 5 * potential.force_sigma(structure).max()


def test_prediction_equals_design_rows(potential, structure):
    design, prediction = potential.design(structure), potential.predict(structure)
    assert design.energy @ potential.coefficients == pytest.approx(prediction.energy, abs=1e-8)
    np.testing.assert_allclose((design.forces @ potential.coefficients).reshape(-1, 3), prediction.forces, atol=1e-9)
    np.testing.assert_allclose(design.stress @ potential.coefficients, prediction.stress, atol=1e-11)
    assert prediction.site_energies.sum() == pytest.approx(prediction.energy)


def test_epistemic_sigma_falls_with_data_and_grows_far_away(train_labels, potential, structure, make):
    few = fit_potential(train_labels[:5], SETTINGS).potential
    assert (few.epistemic_force_sigma(structure) > potential.epistemic_force_sigma(structure)).mean() > 0.8
    hot = structure_of(make.silicon(5, displacement=0.5))
    assert potential.epistemic_force_sigma(hot).max() > 3 * potential.epistemic_force_sigma(structure).max()
    total = potential.force_sigma(structure)
    epistemic = potential.epistemic_force_sigma(structure)
    constant = replace(potential, label_noise=None)
    np.testing.assert_allclose(constant.force_sigma(structure), np.hypot(epistemic, potential.noise_forces))
    assert (total > epistemic).all()


def test_committee_spreads_as_the_posterior(potential, test_labels):
    ratios = []
    for label in test_labels:
        forces = potential.committee_forces(label.structure)
        assert forces.shape == (COMMITTEE_SIZE, 8, 3)
        exact = potential.epistemic_force_sigma(label.structure) ** 2
        ratios.append(np.mean((forces - potential.predict(label.structure).forces) ** 2) / exact.mean())
    assert 0.4 < np.mean(ratios) < 1.8
    again = potential.committee_forces(test_labels[-1].structure)
    assert (again == forces).all()


def test_file_keeps_everything(potential, structure, tmp_path):
    potential.save(tmp_path / "p.npz")
    loaded = Potential.load(tmp_path / "p.npz")
    assert loaded.settings == potential.settings
    assert loaded.metadata == potential.metadata
    assert ("hpcmat" in dict(loaded.metadata.software)) and "eV" in loaded.metadata.units
    assert (loaded.predict(structure).forces == potential.predict(structure).forces).all()
    assert (loaded.force_sigma(structure) == potential.force_sigma(structure)).all()
    assert loaded.energy_sigma(structure) == potential.energy_sigma(structure)


def rewritten(source, target, **changes):
    with np.load(source) as archive:
        arrays = {name: archive[name] for name in archive.files}
    header = json.loads(str(arrays["header"]))
    header.update({name: value for name, value in changes.items() if name in header})
    arrays["header"] = np.array(json.dumps(header))
    for name in set(changes) & set(arrays):
        arrays[name] = changes[name]
    np.savez(target, **{name: value for name, value in arrays.items() if value is not None})


def test_newer_file_is_refused(potential, tmp_path):
    potential.save(tmp_path / "p.npz")
    rewritten(tmp_path / "p.npz", tmp_path / "new.npz", format_version=99)
    with pytest.raises(VersionError, match="install a newer hpcmat"):
        Potential.load(tmp_path / "new.npz")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"settings": {"elements": []}},
        {"settings": None},
        {"coefficients": np.zeros(3)},
        {"coefficients": np.full(227, np.nan)},
        {"mixing": np.zeros((2, 2, 2, 2))},
        {"coefficients": None},
        {"noise": None},
    ],
)
def test_inconsistent_file_is_refused(potential, tmp_path, changes):
    potential.save(tmp_path / "p.npz")
    rewritten(tmp_path / "p.npz", tmp_path / "bad.npz", **changes)
    with pytest.raises(StorageError, match=r"fit it again|right file"):
        Potential.load(tmp_path / "bad.npz")


@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9])
def test_truncated_file_is_refused(potential, tmp_path, keep):
    potential.save(tmp_path / "p.npz")
    data = (tmp_path / "p.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(StorageError, match="fit it again"):
        Potential.load(tmp_path / "cut.npz")


def test_flipped_byte_is_refused(potential, tmp_path):
    potential.save(tmp_path / "p.npz")
    data = bytearray((tmp_path / "p.npz").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "bent.npz").write_bytes(data)
    with pytest.raises(StorageError, match="fit it again"):
        Potential.load(tmp_path / "bent.npz")


def test_absent_file_is_a_storage_error(tmp_path):
    with pytest.raises(StorageError, match="no such file"):
        Potential.load(tmp_path / "nothing.npz")


def test_calculator_serves_ase(potential, make):
    atoms = make.silicon(7)
    atoms.calc = AceCalculator(potential)
    prediction = potential.predict(structure_of(atoms))
    assert atoms.get_potential_energy() == prediction.energy
    assert atoms.get_potential_energy(force_consistent=True) == prediction.energy
    assert (atoms.get_forces() == prediction.forces).all()
    assert (atoms.get_stress() == prediction.stress).all()
    assert atoms.get_potential_energies().sum() == pytest.approx(prediction.energy)


def test_dynamics_conserve_energy(potential, make):
    atoms = make.silicon(7, displacement=0.0, strain=0.0)
    atoms.calc = AceCalculator(potential)
    atoms.set_momenta(
        np.random.default_rng(0).normal(size=(8, 3)) * np.sqrt(atoms.get_masses()[:, None] * 600 * units.kB)
    )
    start = atoms.get_total_energy()
    kinetic = atoms.get_kinetic_energy()
    VelocityVerlet(atoms, timestep=1.0 * units.fs).run(100)
    assert abs(atoms.get_total_energy() - start) < 0.01 * kinetic
    assert abs(atoms.get_kinetic_energy() - kinetic) > 0.05 * kinetic


def test_calculator_refuses_stress_without_a_cell_and_unknown_elements(potential):
    dimer = Atoms("Si2", [[0, 0, 0], [0, 0, 2.4]], calculator=AceCalculator(potential))
    assert np.isfinite(dimer.get_forces()).all()
    with pytest.raises(PropertyNotImplementedError, match="periodic"):
        dimer.get_stress()
    dimer.symbols[0] = "C"
    with pytest.raises(InputError, match="not C"):
        dimer.get_potential_energy()


def test_fit_refuses_no_labels():
    with pytest.raises(InputError, match="at least one label"):
        fit_potential((), SETTINGS)
