"""The choice of the cutoff: as far as the forces reach, no further without need, and by the labels alone."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.stress import full_3x3_to_voigt_6_stress
from scipy.stats import multivariate_normal

from hpcmat.records import Label, Method
from hpcmat.surrogates.ace import AceBasis, AceSettings
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.communicator import SERIAL
from hpcmat.surrogates.cutoff import (
    LEAST_GAIN,
    choose_cutoff,
    draw_sample,
    log_evidence,
    nearest_distance,
    sample_evidence,
    sampled_scales,
)
from hpcmat.surrogates.fitting import fit_potential, prior_of, rows_of
from hpcmat.surrogates.posterior import fit_coefficients
from hpcmat_kernels.neighbors import neighbor_list

USUAL_ANG = 5.0


STRENGTH_EV = 10.0


def crystal(seed, reach, nearest=2.6):
    """Label of a rattled crystal whose atoms repel by φ(r) = A (1 - r / reach)³ up to that distance (Å)."""
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", a=2**0.5 * nearest * rng.uniform(0.96, 1.06), cubic=True) * (2, 1, 1)
    atoms.positions += 0.06 * nearest * rng.normal(size=(8, 3))
    structure = structure_of(atoms)
    pairs = neighbor_list(structure.positions, structure.cell, structure.pbc, reach)
    r = np.linalg.norm(pairs.vectors, axis=1)
    slope = -3 * STRENGTH_EV / reach * (1 - r / reach) ** 2
    pull = slope[:, None] * pairs.vectors / r[:, None]
    forces = np.stack([np.bincount(pairs.first, pull[:, axis], 8) for axis in range(3)], axis=1)
    virial = 0.5 * pairs.vectors.T @ pull / atoms.get_volume()
    energy = 0.5 * STRENGTH_EV * np.sum((1 - r / reach) ** 3)
    return Label(structure, energy, forces, full_3x3_to_voigt_6_stress(virial), Method("pair", "1", "{}", "0"))


@pytest.fixture(scope="module")
def reaching():
    """Labels by how far their forces reach (Å)."""
    return {reach: tuple(crystal(seed, reach) for seed in range(24)) for reach in (3.9, 6.5)}


def usual(element="Cu"):
    return AceBasis(AceSettings((element,), cutoff_ang=USUAL_ANG))


def test_chosen_cutoff_follows_the_reach_of_the_forces(reaching):
    lines = []
    near = choose_cutoff(reaching[3.9], usual(), tell=lines.append)
    far = choose_cutoff(reaching[6.5], usual(), tell=lines.append)
    assert near < USUAL_ANG < far
    assert [line.split(" Å")[0] for line in lines] == [f"cutoff {near:g}", f"cutoff {far:g}"]


@pytest.mark.parametrize("reach", [3.9, 6.5])
def test_left_out_errors_are_smaller_at_the_chosen_cutoff(reaching, reach):
    labels = reaching[reach]
    chosen = usual().with_cutoff(choose_cutoff(labels, usual()))
    noise = [fit_potential(labels, basis).potential.noise_forces for basis in (chosen, usual())]
    assert noise[0] < 0.9 * noise[1]


def test_labels_without_sense_choose_nothing(reaching):
    """The control: forces of other structures have no reach that a cutoff could follow."""
    labels = reaching[6.5]
    others = labels[1:] + labels[:1]
    shuffled = tuple(replace(a, forces=b.forces, energy=b.energy) for a, b in zip(labels, others, strict=True))
    evidence = [sample_evidence(draw_sample(shuffled, 0), usual().with_cutoff(rc)) for rc in (USUAL_ANG, 6.5)]
    ordered = [sample_evidence(draw_sample(labels, 0), usual().with_cutoff(rc)) for rc in (USUAL_ANG, 6.5)]
    assert evidence[1] - evidence[0] < 0.1 * (ordered[1] - ordered[0])
    assert ordered[1] - ordered[0] > LEAST_GAIN


def test_large_atoms_get_their_neighbours():
    """Caesium's nearest neighbours are beyond the usual cutoff."""
    labels = tuple(crystal(seed, 11.0, nearest=5.3) for seed in range(12))
    assert nearest_distance(labels) == pytest.approx(5.0, abs=0.4)
    assert choose_cutoff(labels, usual()) > 1.5 * 5.3


def test_evidence_is_that_of_the_gaussian():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 30)) * 10.0 ** rng.uniform(-2, 1, 30), rng.normal(size=12)
    gram = x @ x.T

    def density(log_ratio):
        shape = np.exp(log_ratio) * gram + np.eye(12)
        variance = y @ np.linalg.solve(shape, y) / 12
        return multivariate_normal(cov=variance * shape).logpdf(y)

    greatest = max(density(log_ratio) for log_ratio in np.linspace(-20, 20, 2001))
    assert log_evidence(gram, y) == pytest.approx(greatest, abs=1e-3)
    assert log_evidence(4.0 * gram, y) == pytest.approx(greatest, abs=1e-3)


def test_scales_of_a_sample_that_is_all_rows_are_those_of_the_fit(reaching):
    rng, basis = np.random.default_rng(0), usual()
    labels = [replace(label, forces=label.forces + 0.2 * rng.normal(size=(8, 3))) for label in reaching[3.9]]
    prior = replace(prior_of(basis), groups=np.zeros(basis.n_features + 1, dtype=int))
    fitted = fit_coefficients(rows_of(tuple(labels), basis), prior, SERIAL).scales
    sampled = sampled_scales(tuple(labels), basis)
    assert sampled.common == pytest.approx(fitted.common, rel=0.05)
    assert sampled.beta == pytest.approx(fitted.beta, rel=0.05)
    assert (sampled.alpha == sampled.common).all() and len(sampled.alpha) == 4
