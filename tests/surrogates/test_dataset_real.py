"""Sets that others made: all of them load, and no frame is left out.

They are looked for in the folder that HPCMAT_DATA names, then in `shared/data` beside the checkout.
"""

import os
from pathlib import Path

import pytest
from ase import units
from ase.io import read, write

from hpcmat.surrogates.dataset import LabelKeys, read_dataset


def data_folder():
    places = [os.environ.get("HPCMAT_DATA", ""), Path(__file__).resolve().parents[3] / "shared" / "data"]
    return next((Path(place) for place in places if place and (Path(place) / "zuo2020").is_dir()), None)


DATA = data_folder()
pytestmark = pytest.mark.skipif(
    DATA is None, reason="the reference data are absent: set HPCMAT_DATA to the folder that holds zuo2020 and acac"
)

ZUO = {"Si_train": 214, "Si_test": 25, "Cu_train": 262, "Cu_test": 31, "Li_train": 241, "Li_test": 29}
ACAC = {"train_300K": 500, "train_600K": 500, "test_dihedral": 45, "test_H_transfer": 15}


@pytest.mark.parametrize("name", ZUO)
def test_no_frame_of_the_zuo_sets_is_left_out_or_suspected(name):
    dataset = read_dataset(DATA / "zuo2020" / f"{name}.xyz.gz")
    assert dataset.keys == LabelKeys("REF_energy", "REF_forces", "REF_stress")
    assert len(dataset.frames) == dataset.n_read == ZUO[name]
    assert [problem.kind for problem in dataset.problems] == ["missing stress"]
    without = {frame.index for frame in dataset.frames if not len(frame.label.stress)}
    assert set(dataset.problems[0].frames) == without
    assert {"Surface"} <= {frame.group for frame in dataset.frames if frame.index in without} <= {"Surface", "Elastic"}


@pytest.mark.parametrize("name", ACAC)
def test_no_frame_of_the_molecules_is_left_out_or_suspected(name):
    dataset = read_dataset(DATA / "acac" / f"{name}.xyz.gz")
    assert dataset.elements == ("H", "C", "O")
    assert len(dataset.frames) == dataset.n_read == ACAC[name]
    with_forces = name.startswith("train")
    assert dataset.keys == LabelKeys("energy", "forces" if with_forces else None)
    assert [problem.kind for problem in dataset.problems] == ([] if with_forces else ["missing forces"])


def test_isolated_atoms_of_the_molecules():
    dataset = read_dataset(DATA / "acac" / "isolated_atoms.xyz.gz")
    assert [symbol for symbol, _ in dataset.isolated] == ["H", "C", "O"]
    assert dataset.isolated[0][1] == pytest.approx(-13.568422178)
    assert dataset.frames == () and dataset.problems == ()


DAMAGES = {
    "energy in Hartree": (
        "mixed units",
        lambda atoms: atoms.info.update(REF_energy=atoms.info["REF_energy"] / units.Ha),
    ),
    "forces in Ha/Bohr": (
        "mixed units",
        lambda atoms: atoms.set_array("REF_forces", atoms.arrays["REF_forces"] * units.Bohr / units.Ha),
    ),
    "stress in kbar, pressure": (
        "mixed units",
        lambda atoms: atoms.info.update(REF_stress=-10 / units.GPa * atoms.info["REF_stress"]),
    ),
    "forces a hundred times too large": (
        "absurd forces",
        lambda atoms: atoms.set_array("REF_forces", 100 * atoms.arrays["REF_forces"]),
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("element", ["Si", "Cu"])
def test_one_damaged_frame_among_all_is_told(tmp_path, name, element):
    """Also the proof that the tests above can fail."""
    images = read(DATA / "zuo2020" / f"{element}_train.xyz.gz", index=":")
    place = next(i for i, atoms in enumerate(images) if atoms.info["config_type"] == "AIMD-NVT" and i > len(images) / 3)
    kind, damage = DAMAGES[name]
    damage(images[place])
    write(tmp_path / "set.xyz", images, format="extxyz", write_results=False)
    problems = [p for p in read_dataset(tmp_path / "set.xyz").problems if p.kind != "missing stress"]
    assert [(problem.kind, problem.frames) for problem in problems] == [(kind, (place,))]
