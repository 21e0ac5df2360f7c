"""Below the distances of the labels: nuclear repulsion, smoothly, in every evaluator, and nothing changed above."""

from dataclasses import replace

import numpy as np
import pytest

from hpcmat.records import Structure
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.core import OUTER, core_of, nearest_atoms
from hpcmat.surrogates.fitting import fit_potential
from hpcmat.surrogates.molecular_dynamics import kernel_potential
from hpcmat.surrogates.potential import Potential
from hpcmat_kernels.md.driver import run
from hpcmat_kernels.md.settings import Settings
from hpcmat_kernels.md.state import make_state

ALONE = np.zeros((3, 3)), (False, False, False)


def dimer(distance, symbols=("Si", "Si")):
    return Structure(symbols, np.array([[0.0, 0, 0], [distance, 0, 0]]), *ALONE)


def squeezed(structure, distance):
    """A structure whose first atom has its nearest neighbour at this distance."""
    vectors = structure.positions[1:] - structure.positions[0]
    vectors -= np.round(vectors @ np.linalg.inv(structure.cell)) @ structure.cell
    nearest = vectors[np.argmin(np.linalg.norm(vectors, axis=1))]
    positions = structure.positions.copy()
    positions[0] += nearest * (1 - distance / np.linalg.norm(nearest))
    return replace(structure, positions=positions)


def radii(potential):
    return potential.core[0, 0]


def test_the_core_ends_where_the_labels_do(potential, train_labels):
    shortest = [np.linalg.norm(potential.basis.neighbors(x.structure).vectors, axis=1).min() for x in train_labels]
    inner, outer = radii(potential)
    assert outer / min(shortest) == pytest.approx(min(OUTER, key=lambda share: abs(share - outer / min(shortest))))
    assert 0 < inner < 0.85 * outer


def test_nothing_changes_where_labels_reach(potential, train_labels):
    plain = replace(potential, core=None)
    for label in train_labels[:5]:
        ours, without = potential.predict(label.structure), plain.predict(label.structure)
        np.testing.assert_allclose(ours.forces, without.forces, rtol=0, atol=1e-12)
        assert ours.energy == pytest.approx(without.energy, rel=1e-14)
    # Negative control: below, it does.
    near = squeezed(label.structure, 0.9 * radii(potential)[1])
    assert abs(potential.predict(near).forces - plain.predict(near).forces).max() > 0.1


def test_two_atoms_cannot_fall_into_each_other(potential):
    outer = radii(potential)[1]
    distances = np.linspace(0.15, 0.98, 60) * outer
    nuclear = distances < radii(potential)[0]
    predicted = [potential.predict(dimer(d)) for d in distances]
    forces, energies = np.array([p.forces[1, 0] for p in predicted]), np.array([p.energy for p in predicted])
    assert forces[nuclear].min() > 0 and forces[0] > 100.0
    # This fit to thirty small cells turns down at once; what is left of it is no hole to fall into.
    assert energies.min() > energies[-1] - 5.0 and energies[0] > energies[-1] + 1000.0
    # Negative control: polynomials are.
    plain = replace(potential, core=None)
    assert min(plain.predict(dimer(d)).energy for d in distances) < energies[-1] - 1000.0


def test_forces_and_stress_are_derivatives_through_the_blend(potential, structure):
    inner, outer = radii(potential)
    h, direction = 1e-4, np.random.default_rng(3).normal(size=structure.positions.shape)
    for distance in (0.9 * inner, inner, 0.5 * (inner + outer), 0.97 * outer, outer):
        near = squeezed(structure, distance)

        def moved(step, near=near):
            return potential.predict(replace(near, positions=near.positions + step * direction)).energy

        def strained(step, near=near):
            grown = replace(near, positions=near.positions * (1 + step), cell=near.cell * (1 + step))
            return potential.predict(grown).energy

        found = potential.predict(near)
        for energy, slope in (
            (moved, -float((found.forces * direction).sum())),
            (strained, found.stress[:3].sum() * abs(np.linalg.det(near.cell))),
        ):
            numeric = (8 * (energy(h) - energy(-h)) - (energy(2 * h) - energy(-2 * h))) / (12 * h)
            assert slope == pytest.approx(numeric, rel=1e-6, abs=1e-6)


def test_dynamics_have_it(potential, structure):
    near = squeezed(structure, 0.5 * radii(potential).sum())
    state = make_state(near.positions, near.cell, (True, True, True), 28.0)
    energy = run(kernel_potential(potential), state, Settings(1.0), 0).potential_energies[0]
    assert energy == pytest.approx(potential.predict(near).energy, rel=1e-10)
    alone = run(kernel_potential(replace(potential, core=None)), state, Settings(1.0), 0).potential_energies[0]
    assert abs(energy - alone) > 0.1


def test_the_committee_still_tells_where_no_label_reaches(potential):
    inner = radii(potential)[0]
    spread = np.linalg.norm(potential.committee_forces(dimer(0.9 * inner)).std(axis=0)[0])
    known = np.linalg.norm(potential.committee_forces(dimer(1.2 * radii(potential)[1])).std(axis=0)[0])
    assert spread > 10 * known


def test_two_elements_have_a_core_for_each_pair(make):
    labels = [make.copper_gold(seed) for seed in range(8)]
    potential = fit_potential(tuple(labels), AceSettings(("Au", "Cu"), 4.5)).potential
    nearest = nearest_atoms([label.structure for label in labels], potential.basis)
    assert len(nearest) == 3 and len(set(potential.core[:, :, 1].ravel())) == 3
    for (i, j), pair in nearest.items():
        outer = potential.core[i, j, 1]
        assert outer == potential.core[j, i, 1] <= OUTER[0] * pair.distance * (1 + 1e-12)
        symbols = tuple(potential.settings.elements[k] for k in (i, j))
        assert potential.predict(dimer(0.3 * outer, symbols)).forces[1, 0] > 10.0


def test_the_nearest_atoms_are_brought_together(potential, train_labels):
    (pair,) = nearest_atoms([label.structure for label in train_labels], potential.basis).values()
    for distance in (pair.distance, 1.5):
        vectors = potential.basis.neighbors(pair.brought_to(distance)).vectors
        assert np.linalg.norm(vectors, axis=1).min() == pytest.approx(distance)
    # In matter they cannot fall into each other either.
    distances = np.linspace(0.15, 1.0, 18) * pair.distance
    energies = np.array([potential.predict(pair.brought_to(distance)).energy for distance in distances])
    assert energies.min() > energies[-1] - 5.0 and energies[0] > energies[-1] + 1000.0


def test_elements_that_never_meet_have_that_of_their_bond(potential):
    (outer,) = core_of([], potential.basis, potential.kernel_coefficients)[0, :, 1]
    assert outer / (2 * 1.11) == pytest.approx(min(OUTER, key=lambda share: abs(share - outer / 2.22)))


def test_files_keep_it_and_older_ones_have_none(potential, structure, tmp_path):
    near = squeezed(structure, 0.5 * radii(potential).sum())
    potential.save(tmp_path / "new.npz")
    loaded = Potential.load(tmp_path / "new.npz")
    assert (loaded.predict(near).forces == potential.predict(near).forces).all()
    np.testing.assert_array_equal(loaded.covariance_factor, potential.covariance_factor)
    with np.load(tmp_path / "new.npz") as archive:
        arrays = {name: archive[name] for name in archive.files if not name.startswith(("core", "covariance"))}
    # As version 1 was: the whole factor, and no core.
    arrays["header"] = np.array(str(arrays["header"]).replace('"format_version": 2', '"format_version": 1'))
    np.savez(tmp_path / "old.npz", covariance_factor=potential.covariance_factor, **arrays)
    old = Potential.load(tmp_path / "old.npz")
    assert old.core is None
    assert (old.predict(near).forces == replace(potential, core=None).predict(near).forces).all()
    np.testing.assert_array_equal(old.energy_sigma(near), potential.energy_sigma(near))
    assert (tmp_path / "new.npz").stat().st_size < 0.6 * (tmp_path / "old.npz").stat().st_size
