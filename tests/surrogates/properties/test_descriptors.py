"""Descriptors: what crystallography says of simple structures, and independence of the choice of the cell."""

import numpy as np
import pytest
from ase.build import bulk, make_supercell

from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.properties.bonding import BONDING_NAMES, SHELL_NAMES, bonding_descriptors
from hpcmat.surrogates.properties.composition import composition_descriptors, composition_names
from hpcmat.surrogates.properties.descriptors import describe_structures, given_descriptors
from hpcmat.surrogates.properties.elements import element_table


def crystal(atoms):
    return Structure(tuple(atoms.get_chemical_symbols()), atoms.positions, atoms.cell.array)


def bonding(atoms):
    return dict(zip((*BONDING_NAMES, *SHELL_NAMES), bonding_descriptors(crystal(atoms)), strict=True))


@pytest.mark.parametrize(
    ("name", "structure", "a", "neighbours", "q4", "q6"),
    [("Cu", "fcc", 3.61, 12.0, 0.1909, 0.5745), ("Si", "diamond", 5.43, 4.0, 0.5092, 0.6285)],
)
def test_crystals_have_the_neighbours_and_the_order_of_their_lattice(name, structure, a, neighbours, q4, q6):
    # Steinhardt, Nelson & Ronchetti 1983, fig. 2; the weights of farther shells are small, not nil.
    found = bonding(bulk(name, structure, a=a))
    assert found["coordination"] == pytest.approx(neighbours, rel=0.03)
    assert found["order 4"] == pytest.approx(q4, rel=0.05)
    assert found["order 6"] == pytest.approx(q6, rel=0.05)
    assert found["coordination spread"] == pytest.approx(0.0, abs=1e-9)


def test_bcc_has_fourteen_neighbours_of_unequal_weight():
    assert 8.0 < bonding(bulk("Fe", "bcc", a=2.87))["coordination"] < 14.0


def test_another_cell_of_the_same_crystal_has_the_same_descriptors():
    atoms = bulk("NaCl", "rocksalt", a=5.64)
    other = make_supercell(atoms, [[2, 1, 0], [0, 1, -1], [0, 1, 1]])
    other.rotate(37.0, (1, 2, 3), rotate_cell=True)
    same = [crystal(atoms), crystal(other)]
    values = describe_structures(same).values
    np.testing.assert_allclose(values[0], values[1], atol=1e-8)
    other.positions[0] += 0.2
    moved = describe_structures([crystal(other)]).values[0]
    assert np.abs(moved - values[0]).max() > 1e-2


def test_polarity_and_packing_tell_ionic_from_metallic():
    salt, metal = bonding(bulk("NaCl", "rocksalt", a=5.64)), bonding(bulk("Cu", "fcc", a=3.61))
    assert 1.5 < salt["bond polarity"] < 3.16 - 0.93 and salt["like neighbours"] < 0.3
    assert metal["bond polarity"] == pytest.approx(0.0, abs=1e-9)
    assert metal["like neighbours"] == pytest.approx(1.0)


def test_statistics_of_a_composition_are_weighted_by_its_atoms():
    found = dict(zip(composition_names(), composition_descriptors(["Al", "O", "Al", "O", "O"]), strict=True))
    aluminium, oxygen = element_table().column("electronegativity")[element_table().rows(["Al", "O"])]
    mean = 0.4 * aluminium + 0.6 * oxygen
    assert found["mean electronegativity"] == pytest.approx(mean)
    assert found["deviation electronegativity"] == pytest.approx(0.4 * (mean - aluminium) + 0.6 * (oxygen - mean))
    assert found["largest electronegativity"] == pytest.approx(oxygen)
    twice = composition_descriptors(["O"] * 6 + ["Al"] * 4)
    np.testing.assert_allclose(twice, composition_descriptors(["Al", "O", "Al", "O", "O"]))


def test_facts_of_the_elements_follow_the_periodic_table():
    table = element_table()
    values = {name: table.column(name) for name in table.names}
    assert len(table.symbols) == 94 and all(np.isfinite(table.values).all(axis=1))
    halogens, alkali = table.rows(["F", "Cl", "Br", "I"]), table.rows(["Li", "Na", "K", "Rb"])
    assert (values["electronegativity"][halogens] > values["electronegativity"][alkali] + 1.0).all()
    assert (np.diff(values["ionisation_ev"][alkali]) < 0).all()
    assert table.symbols[int(values["melting_k"].argmax())] == "C"
    assert values["valence"][table.rows(["Na", "Al", "P", "Fe"])].tolist() == [1.0, 3.0, 5.0, 8.0]


def test_what_cannot_be_described_is_refused():
    with pytest.raises(InputError, match="no element"):
        composition_descriptors(["Xx"])
    atom = bulk("Cu")
    with pytest.raises(InputError, match="crystal"):
        bonding_descriptors(Structure(("Cu",), atom.positions, atom.cell.array, (True, True, False)))
    with pytest.raises(InputError, match="finite"):
        given_descriptors(np.array([[1.0, np.nan]]), ("a", "b"))
