"""Neighbour lists against ASE and vesin on any cell, and refusal of what cannot be right."""

import numpy as np
import pytest
import vesin
from ase import Atoms
from ase.neighborlist import neighbor_list as ase_neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numba import njit

from hpcmat_kernels.neighbors import NeighborList, append, neighbor_list, neighbor_pairs


def pair_set(first, second, shifts) -> set[tuple[int, ...]]:
    return {(int(i), int(j), *map(int, s)) for i, j, s in zip(first, second, shifts, strict=True)}


def ase_pairs(positions, cell, pbc, cutoff) -> set[tuple[int, ...]]:
    return pair_set(*ase_neighbor_list("ijS", Atoms(f"H{len(positions)}", positions, cell=cell, pbc=pbc), cutoff))


def check_consistent(pairs: NeighborList, positions, cell, cutoff) -> None:
    expected = positions[pairs.second] + pairs.shifts @ cell - positions[pairs.first]
    np.testing.assert_allclose(pairs.vectors, expected, atol=1e-12)
    assert (np.linalg.norm(pairs.vectors, axis=1) < cutoff).all()
    for i in range(len(positions)):
        assert (pairs.first[pairs.offsets[i] : pairs.offsets[i + 1]] == i).all()
    assert pairs.offsets[-1] == len(pairs)


def vesin_pairs(positions, cell, pbc, cutoff) -> list[tuple[int, ...]]:
    calculator = vesin.NeighborList(cutoff=cutoff, full_list=True)
    box = np.where(np.array(pbc)[:, None], cell, 0.0)
    first, second, shifts = calculator.compute(positions, box, np.array(pbc), "ijS")
    return sorted((int(i), int(j), *map(int, s)) for i, j, s in zip(first, second, shifts, strict=True))


def heights(cell):
    return abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)


@st.composite
def structures(draw, smallest=0.8, widest=6.0):
    """Positions in and far outside a skewed cell, any periodicity, cutoffs up to several times the cell."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cell = np.diag(rng.uniform(1.5, 7.0, 3)) + draw(st.floats(0.0, 2.5)) * rng.normal(size=(3, 3))
    assume(heights(cell).min() > smallest)
    positions = rng.uniform(-8, 8, (draw(st.integers(1, 12)), 3))
    pbc = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    return positions, cell, pbc, draw(st.floats(1.0, widest))


@settings(max_examples=150, deadline=None)
@given(structures())
def test_agrees_with_ase(structure):
    positions, cell, _, cutoff = structure
    pairs = neighbor_list(*structure)
    found = pair_set(pairs.first, pairs.second, pairs.shifts)
    assert found == ase_pairs(*structure)
    assert len(found) == len(pairs)
    check_consistent(pairs, positions, cell, cutoff)


@settings(max_examples=150, deadline=None)
@given(structures(widest=9.0))
def test_agrees_with_vesin(structure):
    pairs = neighbor_pairs(*structure)
    table = zip(pairs.first, pairs.second, pairs.shifts, strict=True)
    assert sorted((int(i), int(j), *map(int, s)) for i, j, s in table) == vesin_pairs(*structure)


@settings(max_examples=150, deadline=None)
@given(structures())
def test_half_list_has_each_pair_once(structure):
    positions, cell, _, cutoff = structure
    half = neighbor_list(*structure, half=True)
    check_consistent(half, positions, cell, cutoff)
    there = pair_set(half.first, half.second, half.shifts)
    back = pair_set(half.second, half.first, -half.shifts)
    assert not there & back
    assert len(there) == len(half)
    assert there | back == ase_pairs(*structure)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, False)])
def test_agrees_with_ase_in_a_large_cell_with_many_bins(pbc):
    rng = np.random.default_rng(5)
    cell = np.array([[22.0, 0, 0], [5.0, 19.0, 0], [-3.0, 4.0, 25.0]])
    positions = rng.uniform(-0.5, 1.5, (400, 3)) @ cell
    pairs = neighbor_list(positions, cell, pbc, 3.1)
    assert pair_set(pairs.first, pairs.second, pairs.shifts) == ase_pairs(positions, cell, pbc, 3.1)
    check_consistent(pairs, positions, cell, 3.1)
    assert len(neighbor_pairs(positions, cell, pbc, 3.1, half=True)) == len(pairs) // 2


def test_far_apart_and_very_uneven():
    rng = np.random.default_rng(2)
    dense = rng.uniform(0, 6, (300, 3))
    positions = np.concatenate([dense, dense[:100] + np.array([4e5, 0, -3e5]), [[-1e7, 2e7, 3.0]]])
    pairs = neighbor_list(positions, np.zeros((3, 3)), (False,) * 3, 2.5)
    alone = neighbor_list(dense, np.zeros((3, 3)), (False,) * 3, 2.5)
    inside = pairs.first < 300
    assert pair_set(pairs.first[inside], pairs.second[inside], pairs.shifts[inside]) == pair_set(
        alone.first, alone.second, alone.shifts
    )
    assert pairs.offsets[-1] == pairs.offsets[-2]
    assert 0 < (~inside).sum() < len(alone)


def test_unwrapped_atoms_keep_their_translations():
    rng = np.random.default_rng(3)
    cell = np.array([[9.0, 0, 0], [2.0, 8.0, 0], [0, 1.0, 10.0]])
    positions = rng.uniform(0, 1, (60, 3)) @ cell
    far = rng.integers(-2000, 2000, (60, 3))
    plain, moved = (neighbor_list(r, cell, (True,) * 3, 3.5) for r in (positions, positions + far @ cell))
    shifts = plain.shifts - far[plain.second] + far[plain.first]
    assert pair_set(plain.first, plain.second, shifts) == pair_set(moved.first, moved.second, moved.shifts)
    np.testing.assert_allclose(np.sort(moved.vectors.ravel()), np.sort(plain.vectors.ravel()), atol=1e-10)


@pytest.mark.parametrize("half", [False, True])
def test_packing_lane_by_lane_is_the_same(monkeypatch, half):
    rng = np.random.default_rng(1)
    points = tuple(rng.uniform(0, 4, 48) for _ in range(3))
    ids = np.arange(100, 148, dtype=np.int32)
    results = []
    for at_once in (append.packs_at_once, lambda context: False):
        monkeypatch.setattr(append, "packs_at_once", at_once)
        appender = append._appender(half)

        @njit
        def call(arrays, window, centre, appender=appender):
            return appender(arrays, window, centre)

        out = np.full(64, -1, dtype=np.int32)
        end, same = call((*points, ids, ids, out), (5, 38, 3), (2.0, 2.0, 2.0, 4.0, 110))
        results.append((end, same, out[:end].tolist()))
    r = np.array(points)[:, 5:38] - 2.0
    near = [
        i for i, d2 in zip(ids[5:38], (r**2).sum(axis=0), strict=True) if d2 < 4 and (i > 110 if half else i != 110)
    ]
    assert results[0] == results[1] == (3 + len(near), 0, [-1, -1, -1, *near])
    assert 3 < len(near) < 32


def test_cluster_without_a_cell():
    positions = np.array([[0.0, 0, 0], [1.5, 0, 0], [0, 4.0, 0]])
    pairs = neighbor_list(positions, np.zeros((3, 3)), (False, False, False), 2.0)
    assert pair_set(pairs.first, pairs.second, pairs.shifts) == {(0, 1, 0, 0, 0), (1, 0, 0, 0, 0)}


def test_one_atom_sees_its_own_images():
    pairs = neighbor_list(np.zeros((1, 3)), 2.0 * np.eye(3), (True, True, True), 2.1)
    assert len(pairs) == 6
    assert (pairs.second == 0).all()


def test_comparison_notices_a_missing_image():
    positions, cell = np.array([[0.1, 0, 0], [1.9, 0, 0]]), 2.5 * np.eye(3)
    pairs = neighbor_list(positions, cell, (True, True, False), 2.0)
    assert pair_set(pairs.first, pairs.second, pairs.shifts) != ase_pairs(positions, cell, (True, True, True), 3.0)


GOOD = {"positions": [[0.0, 0, 0], [1, 1, 1]], "cell": 4 * np.eye(3), "pbc": (True, True, True), "cutoff": 3.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": [[0.0, 0, 0], [np.nan, 0, 0]]}, "position of atom 1 is not finite"),
        ({"positions": [[0.0, 0]]}, "shape"),
        ({"positions": np.empty((0, 3))}, "shape"),
        ({"cell": np.zeros((3, 3))}, "no volume"),
        ({"cell": [[4.0, 0, 0], [0, 4, 0], [4, 4, 0]]}, "no volume"),
        ({"cell": np.full((3, 3), np.inf)}, "finite"),
        ({"cutoff": 0.0}, "cutoff"),
        ({"cutoff": np.nan}, "cutoff"),
        ({"cutoff": 500.0}, "shorten the cutoff"),
        ({"cutoff": 1e200}, "shorten the cutoff"),
        ({"positions": [[0.0, 0, 0], [1e12, 0, 0]]}, "position of atom 1"),
        ({"pbc": (True, True)}, "three axes"),
        ({"positions": [[0.0, 0, 0], [2, 2, 2], [2, 2, 2 + 1e-8]]}, "Atoms 1 and 2"),
        ({"positions": [[0.0, 0, 0], [4.0, 0, 0]]}, "coincide"),
    ],
)
def test_refuses_what_cannot_be_right(change, message):
    assert len(neighbor_list(**GOOD)) > 0
    with pytest.raises(ValueError, match=message):
        neighbor_list(**{**GOOD, **change})
