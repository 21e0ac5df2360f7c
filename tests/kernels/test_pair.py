"""Pair styles: against LAMMPS and their own energy, under rotation and permutation, at the cutoff."""

import platform
import re
from dataclasses import replace

import llvmlite.binding as llvm
import numpy as np
import pytest
from lammps_peer import energy_forces_virial, potential_file, started
from numba import float64, int32, int64, njit, types

from hpcmat_kernels.neighbors import neighbor_list
from hpcmat_kernels.pair import embedded_atom, evaluate, evaluate_list, lennard_jones, read_setfl, zbl
from hpcmat_kernels.pair.eam_kernel import eam_rows
from hpcmat_kernels.pair.evaluation import empty_sums
from hpcmat_kernels.pair.lj_kernel import lj_rows, lj_sites
from hpcmat_kernels.pair.repulsion import zbl_rows
from hpcmat_kernels.verlet import verlet_list

PERIODIC = (True, True, True)
CUNI = potential_file("CuNi.eam.alloy")
LJ_PARAMETERS = {
    "epsilon": [[0.4, 0.3], [0.3, 0.2]],
    "sigma": [[2.3, 2.2], [2.2, 2.1]],
    "cutoff": [[5.0, 4.0], [4.0, 4.5]],
}
STYLES = {
    "lj": lambda: lennard_jones(**LJ_PARAMETERS, shift=True),
    "eam": lambda: embedded_atom(CUNI, ["Cu", "Ni"]),
    "eam swapped": lambda: embedded_atom(CUNI, ["Ni", "Cu"]),
    "zbl": lambda: zbl([29, 14], 1.5, 3.0),
}
COMMANDS = {
    "lj": """
    pair_style lj/cut 5.0
    pair_coeff 1 1 0.4 2.3 5.0
    pair_coeff 1 2 0.3 2.2 4.0
    pair_coeff 2 2 0.2 2.1 4.5
    pair_modify shift yes""",
    "eam": f"pair_style eam/alloy\npair_coeff * * {CUNI} Cu Ni",
    "eam swapped": f"pair_style eam/alloy\npair_coeff * * {CUNI} Ni Cu",
    "zbl": "pair_style zbl 1.5 3.0\npair_coeff 1 1 29 29\npair_coeff 2 2 14 14",
}
ONE = {
    "lj": lambda: lennard_jones(0.4, 2.3, 5.0),
    "eam": lambda: embedded_atom(potential_file("Cu_mishin1.eam.alloy"), ["Cu"]),
    "zbl": lambda: zbl([29], 1.5, 3.0),
}


def alloy(repeat=3, seed=0):
    """Rattled fcc crystal in a tilted cell, with two species."""
    rng = np.random.default_rng(seed)
    sites = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    cells = np.array(list(np.ndindex(repeat, repeat, repeat)))
    cell = 3.6 * repeat * np.eye(3) + np.array([[0, 0, 0], [0.7, 0, 0], [-0.4, 0.9, 0]])
    positions = (cells[:, None] + sites[None]).reshape(-1, 3) / repeat @ cell
    return positions + rng.normal(scale=0.1, size=positions.shape), cell, rng.integers(0, 2, len(positions))


def energy(style, positions, cell, species):
    return evaluate(style, positions, cell, PERIODIC, species).site_energies.sum()


@pytest.mark.parametrize("name", STYLES)
def test_equals_lammps(name):
    positions, cell, species = alloy()
    result = evaluate(STYLES[name](), positions, cell, PERIODIC, species)
    with started(positions, cell, species, COMMANDS[name]) as engine:
        expected, forces, virial = energy_forces_virial(engine)
    assert result.site_energies.sum() == pytest.approx(expected, rel=1e-11)
    np.testing.assert_allclose(result.forces, forces, atol=1e-11 * abs(forces).max())
    np.testing.assert_allclose(result.virial, virial, atol=1e-11 * abs(virial).max())
    other = evaluate(STYLES[name](), positions, cell, PERIODIC, 1 - species).site_energies.sum()
    assert other != pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", STYLES)
@pytest.mark.parametrize("pbc", [PERIODIC, (False, True, False)])
def test_forces_are_minus_the_gradient(name, pbc):
    style, (positions, cell, species) = STYLES[name](), alloy(2)
    direction = np.random.default_rng(7).normal(size=positions.shape)

    def at(step):
        return evaluate(style, positions + step * direction, cell, pbc, species)

    # A small step, since forces jump where a pair crosses the cutoff.
    h = 1e-6
    numeric = -(at(h).site_energies.sum() - at(-h).site_energies.sum()) / (2 * h)
    analytic = (at(0.0).forces * direction).sum()
    assert analytic == pytest.approx(numeric, rel=1e-7, abs=1e-6)
    assert analytic != pytest.approx(1.01 * numeric, rel=1e-4)


@pytest.mark.parametrize("name", STYLES)
def test_virial_is_the_gradient_with_strain(name):
    style, (positions, cell, species) = STYLES[name](), alloy(2)
    virial, h = evaluate(style, positions, cell, PERIODIC, species).virial, 1e-6
    for component, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5
        plus, minus = (
            energy(style, positions @ (np.eye(3) + step * strain), cell @ (np.eye(3) + step * strain), species)
            for step in (h, -h)
        )
        assert virial[component] == pytest.approx((plus - minus) / (2 * h), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", STYLES)
def test_turns_and_permutes_with_the_structure(name):
    style, (positions, cell, species) = STYLES[name](), alloy(2)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    order = np.random.default_rng(4).permutation(len(positions))
    plain = evaluate(style, positions, cell, PERIODIC, species)
    moved = evaluate(style, positions[order] @ turn, cell @ turn, PERIODIC, species[order])
    scale = abs(plain.forces).max()
    np.testing.assert_allclose(moved.site_energies, plain.site_energies[order], atol=1e-11)
    np.testing.assert_allclose(moved.forces, plain.forces[order] @ turn, atol=1e-11 * scale)
    assert abs(moved.forces - plain.forces[order]).max() > 1e-2 * scale


@pytest.mark.parametrize("name", ONE)
def test_one_species_is_the_same_as_two_alike(name):
    positions, cell, species = alloy()
    one = ONE[name]()
    doubled = {
        "lj": lambda: lennard_jones(np.full((2, 2), 0.4), 2.3, 5.0),
        "eam": lambda: embedded_atom(potential_file("Cu_mishin1.eam.alloy"), ["Cu", "Cu"]),
        "zbl": lambda: zbl([29, 29], 1.5, 3.0),
    }[name]()
    left = evaluate(one, positions, cell, PERIODIC, np.zeros_like(species))
    right = evaluate(doubled, positions, cell, PERIODIC, species)
    np.testing.assert_allclose(left.site_energies, right.site_energies, atol=1e-12)
    np.testing.assert_allclose(left.forces, right.forces, atol=1e-11)
    np.testing.assert_allclose(left.virial, right.virial, atol=1e-10)


@pytest.mark.parametrize("name", STYLES)
def test_bits_do_not_depend_on_the_number_of_threads(name):
    style, (positions, cell, species) = STYLES[name](), alloy(4)
    one = evaluate(style, positions, cell, PERIODIC, species)
    for threads in (2, 5):
        many = evaluate(style, positions, cell, PERIODIC, species, threads=threads)
        for field in ("site_energies", "forces", "virial"):
            assert getattr(many, field).tobytes() == getattr(one, field).tobytes()


def test_lennard_jones_equals_the_sum_over_pairs():
    positions, cell, species = alloy()
    pairs = neighbor_list(positions, cell, PERIODIC, 5.0, half=True)
    r = np.linalg.norm(pairs.vectors, axis=1)
    z = species[pairs.first], species[pairs.second]
    depth, size, reach = (np.array(LJ_PARAMETERS[name])[z] for name in ("epsilon", "sigma", "cutoff"))
    expected = (4 * depth * ((size / r) ** 12 - (size / r) ** 6))[r < reach].sum()
    assert energy(lennard_jones(**LJ_PARAMETERS), positions, cell, species) == pytest.approx(expected, rel=1e-12)
    assert energy(lennard_jones(**LJ_PARAMETERS, shift=True), positions, cell, species) != pytest.approx(expected)


@pytest.mark.parametrize(("name", "cutoff", "jump"), [("lj", 5.0, 1e-9), ("eam", 5.50679, 1e-6), ("zbl", 3.0, 1e-9)])
def test_energy_is_continuous_at_the_cutoff(name, cutoff, jump):
    style = lennard_jones(0.4, 2.3, 5.0, shift=True) if name == "lj" else ONE[name]()

    def dimer(distance, style):
        positions = np.array([[0.0, 0, 0], [distance, 0, 0]])
        result = evaluate(style, positions, np.zeros((3, 3)), (False,) * 3, [0, 0])
        return result.site_energies.sum(), abs(result.forces).max()

    inside, outside = dimer(cutoff - 1e-8, style), dimer(cutoff + 1e-8, style)
    assert abs(inside[0] - outside[0]) < jump
    if name == "zbl":
        assert abs(inside[1] - outside[1]) < jump
        # The curvature vanishes too: the force falls with the square of what is left.
        far, near = (dimer(cutoff - distance, style)[1] for distance in (2e-3, 1e-3))
        assert far / near == pytest.approx(4.0, rel=0.02)
    assert abs(dimer(5.0 - 1e-8, lennard_jones(0.4, 2.3, 5.0))[0]) > 1e-3


@pytest.mark.parametrize("name", STYLES)
def test_a_list_with_skin_gives_the_same(name):
    style, (positions, cell, species) = STYLES[name](), alloy()
    prepared = verlet_list(positions, cell, PERIODIC, style.cutoff, 0.8)
    moved = positions + 0.1 * np.sin(np.arange(positions.size)).reshape(positions.shape)
    kept = evaluate_list(style, prepared, moved, 1.001 * cell, species)
    fresh = evaluate(style, moved, 1.001 * cell, PERIODIC, species)
    np.testing.assert_allclose(kept.site_energies, fresh.site_energies, atol=1e-11)
    np.testing.assert_allclose(kept.forces, fresh.forces, atol=1e-10 * abs(fresh.forces).max())
    with pytest.raises(ValueError, match="make the list again"):
        evaluate_list(style, prepared, positions + 0.5 * np.sin(positions), cell, species)


@pytest.mark.parametrize(("name", "rows"), [("lj", lj_rows), ("eam", eam_rows), ("zbl", zbl_rows)])
def test_compiled_loops_get_the_same(name, rows):
    style, (positions, cell, species) = STYLES[name](), alloy()
    expected = evaluate(style, positions, cell, PERIODIC, species)
    prepared = verlet_list(positions, cell, PERIODIC, style.cutoff, 0.0)
    points, sums = prepared.points(positions, cell, species), empty_sums(len(positions))

    @njit
    def twice(verlet, points, parameters, sums):
        for _ in range(2):
            rows(verlet, points, parameters, sums)

    twice(prepared.arrays, points, style.parameters, sums)
    order = prepared.arrays.order
    assert sums[0][:, :3].tobytes() == expected.forces[order].tobytes()
    assert (0.5 * sums[0][:, 3]).tobytes() == expected.site_energies[order].tobytes()
    np.testing.assert_allclose(0.5 * sums[1].sum(axis=(0, 2)), expected.virial, rtol=1e-12, atol=1e-12)


def test_embedding_goes_on_as_a_straight_line():
    tables = read_setfl(potential_file("Cu_mishin1.eam.alloy"))
    short = replace(tables, embedding=tables.embedding[:, :3000])
    positions, cell, species = alloy()
    style = embedded_atom(short, ["Cu"])
    direction, h = np.sin(np.arange(positions.size)).reshape(positions.shape), 1e-5
    plus, minus = (energy(style, positions + step * direction, cell, 0 * species) for step in (h, -h))
    result = evaluate(style, positions, cell, PERIODIC, 0 * species)
    assert (result.forces * direction).sum() == pytest.approx(-(plus - minus) / (2 * h), rel=1e-5)
    assert result.site_energies.sum() != pytest.approx(energy(ONE["eam"](), positions, cell, 0 * species), rel=1e-3)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="counts x86 instructions")
def test_vectors_are_full_width():
    matrix, lane, numbers = float64[:, ::1], float64[:, :, ::1], float64[::1]
    arrays = types.Tuple((matrix, int64[::1], int32[::1], matrix, numbers, matrix, lane))
    register = "zmm" if llvm.get_host_cpu_features().get("avx512f") else "ymm"
    (assembly,) = njit(types.void(arrays, types.UniTuple(int64, 2)))(lj_sites.py_func).inspect_asm().values()
    assert len(re.findall(rf"vfn?m(?:add|sub)\w+pd\b.*%{register}", assembly)) >= 20
    assert "vgather" not in assembly
    (one_by_one,) = njit(float64(numbers))(lambda values: values[0] * values[1] + values[2]).inspect_asm().values()
    assert not re.search(rf"vfn?m(?:add|sub)\w+pd\b.*%{register}", one_by_one)


GOOD = "comment\n" * 3 + "1 Cu\n5 0.1 5 0.5 2.0\n29 63.5 3.6 fcc\n" + "0.0 " * 5 + "\n" + "0.1 " * 5 + "\n" + "0.2 " * 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:20], "lines"),
        (lambda text: text.replace("1 Cu", "2 Cu"), "name 2 elements"),
        (lambda text: text.replace("1 Cu", "Cu"), "invalid literal"),
        (lambda text: text.replace("5 0.1 5 0.5 2.0", "5 0.1 5"), "line 5"),
        (lambda text: text.replace("5 0.1 5 0.5 2.0", "5 0.1 5 -0.5 2.0"), "above zero"),
        (lambda text: text + " 1.0", "words follow"),
        (lambda text: text[:-8], "words follow"),
        (lambda text: text.replace("0.2", "nan"), "not finite"),
        (lambda text: text.replace("0.2", "two"), "could not convert"),
    ],
)
def test_setfl_files_that_cannot_be_right(tmp_path, change, message):
    path = tmp_path / "Cu.eam.alloy"
    path.write_text(GOOD)
    assert read_setfl(path).elements == ("Cu",)
    path.write_text(change(GOOD))
    with pytest.raises(ValueError, match=message):
        read_setfl(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lennard_jones([[1.0, 2.0], [3.0, 1.0]], 2.0, 5.0), "symmetric"),
        (lambda: lennard_jones(1.0, [[2.0]], np.ones((2, 2))), "symmetric"),
        (lambda: lennard_jones(1.0, -2.0, 5.0), "positive"),
        (lambda: lennard_jones(np.nan, 2.0, 5.0), "finite"),
        (lambda: zbl([29], 3.0, 2.0), "inner < outer"),
        (lambda: zbl([0], 1.0, 2.0), "Atomic numbers"),
        (lambda: embedded_atom(CUNI, ["Cu", "Fe"]), "Fe"),
        (lambda: embedded_atom(CUNI, []), "choose"),
    ],
)
def test_refuses_parameters_that_cannot_be_right(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_refuses_structures_that_do_not_fit():
    style, (positions, cell, species) = ONE["lj"](), alloy(2)
    with pytest.raises(ValueError, match="map them first"):
        evaluate(style, positions, cell, PERIODIC, species)
    with pytest.raises(ValueError, match="atoms"):
        evaluate(style, positions, cell, PERIODIC, species[1:])
    with pytest.raises(ValueError, match="thread"):
        evaluate(style, positions, cell, PERIODIC, 0 * species, threads=0)
    with pytest.raises(ValueError, match="longer list"):
        evaluate_list(style, verlet_list(positions, cell, PERIODIC, 4.0, 1.0), positions, cell, 0 * species)
    with pytest.raises(ValueError, match="make the list again"):
        bare = verlet_list(positions, cell, PERIODIC, 5.0, 0.0)
        evaluate_list(style, bare, positions + 1e-6 * np.sin(positions), cell, 0 * species)
    with pytest.raises(ValueError, match="finite"):
        evaluate(style, np.where(np.arange(3) == 0, np.nan, positions), cell, PERIODIC, 0 * species)
