"""Rows that are kept, made again, or made by threads give the same fit."""

import numpy as np
import pytest

from hpcmat.surrogates import label_rows
from hpcmat.surrogates.ace import AceBasis, AceSettings, basis_for
from hpcmat.surrogates.fitting import fit_potential

SETTINGS = AceSettings(("Si",), cutoff_ang=4.5)


@pytest.fixture
def designs(monkeypatch):
    made = []
    design = AceBasis.design

    def counted(basis, structure):
        made.append(structure)
        return design(basis, structure)

    basis_for(SETTINGS).prior_precision  # noqa: B018 - it makes rows of its own, once
    monkeypatch.setattr(AceBasis, "design", counted)
    return made


def test_rows_that_do_not_fit_in_memory_are_made_again(train_labels, potential, designs, monkeypatch):
    kept = fit_potential(train_labels, SETTINGS).potential
    assert len(designs) == len(train_labels)
    monkeypatch.setattr(label_rows, "KEPT_BYTES", 12 * 228 * 31 * 8)
    again = fit_potential(train_labels, SETTINGS).potential
    assert len(designs) == len(train_labels) * 3 - 12
    for other in (kept, again):
        np.testing.assert_array_equal(other.coefficients, potential.coefficients)
        np.testing.assert_array_equal(other.noise, potential.noise)


def test_threads_make_the_same_rows(train_labels, potential, designs):
    shared = fit_potential(train_labels, SETTINGS, threads=2).potential
    assert {id(structure) for structure in designs} == {id(label.structure) for label in train_labels}
    np.testing.assert_array_equal(shared.coefficients, potential.coefficients)
    np.testing.assert_array_equal(shared.covariance_factor, potential.covariance_factor)


def test_a_dropped_label_moves_neither_baseline_nor_counts(train_labels, make):
    rows = label_rows.LabelRows(train_labels, basis_for(SETTINGS), np.array([0.001, 0.05, 0.003]))
    without = rows.without(frozenset({3}))
    expected = np.mean([label.energy for index, label in enumerate(train_labels) if index != 3]) / 8
    assert without.baseline[0] == pytest.approx(expected, rel=1e-9)
    assert rows.baseline[0] != without.baseline[0]
    assert (without.counts == rows.counts).all() and without.included.sum() == len(train_labels) - 1
