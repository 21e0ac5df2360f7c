"""The cluster expansion in JAX: agreement with the kernel, batches, precision, derivatives by the parameters."""

from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hpcmat_kernels.ace import ace_model, evaluate, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.jax import ace as jax_ace
from hpcmat_kernels.jax.ace import AceParameters, ace_parameters, energies, energies_forces
from hpcmat_kernels.jax.batch import NOBODY, BatchSize, bucket, pad_batch, pad_dataset
from hpcmat_kernels.jax.sites import AceShape
from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.reference.ace import site_energies

CELL = np.array([[4.1, 0.2, 0.0], [0.0, 4.4, 0.3], [-0.5, 0.0, 4.7]])
CUTOFF = 4.0


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def make_model(n_species=2, degrees=(1, 1), core=(0.0, 0.0)):
    mixing = np.random.default_rng(0).normal(size=(n_species, max(degrees) + 2, n_species * 3, 2))
    return ace_model(mixing, CUTOFF, 1.0, degrees, core)


def make_vector(model, seed=1):
    return np.random.default_rng(seed).normal(size=model.n_features) * 0.1


def structure(n, n_species=2, pbc=(True, True, True), seed=0, cell=CELL):
    """Positions, cell, pbc, species of n atoms on a rattled grid."""
    rng = np.random.default_rng(seed)
    grid = np.array(list(np.ndindex(2, 2, 2)))[:n] / 2
    return grid @ cell + 0.1 * rng.normal(size=(n, 3)), cell, pbc, rng.integers(n_species, size=n)


def isolated(n_species=2):
    positions = np.array([[0.0, 0, 0], [50, 0, 0]])
    return positions, np.zeros((3, 3)), (False,) * 3, np.array([0, n_species - 1])


def unequal(n_species=2):
    """A crystal, a slab, a cell smaller than the cutoff, atoms without neighbours, a cluster."""
    return [
        structure(8, n_species, cell=CELL * 1.2),
        structure(5, n_species, (True, True, False), seed=1),
        structure(1, n_species, seed=2, cell=CELL * 0.6),
        isolated(n_species),
        structure(7, n_species, (False, False, False), seed=3),
    ]


def pairs(system):
    return neighbor_list(*system[:3], CUTOFF), system[3]


def exact(model, vector, systems):
    return [evaluate(model, split_coefficients(model, vector), *pairs(system)) for system in systems]


def run(model, vector, systems, dtype=np.float64, **options):
    batch = pad_batch(model, [pairs(system) for system in systems], dtype)
    return energies_forces(ace_parameters(model, vector, dtype), AceShape.of(model), batch, **options)


def errors(result, expected):
    """Largest errors of site energies, forces and virials relative to the largest value."""
    n = sum(len(one.forces) for one in expected)
    sets = [
        (result.site_energies[:n], np.concatenate([one.site_energies for one in expected])),
        (result.energies[: len(expected)], np.array([one.site_energies.sum() for one in expected])),
        (result.forces[:n], np.concatenate([one.forces for one in expected])),
        (result.virials[: len(expected)], np.array([one.virial for one in expected])),
    ]
    return [abs(np.asarray(value) - other).max() / abs(other).max() for value, other in sets]


@pytest.mark.parametrize(
    ("n_species", "degrees", "core"),
    [(1, (3, 2), (0.0, 0.0)), (2, (2, 1), (1.1, 2.6)), (3, (2, -1), (0.0, 0.0)), (2, (-1, -1), (0.0, 2.0))],
)
def test_unequal_structures_in_one_batch_equal_the_kernel(n_species, degrees, core):
    model, systems = make_model(n_species, degrees, core), unequal(n_species)
    vector = make_vector(model)
    expected = exact(model, vector, systems)
    result = run(model, vector, systems)
    assert max(errors(result, expected)) < 1e-10
    n = sum(len(system[3]) for system in systems)
    assert all((np.asarray(padding) == 0).all() for padding in (result.site_energies[n:], result.forces[n:]))
    assert (np.asarray(result.energies[len(systems) :]) == 0).all()
    assert min(errors(run(model, make_vector(model, seed=5), systems), expected)) > 1e-2


def test_equals_the_reference():
    model, systems = make_model(), unequal()[:3]
    vector = make_vector(model)
    expected = np.concatenate([site_energies(model, split_coefficients(model, vector), *s) for s in systems])
    result = np.asarray(run(model, vector, systems).site_energies)[: len(expected)]
    np.testing.assert_allclose(result, expected, rtol=1e-10, atol=1e-10 * abs(expected).max())
    assert abs(result[::-1] - expected).max() > 1e-2


def test_single_precision_keeps_its_digits():
    model, systems = make_model(), unequal()
    vector = make_vector(model)
    result = run(model, vector, systems, np.float32)
    assert result.forces.dtype == np.float32
    found = errors(result, exact(model, vector, systems))
    assert max(found) < 1e-5
    assert max(found) > 1e-9


@pytest.mark.parametrize("atoms_at_once", [4, 1000])
def test_parts_change_nothing(atoms_at_once):
    model, systems = make_model(), unequal()
    vector = make_vector(model)
    result = run(model, vector, systems, atoms_at_once=atoms_at_once)
    assert max(errors(result, exact(model, vector, systems))) < 1e-10


def test_whatever_stands_in_the_padding_changes_nothing():
    model, systems = make_model(), unequal()
    parameters, shape = ace_parameters(model, make_vector(model)), AceShape.of(model)
    batch = pad_batch(model, [pairs(system) for system in systems])
    spoilt = batch._replace(vectors=jnp.where(batch.kinds[..., None] == NOBODY, 1e-200, batch.vectors))
    assert (np.asarray(batch.kinds) == NOBODY).any()
    for value, other in zip(*(energies_forces(parameters, shape, b) for b in (batch, spoilt)), strict=True):
        np.testing.assert_allclose(value, other, rtol=0, atol=1e-12)
    stretched = batch._replace(vectors=batch.vectors * 1.01)
    assert abs(energies(parameters, shape, stretched) - energies(parameters, shape, batch)).max() > 1e-3


def derivative(function, step=1e-3):
    return (8 * (function(step) - function(-step)) - (function(2 * step) - function(-2 * step))) / (12 * step)


def loss_of_energies(parameters, shape, batch):
    return (energies(parameters, shape, batch) ** 2).sum()


def loss_of_all(parameters, shape, batch):
    result = energies_forces(parameters, shape, batch)
    return (result.energies**2).sum() + (result.forces**2).sum() + (result.virials**2).sum()


@pytest.mark.parametrize("loss", [loss_of_energies, loss_of_all])
@pytest.mark.parametrize("part", ["mixing", "coefficients"])
def test_gradient_by_the_parameters_is_that_of_finite_differences(loss, part):
    model, systems = make_model(), unequal()
    parameters, shape = ace_parameters(model, make_vector(model)), AceShape.of(model)
    batch = pad_batch(model, [pairs(system) for system in systems])
    value = jax.jit(loss, static_argnums=1)
    gradient = getattr(jax.grad(value)(parameters, shape, batch), part)
    assert np.isfinite(gradient).all()
    start = getattr(parameters, part)
    direction = np.random.default_rng(3).normal(size=start.shape)

    def along(step):
        return float(value(parameters._replace(**{part: start + step * direction}), shape, batch))

    slope = float((gradient * direction).sum())
    assert slope == pytest.approx(derivative(along, 1e-4), rel=1e-7)
    assert slope != pytest.approx(-derivative(along, 1e-4), rel=1e-2)


def test_gradient_by_coefficients_is_the_design_matrix():
    model, systems = make_model(), unequal()
    batch = pad_batch(model, [pairs(system) for system in systems])
    jacobian = jax.jacrev(energies)(ace_parameters(model, make_vector(model)), AceShape.of(model), batch).coefficients
    for row, system in zip(jacobian, systems, strict=False):
        expected = design_rows(model, *pairs(system)).site.sum(axis=0)
        np.testing.assert_allclose(row, expected, rtol=1e-10, atol=1e-10 * abs(expected).max())
    assert abs(jacobian[0] - jacobian[1]).max() > 1e-2


def test_energies_follow_moved_vectors():
    model, system = make_model(), structure(6)
    parameters, shape = ace_parameters(model, make_vector(model)), AceShape.of(model)
    batch = pad_batch(model, [pairs(system)])
    gradient = jax.grad(lambda v: energies(parameters, shape, batch._replace(vectors=v)).sum())(batch.vectors)
    expected = exact(model, make_vector(model), [system])[0].virial[0]
    assert float((gradient[..., 0] * batch.vectors[..., 0]).sum()) == pytest.approx(expected, rel=1e-10)


def test_buckets_are_powers_of_two_and_half_as_much_again():
    assert sorted({bucket(n) for n in range(1, 100)}) == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128]
    assert [bucket(n, 8) for n in (0, 1, 8, 9, 25, 33, 4000)] == [8, 8, 8, 16, 32, 48, 4096]
    assert all(n <= bucket(n) < 1.5 * n + 1 for n in range(1, 3000))


@pytest.fixture
def traces(monkeypatch):
    """Counts how often an evaluation is traced; tests take models that no other test has compiled."""
    counts, weights = Counter(), jax_ace._weights

    def counted(parameters, shape):
        counts[shape] += 1
        return weights(parameters, shape)

    monkeypatch.setattr(jax_ace, "_weights", counted)
    return counts


def dataset():
    rng = np.random.default_rng(0)
    sizes, scales = rng.integers(1, 9, size=24), rng.choice([0.9, 1.0, 1.3], size=24)
    return [structure(n, seed=seed, cell=CELL * a) for seed, (n, a) in enumerate(zip(sizes, scales, strict=True))]


def test_dataset_compiles_once_for_each_bucket_of_neighbours(traces):
    model, systems = make_model(degrees=(1, -1), core=(0.1, 0.2)), dataset()
    vector = make_vector(model)
    batches = pad_dataset(model, [pairs(system) for system in systems], atoms=16)
    widths = {batch.kinds.shape[1] for _, batch in batches}
    assert len(batches) > len(widths) > 1
    assert sorted(np.concatenate([numbers for numbers, _ in batches])) == list(range(len(systems)))
    for repeat in range(2):
        parameters = ace_parameters(model, vector * (1 + repeat))
        results = [energies_forces(parameters, AceShape.of(model), batch) for _, batch in batches]
    assert sum(traces.values()) == len(widths)
    for (numbers, _), result in zip(batches, results, strict=True):
        assert max(errors(result, exact(model, 2 * vector, [systems[n] for n in numbers]))) < 1e-10


def test_count_of_traces_notices_shapes_of_their_own(traces):
    model = make_model(degrees=(1, -1), core=(0.1, 0.3))
    for n in (1, 2):
        batch = pad_batch(model, [pairs(structure(n))], size=BatchSize(1, n, 96))
        energies_forces(ace_parameters(model, make_vector(model)), AceShape.of(model), batch)
    assert sum(traces.values()) == 2


def good():
    model = make_model()
    return model, [pairs(structure(5))]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, s: pad_batch(m, []), "at least one structure"),
        (lambda m, s: pad_batch(m, [(s[0][0], [0, 1, 0, 1, 2])]), "Species must be"),
        (lambda m, s: pad_batch(m, s, np.float16), "float64 or float32"),
        (lambda m, s: pad_batch(m, s, size=BatchSize(1, 4, 96)), "enlarge"),
        (lambda m, s: ace_parameters(m, np.zeros(3)), "coefficients"),
        (lambda m, s: ace_parameters(m, np.full(m.n_features, np.nan)), "finite"),
        (lambda m, s: run(m, make_vector(m), [structure(5)], atoms_at_once=0), "one atom"),
        (
            lambda m, s: energies(ace_parameters(m, make_vector(m), np.float32), AceShape.of(m), pad_batch(m, s)),
            "one type",
        ),
        (
            lambda m, s: energies(
                ace_parameters(m, make_vector(m)), AceShape.of(make_model(degrees=(3, 2))), pad_batch(m, s)
            ),
            "one model",
        ),
    ],
)
def test_refuses_what_cannot_be_right(call, message):
    with pytest.raises(ValueError, match=message):
        call(*good())


def test_refuses_to_round_double_precision_in_silence():
    model, structures = good()
    parameters, batch = ace_parameters(model, make_vector(model)), pad_batch(model, structures)
    with jax.enable_x64(False):
        for call in (
            lambda: pad_batch(model, structures),
            lambda: ace_parameters(model, make_vector(model)),
            lambda: energies(parameters, AceShape.of(model), batch),
        ):
            with pytest.raises(ValueError, match="jax_enable_x64"):
                call()
        single = pad_batch(model, structures, np.float32)
        result = energies(ace_parameters(model, make_vector(model), np.float32), AceShape.of(model), single)
    assert result.dtype == np.float32


def test_parameters_are_a_pytree_of_two_arrays():
    leaves = jax.tree.leaves(ace_parameters(make_model(), make_vector(make_model())))
    assert [leaf.ndim for leaf in leaves] == [4, 1]
    assert isinstance(jax.tree.map(lambda leaf: 2 * leaf, AceParameters(*leaves)), AceParameters)
