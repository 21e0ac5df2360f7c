"""Lists with skin: no pair is ever missing while they are in use, in a moving cell too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.verlet import (
    FINE,
    arriving,
    build,
    empty_points,
    extend,
    needs_rebuild,
    pair_vectors,
    real_seconds,
    to_caller,
    verlet_list,
)

CELL = np.array([[6.0, 0.3, 0.0], [-1.2, 7.0, 0.4], [0.5, 0.0, 5.5]])


def atoms(seed=0, n=20):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.0, 2.0, (n, 3)) @ CELL


def rows(verlet, points, cutoff):
    """Sorted (first, second, vector) of the pairs nearer than the cutoff, in the caller's numbers."""
    vectors = np.empty((verlet.offsets[-1], 3))
    pair_vectors(verlet, points, vectors)
    first = verlet.order[np.repeat(np.arange(len(verlet.order)), np.diff(verlet.offsets))]
    second = verlet.order[real_seconds(verlet)]
    return table(first, second, vectors, np.linalg.norm(vectors, axis=1) < cutoff)


def table(first, second, vectors, keep):
    result = np.column_stack([first, second, np.round(vectors, 8) + 0.0])[keep]
    return result[np.lexsort(result.T[::-1])]


def expected_rows(positions, cell, pbc, cutoff):
    pairs = neighbor_list(positions, cell, pbc, cutoff)
    return table(pairs.first, pairs.second, pairs.vectors, slice(None))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    pbc=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    move=st.floats(0.0, 0.4),
    strain=st.floats(0.0, 0.1),
)
def test_no_pair_is_missing_until_a_rebuild_is_asked_for(seed, pbc, move, strain):
    rng = np.random.default_rng(seed)
    positions, cutoff = atoms(seed), 3.0
    prepared = verlet_list(positions, CELL, pbc, cutoff, 0.9)
    deformation = np.eye(3) + strain * rng.uniform(-1, 1, (3, 3))
    step = rng.normal(size=positions.shape)
    moved = (positions + move * step / np.linalg.norm(step, axis=1)[:, None]) @ deformation
    cell = CELL @ deformation
    if not prepared.needs_rebuild(moved, cell):
        found = rows(prepared.arrays, prepared.points(moved, cell), cutoff)
        np.testing.assert_allclose(found, expected_rows(moved, cell, pbc, cutoff), atol=3e-8)


def test_comparison_notices_a_stale_list():
    positions = atoms()
    prepared = verlet_list(positions, CELL, (True,) * 3, 3.0, 0.5)
    moved = positions + np.random.default_rng(1).normal(size=positions.shape)
    assert prepared.needs_rebuild(moved, CELL)
    assert len(rows(prepared.arrays, prepared.points(moved, CELL), 3.0)) < len(
        expected_rows(moved, CELL, (True,) * 3, 3.0)
    )


def test_half_the_skin_is_the_limit():
    positions = atoms()
    prepared = verlet_list(positions, CELL, (True,) * 3, 3.0, 0.5)
    for length, asked in ((0.2499, False), (0.2501, True), (np.nan, True)):
        moved = positions.copy()
        moved[3, 1] += length
        assert prepared.needs_rebuild(moved, CELL) is asked
    assert not prepared.needs_rebuild(positions @ (1.01 * np.eye(3)), 1.01 * CELL)
    assert prepared.needs_rebuild(positions @ (1.2 * np.eye(3)), 1.2 * CELL)


def test_arriving_pairs_end_where_they_should():
    verlet = verlet_list(atoms(), CELL, (True, False, True), 4.0, 0.3).arrays
    starts, pairs = arriving(verlet)
    seconds = real_seconds(verlet)
    assert sorted(pairs) == list(range(len(seconds)))
    for k in range(len(verlet.order)):
        assert (seconds[pairs[starts[k] : starts[k + 1]]] == k).all()
    assert (np.diff(starts) == np.diff(verlet.offsets)).all()
    assert (verlet.neighbors[: len(seconds)] != seconds).any()


@njit
def wander(positions, lattice, lengths, species, n_steps):
    """Rebuild when asked, inside compiled code; returns rebuilds, the last list and its points."""
    status, verlet = build(positions, lattice, lengths)
    points, rebuilds = empty_points(verlet, species), 0
    speed = np.sin(np.arange(positions.size)).reshape(positions.shape)
    for _ in range(n_steps):
        positions += 0.003 * speed
        if needs_rebuild(verlet, positions, lattice[0]):
            status, verlet = build(positions, lattice, lengths)
            points = empty_points(verlet, species)
            rebuilds += 1
        extend(verlet, positions, lattice[0], points)
    back = np.empty(len(positions))
    to_caller(verlet, points[: len(positions), 3].copy(), back)
    return status, rebuilds, verlet, points, back


def test_runs_inside_compiled_code():
    positions, species = atoms(), np.arange(20) % 3
    status, rebuilds, verlet, points, back = wander(positions, (CELL, np.array([True] * 3)), (3.0, 0.6), species, 1000)
    assert status == FINE
    assert 5 < rebuilds < 20
    np.testing.assert_allclose(rows(verlet, points, 3.0), expected_rows(positions, CELL, (True,) * 3, 3.0), atol=3e-8)
    assert (back == species).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"skin": -0.1}, "skin"), ({"cutoff": -1.0}, "cutoff"), ({"positions": np.zeros((2, 3))}, "coincide")],
)
def test_refuses_what_cannot_be_right(change, message):
    good = {"positions": atoms(), "cell": CELL, "pbc": (True,) * 3, "cutoff": 3.0, "skin": 0.5}
    prepared = verlet_list(**good)
    with pytest.raises(ValueError, match=message):
        verlet_list(**{**good, **change})
    with pytest.raises(ValueError, match="20 atoms"):
        prepared.points(atoms(n=3), CELL)
