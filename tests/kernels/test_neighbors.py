"""Neighbour lists against ASE on any cell, and refusal of what cannot be right."""

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list as ase_neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hpcmat_kernels.neighbors import NeighborList, neighbor_list


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


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 12),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    skew=st.floats(0.0, 2.5),
    cutoff=st.floats(1.0, 6.0),
)
def test_agrees_with_ase(seed, n, pbc, skew, cutoff):
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(1.5, 7.0, 3)) + skew * rng.normal(size=(3, 3))
    heights = abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    assume(heights.min() > 0.8)
    positions = rng.uniform(-8, 8, (n, 3))
    pairs = neighbor_list(positions, cell, pbc, cutoff)
    assert pair_set(pairs.first, pairs.second, pairs.shifts) == ase_pairs(positions, cell, pbc, cutoff)
    check_consistent(pairs, positions, cell, cutoff)


@pytest.mark.parametrize("pbc", [(True, True, True), (True, False, True), (False, False, False)])
def test_agrees_with_ase_in_a_large_cell_with_many_bins(pbc):
    rng = np.random.default_rng(5)
    cell = np.array([[22.0, 0, 0], [5.0, 19.0, 0], [-3.0, 4.0, 25.0]])
    positions = rng.uniform(-0.5, 1.5, (400, 3)) @ cell
    pairs = neighbor_list(positions, cell, pbc, 3.1)
    assert pair_set(pairs.first, pairs.second, pairs.shifts) == ase_pairs(positions, cell, pbc, 3.1)
    check_consistent(pairs, positions, cell, 3.1)


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
        ({"positions": [[0.0, 0, 0], [4.0, 0, 0]]}, "coincide"),
    ],
)
def test_refuses_what_cannot_be_right(change, message):
    assert len(neighbor_list(**GOOD)) > 0
    with pytest.raises(ValueError, match=message):
        neighbor_list(**{**GOOD, **change})
