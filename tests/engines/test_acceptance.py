from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.acceptance import accept, check_structure, closest_approach
from hpcmat.engines.base import EngineFailure
from hpcmat.engines.structures import from_atoms
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Label, Method, Structure

SILICON = from_atoms(bulk("Si", "diamond", 5.431, cubic=True))


def good_label(**changes):
    forces = np.random.default_rng(0).normal(size=(8, 3))
    label = Label(
        structure=SILICON,
        energy=-43.0,
        forces=forces - forces.mean(axis=0),
        stress=np.full(6, 0.01),
        method=Method("code", "1", "{}", ""),
    )
    return replace(label, **changes)


def test_a_good_label_passes_unchanged():
    label = good_label()
    assert accept(label) is label


def test_a_code_without_stress_is_accepted():
    assert accept(good_label(stress=np.zeros(0))).stress.size == 0


def spoiled(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"energy": np.nan}, FailureKind.NOT_FINITE),
        ({"energy": -np.inf}, FailureKind.NOT_FINITE),
        ({"forces": spoiled(good_label().forces, (3, 1), np.nan)}, FailureKind.NOT_FINITE),
        ({"stress": spoiled(np.zeros(6), 5, np.inf)}, FailureKind.NOT_FINITE),
        ({"forces": np.zeros((7, 3))}, FailureKind.CORRUPT_OUTPUT),
        ({"forces": np.zeros(24)}, FailureKind.CORRUPT_OUTPUT),
        ({"stress": np.zeros(9)}, FailureKind.CORRUPT_OUTPUT),
        ({"forces": spoiled(spoiled(good_label().forces, 0, 150), 1, -150)}, FailureKind.UNPHYSICAL),
        ({"forces": good_label().forces + np.array([0.1, 0, 0])}, FailureKind.UNPHYSICAL),
        ({"forces": np.full((8, 3), 0.02)}, FailureKind.UNPHYSICAL),
        ({"stress": spoiled(np.zeros(6), 0, -20.0)}, FailureKind.UNPHYSICAL),
    ],
)
def test_what_is_not_a_label(changes, kind):
    with pytest.raises(EngineFailure) as caught:
        accept(good_label(**changes))
    assert caught.value.kind is kind
    assert caught.value.record.failure is kind


def test_overlapping_atoms_are_not_a_label():
    positions = spoiled(SILICON.positions, 1, SILICON.positions[0] + [0.5, 0, 0])
    crowded = Structure(SILICON.symbols, positions, SILICON.cell)
    with pytest.raises(EngineFailure, match="overlap"):
        accept(good_label(structure=crowded))


def test_small_net_force_is_tolerated():
    accept(good_label(forces=good_label().forces + np.array([0.005, 0, 0])))


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Structure((), np.zeros((0, 3)), np.eye(3)), "no atoms"),
        (Structure(("Si",), np.zeros((2, 3)), np.eye(3) * 5), "shapes"),
        (Structure(("Qq",), np.zeros((1, 3)), np.eye(3) * 5), "unknown elements"),
        (Structure(("X",), np.zeros((1, 3)), np.eye(3) * 5), "unknown elements"),
        (Structure(("Si",), np.full((1, 3), np.nan), np.eye(3) * 5), "not finite"),
        (Structure(("Si",), np.zeros((1, 3)), np.ones((3, 3))), "volume"),
        (Structure(("Si", "Si"), np.array([[0.0, 0, 0], [0.5, 0, 0]]), np.eye(3) * 5), "apart"),
        (Structure(("Si", "Si"), np.array([[0.0, 0, 0], [4.6, 0, 0]]), np.eye(3) * 5), "apart"),
        (Structure(("Si",), np.zeros((1, 3)), np.diag([1.0, 8, 8])), "apart"),
    ],
)
def test_structures_that_no_engine_could_label(structure, message):
    with pytest.raises(InputError, match=message):
        check_structure(structure)


def test_sound_structures_pass():
    check_structure(SILICON)
    check_structure(
        Structure(("H", "H"), np.array([[0.0, 0, 0], [0.74, 0, 0]]), np.zeros((3, 3)), (False, False, False))
    )


def test_closest_approach_is_in_units_of_the_covalent_radii():
    dimer = Structure(("Si", "Si"), np.array([[0.0, 0, 0], [1.11, 0, 0]]), np.eye(3) * 8)
    assert closest_approach(dimer) == pytest.approx(1.11 / 2.22)
