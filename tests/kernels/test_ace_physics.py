"""What physics demands of the cluster expansion, on random structures, species and models.

Each demand is a function that raises AssertionError; the last test breaks one evaluator after another and shows that
the demand made for it notices.
"""

from dataclasses import dataclass, replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcmat_kernels.ace import AceModel, Evaluation, ace_model, evaluate, split_coefficients
from hpcmat_kernels.jax.ace import ace_parameters, energies_forces
from hpcmat_kernels.jax.batch import BatchSize, pad_batch
from hpcmat_kernels.jax.sites import AceShape
from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.reference.ace import site_energies

CUTOFF = 4.0
OPEN = (False, False, False)
VOIGT = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
SHAPES = [
    {"n_species": 1, "n_radial": 4, "l_max": 3, "n_channels": 3, "degrees": (3, 2), "core": (0.0, 0.0)},
    {"n_species": 2, "n_radial": 4, "l_max": 3, "n_channels": 3, "degrees": (3, 2), "core": (0.0, 0.0)},
    {"n_species": 3, "n_radial": 3, "l_max": 2, "n_channels": 9, "degrees": (2, 1), "core": (0.9, 2.5)},
]
"""Few, since each is compiled."""


@dataclass(frozen=True)
class System:
    positions: np.ndarray
    cell: np.ndarray
    pbc: tuple[bool, bool, bool]
    species: np.ndarray

    @classmethod
    def random(cls, rng, n, pbc, n_species):
        """Up to 8 atoms, no two nearer than about 1 Å, in a triclinic cell of 3.4 to 6 Å."""
        cell = np.diag(rng.uniform(3.4, 6.0, 3)) + rng.uniform(-0.4, 0.4, (3, 3))
        grid = rng.permutation(np.array(list(np.ndindex(2, 2, 2))))[:n] / 2
        positions = grid @ cell + rng.uniform(-0.2, 0.2, (n, 3))
        return cls(positions, cell, pbc, rng.integers(n_species, size=n))

    def deformed(self, matrix):
        return replace(self, positions=self.positions @ matrix, cell=self.cell @ matrix)


@dataclass(frozen=True)
class Potential:
    """A model with coefficients; `bend` may spoil what it says, given the system and the threads."""

    model: AceModel
    vector: np.ndarray
    reach: float = CUTOFF
    bend: object = None

    @classmethod
    def random(cls, rng, n_species, n_radial, l_max, n_channels, degrees, core):
        mixing = rng.normal(size=(n_species, l_max + 1, n_species * n_radial, n_channels))
        model = ace_model(mixing, CUTOFF, 1.0, degrees, core)
        return cls(model, rng.normal(size=model.n_features) * 0.1)

    def __call__(self, system, threads=1):
        pairs = neighbor_list(system.positions, system.cell, system.pbc, self.reach)
        result = evaluate(self.model, split_coefficients(self.model, self.vector), pairs, system.species, threads)
        return self.bend(result, system, threads) if self.bend else result

    def energy(self, system):
        return self(system).site_energies.sum()


@st.composite
def cases(draw, largest=8, shapes=SHAPES):
    """(potential, system, random generator)."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from(shapes))
    pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    system = System.random(rng, draw(st.integers(1, largest)), pbc, shape["n_species"])
    return Potential.random(rng, **shape), system, rng


def slope(function, step=1e-3):
    return (8 * (function(step) - function(-step)) - (function(2 * step) - function(-2 * step))) / (12 * step)


def near(value, expected, bound, scale):
    assert np.abs(np.asarray(value) - expected).max() <= bound * max(scale, np.abs(expected).max())


def forces_are_minus_the_gradient(potential, system, rng):
    direction = rng.normal(size=system.positions.shape)
    numeric = slope(lambda t: potential.energy(replace(system, positions=system.positions + t * direction)))
    forces = potential(system).forces
    near((forces * direction).sum(), -numeric, 1e-6, np.linalg.norm(forces) * np.linalg.norm(direction) + 1e-3)
    near(forces.sum(axis=0), 0.0, 1e-11, np.abs(forces).max() + 1e-3)


def virial_is_the_strain_derivative(potential, system, rng):
    strain = rng.normal(size=(3, 3))
    strain = (strain + strain.T) / 10
    numeric = slope(lambda t: potential.energy(system.deformed(np.eye(3) + t * strain)))
    # Shear counts twice: both of its components move.
    along = sum(
        v * strain[a, b] * (1 if a == b else 2) for v, (a, b) in zip(potential(system).virial, VOIGT, strict=True)
    )
    near(along, numeric, 1e-6, np.abs(potential(system).virial).max() + 1e-3)


def same_in_every_frame(potential, system, frame):
    """`frame` = (orthogonal matrix, shift): energies stay, forces and virial turn."""
    matrix, shift = frame
    before, after = (
        potential(system),
        potential(replace(system.deformed(matrix), positions=system.positions @ matrix + shift)),
    )
    scale = np.abs(before.forces).max() + 1e-3
    near(after.site_energies, before.site_energies, 1e-10, scale)
    near(after.forces, before.forces @ matrix, 1e-9, scale)
    near(tensor(after.virial), matrix.T @ tensor(before.virial) @ matrix, 1e-9, scale)


def tensor(voigt):
    return np.array(voigt)[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]


def rotation_turns_the_forces(potential, system, rng):
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    same_in_every_frame(potential, system, (turn * np.linalg.det(turn), 0.0))


def inversion_turns_the_forces(potential, system, rng):
    same_in_every_frame(potential, system, (-np.eye(3), 0.0))


def translation_changes_nothing(potential, system, rng):
    same_in_every_frame(potential, system, (np.eye(3), rng.uniform(-20, 20, 3)))


def permutation_reorders_sites(potential, system, rng):
    order = rng.permutation(len(system.positions))
    permuted = replace(system, positions=system.positions[order], species=system.species[order])
    before, after = potential(system), potential(permuted)
    scale = np.abs(before.forces).max() + 1e-3
    near(after.site_energies, before.site_energies[order], 1e-11, scale)
    near(after.forces, before.forces[order], 1e-11, scale)


def curvature_is_continuous_at_the_cutoff(potential, system, rng):
    """An atom leaves the reach of another: the force along its way and its slope are equal on both sides.

    Differences between values taken h before and h behind vanish as h; those of a function that jumps would stay.
    """
    centre, way = system.positions[0], rng.normal(size=3)
    way /= np.linalg.norm(way)
    open_system = replace(system, pbc=OPEN, cell=np.zeros((3, 3)), species=np.append(system.species, 0))

    def force(distance):
        moved = replace(open_system, positions=np.vstack([system.positions, centre + distance * way]))
        return potential(moved).forces[-1] @ way

    r, tiny = potential.reach, 1e-8 * (1 + abs(force(potential.reach)))

    def force_jump(h):
        return abs(force(r + h) - force(r - h))

    def slope_jump(h):
        return abs((force(r + 2 * h) - force(r + h)) - (force(r - h) - force(r - 2 * h))) / h

    for jump in (force_jump, slope_jump):
        assert jump(1e-4) <= 0.3 * jump(8e-4) + tiny


def threads_keep_every_bit(potential, system, rng):
    one = potential(system)
    for threads in (2, 3):
        many = potential(system, threads)
        for name in ("site_energies", "forces", "virial"):
            assert getattr(many, name).tobytes() == getattr(one, name).tobytes()


def labels_of_one_element_are_one_element(potential, system, rng):
    """Two species whose parameters are those of the one species of `potential`, under any labels."""
    expected, labels = potential(system), rng.integers(2, size=len(system.species))
    result = two_labels(potential)(replace(system, species=labels))
    scale = np.abs(expected.forces).max() + 1e-3
    near(result.site_energies, expected.site_energies, 1e-10, scale)
    near(result.forces, expected.forces, 1e-10, scale)
    near(result.virial, expected.virial, 1e-10, scale)


def two_labels(potential):
    model, one = potential.model, split_coefficients(potential.model, potential.vector)
    double = ace_model(np.tile(model.mixing, (2, 1, 2, 1)), CUTOFF, 1.0, (3, 2), model.core)
    upper = np.triu_indices(2 * model.n_radial)
    pair = np.tile(one.pair[0], (1, 2, 2))[:, upper[0], upper[1]]
    block = np.concatenate([one.constant, np.tile(one.linear[0], 2), pair.ravel(), one.product.ravel()])
    return replace(potential, model=double, vector=np.tile(block, 2))


def reference_says_the_same(potential, system, rng):
    coefficients = split_coefficients(potential.model, potential.vector)
    expected = site_energies(potential.model, coefficients, system.positions, system.cell, system.pbc, system.species)
    near(potential(system).site_energies, expected, 1e-10, 1e-3)


def jax_says_the_same(potential, system, rng):
    pairs = neighbor_list(system.positions, system.cell, system.pbc, CUTOFF)
    result, n = potential(system), len(system.positions)
    with jax.enable_x64(True):
        batch = pad_batch(potential.model, [(pairs, system.species)], size=BatchSize(1, 8, 64))
        parameters = ace_parameters(potential.model, potential.vector)
        other = energies_forces(parameters, AceShape.of(potential.model), batch)
    scale = np.abs(result.forces).max() + 1e-3
    near(other.site_energies[:n], result.site_energies, 1e-10, scale)
    near(other.forces[:n], result.forces, 1e-10, scale)
    near(other.virials[0], result.virial, 1e-10, scale)


DEMANDS = [
    forces_are_minus_the_gradient,
    virial_is_the_strain_derivative,
    rotation_turns_the_forces,
    inversion_turns_the_forces,
    translation_changes_nothing,
    permutation_reorders_sites,
    curvature_is_continuous_at_the_cutoff,
    threads_keep_every_bit,
    jax_says_the_same,
]


@pytest.mark.parametrize("demand", DEMANDS)
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_random_structures(demand, case):
    demand(*case)


@settings(max_examples=40, deadline=None)
@given(case=cases(shapes=SHAPES[:1]))
def test_two_labels_of_one_element(case):
    labels_of_one_element_are_one_element(*case)


@settings(max_examples=10, deadline=None)
@given(case=cases(largest=2))
def test_reference(case):
    reference_says_the_same(*case)


def spoil(field, change):
    """Evaluator whose `field` is changed by change(value, system, threads)."""

    def bend(result: Evaluation, system, threads):
        return replace(result, **{field: change(getattr(result, field), system, threads)})

    return {"bend": bend}


def by_place(function):
    """Site energies with a term that depends on how the neighbours lie in space."""

    def change(energies, system, threads):
        offset = system.positions - system.positions.mean(axis=0)
        return energies + 1e-4 * function(offset[:, 0])

    return change


BROKEN = [
    (forces_are_minus_the_gradient, spoil("forces", lambda f, s, t: 1.001 * f)),
    (virial_is_the_strain_derivative, spoil("virial", lambda v, s, t: v * [1, 1, 1, 2, 2, 2])),
    (rotation_turns_the_forces, spoil("site_energies", by_place(np.square))),
    (inversion_turns_the_forces, spoil("site_energies", by_place(lambda x: x**3))),
    (translation_changes_nothing, spoil("site_energies", lambda e, s, t: e + 1e-6 * s.positions[:, 0])),
    (permutation_reorders_sites, spoil("site_energies", lambda e, s, t: e * (1 + 1e-6 * np.arange(len(e))))),
    (curvature_is_continuous_at_the_cutoff, {"reach": 0.8 * CUTOFF}),
    (threads_keep_every_bit, spoil("forces", lambda f, s, t: f if t == 1 else np.nextafter(f, np.inf))),
    (labels_of_one_element_are_one_element, spoil("forces", lambda f, s, t: f * (1 + 1e-6 * s.species[:, None]))),
    (reference_says_the_same, spoil("site_energies", lambda e, s, t: e * (1 + 1e-8))),
    (jax_says_the_same, spoil("virial", lambda v, s, t: v * (1 + 1e-8))),
]


@pytest.mark.parametrize(("demand", "fault"), BROKEN, ids=[demand.__name__ for demand, _ in BROKEN])
def test_each_demand_notices_a_fault(demand, fault):
    rng = np.random.default_rng(4)
    system, potential = System.random(rng, 4, (True, True, False), 1), Potential.random(rng, **SHAPES[0])
    demand(potential, system, np.random.default_rng(2))
    with pytest.raises(AssertionError):
        demand(replace(potential, **fault), system, np.random.default_rng(2))
