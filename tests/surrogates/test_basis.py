"""The basis depends on its settings alone, and its rows are right."""

from dataclasses import replace

import numpy as np
import pytest

from hpcmat.errors import InputError
from hpcmat.records import decode, encode
from hpcmat.surrogates.ace import AceBasis, AceSettings
from hpcmat.surrogates.generic import generic_structures


@pytest.mark.parametrize(("size", "n_features"), [("small", 227), ("medium", 557), ("large", 1470)])
def test_number_of_features(size, n_features):
    assert AceBasis(AceSettings(("Si",), size=size)).n_features == n_features


def test_same_settings_give_the_same_basis_and_another_seed_another():
    first, second = AceBasis(AceSettings(("Si",))), AceBasis(AceSettings(("Si",)))
    assert (first.model.mixing == second.model.mixing).all()
    assert (first.prior_precision == second.prior_precision).all()
    other = AceBasis(AceSettings(("Si",), seed=1))
    assert abs(first.model.mixing - other.model.mixing).max() > 0.1


def test_prior_precision_is_positive_and_constants_are_loose():
    basis = AceBasis(AceSettings(("Cu", "Au")))
    assert (basis.prior_precision > 0).all()
    assert (basis.prior_precision[basis.constant_columns] == 0.01).all()


def test_generic_structures_are_reproducible_and_spread():
    first, second = (generic_structures(("Cu", "Au"), 3) for _ in range(2))
    assert all(
        (a.positions == b.positions).all() and a.symbols == b.symbols for a, b in zip(first, second, strict=True)
    )
    assert {symbol for s in first for symbol in s.symbols} == {"Cu", "Au"}


def test_design_stress_is_the_strain_derivative(structure):
    basis = AceBasis(AceSettings(("Si",)))
    design = basis.design(structure)
    volume = abs(np.linalg.det(structure.cell))
    h = 1e-4

    def energy(step):
        deform = np.diag([1 + step, 1, 1])
        return basis.design(
            replace(structure, positions=structure.positions @ deform, cell=structure.cell @ deform)
        ).energy

    numeric = (energy(h) - energy(-h)) / (2 * h * volume)
    np.testing.assert_allclose(design.stress[0], numeric, rtol=1e-4, atol=1e-6)


def test_cluster_has_no_stress(cluster):
    design = AceBasis(AceSettings(("Si",))).design(cluster)
    assert design.stress.shape == (0, 227)
    assert design.energy[0] == 8


def test_settings_survive_json():
    settings = AceSettings(("Cu", "Au"), size="medium", seed=3)
    assert decode(AceSettings, encode(settings)) == settings


@pytest.mark.parametrize(
    "bad",
    [
        {"elements": ()},
        {"elements": ("Xx",)},
        {"elements": ("Si", "Si")},
        {"elements": ("Si",), "cutoff_ang": 0.0},
        {"elements": ("Si",), "cutoff_ang": float("nan")},
        {"elements": ("Si",), "inner_ang": 6.0},
        {"elements": ("Si",), "size": "huge"},
    ],
)
def test_settings_refuse_what_cannot_be_right(bad):
    with pytest.raises(InputError, match="correct"):
        AceSettings(**bad)


def test_unknown_element_and_damaged_positions_are_refused(structure):
    basis = AceBasis(AceSettings(("Ge",)))
    with pytest.raises(InputError, match="not Si"):
        basis.design(structure)
    broken = np.array(structure.positions)
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match="atom 3"):
        AceBasis(AceSettings(("Si",))).design(replace(structure, positions=broken))
