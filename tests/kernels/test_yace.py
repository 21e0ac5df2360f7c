"""The .yace file of a model, evaluated term by term, gives the energies of the kernel."""

import re

import numpy as np
import pytest

from hpcmat_kernels.ace import ace_model, evaluate, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.harmonics import spherical_harmonics
from hpcmat_kernels.lammps.yace import complex_polynomial, radial_expansion, yace_text
from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.radial import radial_functions
from hpcmat_kernels.reference.yace import complex_harmonic, parse, site_energies

ELEMENTS = ("Si", "Ge", "C")
CUTOFF = 4.0


def make_model(n_species, n_radial=3, l_max=2, n_channels=2, degrees=(2, 2), **options):
    mixing = np.random.default_rng(0).normal(size=(n_species, l_max + 1, n_species * n_radial, n_channels))
    model = ace_model(mixing, CUTOFF, 1.0, degrees, **options)
    vector = np.random.default_rng(1).normal(size=model.n_features)
    # Every term counts: small features get large coefficients.
    features = design_rows(model, *crystal(n_species)).site
    return model, split_coefficients(model, 0.1 * vector / np.maximum(abs(features).max(axis=0), 1e-6))


def crystal(n_species):
    cell = np.array([[4.1, 0.2, 0.0], [0.0, 4.4, 0.3], [-0.5, 0.0, 4.7]])
    grid = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.25, 0.25, 0.25]])
    positions = grid @ cell + 0.1 * np.random.default_rng(2).normal(size=(5, 3))
    return neighbor_list(positions, cell, (True, True, True), CUTOFF), np.arange(5) % n_species


MODELS = {
    "one species": (1, {"l_max": 3, "degrees": (3, 2)}),
    "two species": (2, {}),
    "three species": (3, {"n_channels": 1, "degrees": (2, 1)}),
    "no products": (2, {"degrees": (-1, -1)}),
    "inner core": (2, {"core": (1.5, 2.6), "degrees": (2, -1)}),
}


@pytest.mark.parametrize("name", MODELS)
def test_equals_kernel(name):
    n_species, options = MODELS[name]
    model, coefficients = make_model(n_species, **options)
    pairs, species = crystal(n_species)
    text = yace_text(model, coefficients, ELEMENTS[:n_species])
    expected = evaluate(model, coefficients, pairs, species).site_energies
    file = parse(text)
    assert file.elements == list(ELEMENTS[:n_species])
    np.testing.assert_allclose(site_energies(file, pairs, species), expected, rtol=1e-9, atol=1e-9)
    # Every order and every combination of species counts.
    highest = max(function["rank"] for function in file.functions[0])
    for z, functions in file.functions.items():
        file.functions[z] = [f for f in functions if f["rank"] < highest or len(set(f["mus"])) < min(n_species, 2)]
    assert abs(site_energies(file, pairs, species) - expected).max() > 1e-2


def test_inner_core_matters():
    model, coefficients = make_model(2, core=(1.5, 2.6))
    pairs, species = crystal(2)
    text = yace_text(model, coefficients, ELEMENTS[:2])
    without = re.sub(r"rcut_in: [^,]*, dcut_in: [^,]*", "rcut_in: 0.0, dcut_in: 0.0", text)
    change = site_energies(parse(without), pairs, species) - site_energies(parse(text), pairs, species)
    assert abs(change).max() > 1e-3


def test_radial_functions_are_combinations_of_those_of_the_file():
    model, _ = make_model(1, n_radial=8)
    r = np.linspace(0.3, CUTOFF, 50)
    basis = 0.5 - 0.5 * np.polynomial.chebyshev.chebvander(2 * r / CUTOFF - 1, 10)[:, 1:]
    values, _ = radial_functions(r, 8, CUTOFF, 1.0)
    np.testing.assert_allclose(basis @ radial_expansion(model).T, values, rtol=0, atol=1e-12)
    shifted, _ = radial_functions(r, 8, CUTOFF, 1.1)
    assert abs(basis @ radial_expansion(model).T - shifted).max() > 1e-2


def test_products_in_complex_densities():
    """Each product of the densities of some directions, real and complex."""
    vectors = np.random.default_rng(3).normal(size=(6, 3))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    real = spherical_harmonics(vectors, 3)[0].sum(axis=0)
    components = [(degree, m) for degree in range(4) for m in range(-degree, degree + 1)]
    density = {lm: sum(complex_harmonic(*lm, vector) for vector in vectors) for lm in components}
    model, _ = make_model(1, l_max=3, degrees=(3, 3))
    for path in model.paths:
        expected = sum(weight * np.prod(real[list(monomial)]) for monomial, weight in path.monomials)
        terms = complex_polynomial(path).items()
        value = sum(weight * np.prod([density[lm] for lm in factors]) for factors, weight in terms)
        assert value == pytest.approx(expected, rel=1e-10, abs=1e-10)
        conjugate = sum(weight * np.prod([density[lm] for lm in factors[:-1]]) for factors, weight in terms)
        assert abs(conjugate - expected) > 1e-6


def test_size_of_the_file():
    """As many functions as the documentation says: equal degrees share one function per combination of species."""
    model, coefficients = make_model(1, l_max=3, degrees=(3, 2))
    shapes = {tuple(sorted(path.degrees)) for path in model.paths}
    n_pairs = (model.l_max + 1) * model.n_pairs
    assert len(parse(yace_text(model, coefficients, ["Si"])).functions[0]) == (
        model.n_radial + 2 + n_pairs + len(shapes) * model.n_channels
    )


def test_refuses_elements():
    model, coefficients = make_model(2)
    with pytest.raises(ValueError, match="name each once"):
        yace_text(model, coefficients, ["Si"])
