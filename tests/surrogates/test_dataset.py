"""Reading labelled structures: under which names, in which shapes, and what is refused or left out."""

import gzip
import hashlib

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.stress import voigt_6_to_full_3x3_stress

from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.errors import InputError
from hpcmat.surrogates.dataset import LabelKeys, read_dataset

N_FRAMES = 5


def labelled(make, seed):
    """Atoms with their energy, forces and stress (Voigt)."""
    atoms = make.silicon(seed)
    atoms.calc = StillingerWeber()
    return atoms, (atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress())


@pytest.fixture
def labels(make):
    return [labelled(make, seed) for seed in range(N_FRAMES)]


def put(atoms, energy=None, forces=None, stress=None):
    """A copy whose comment line and columns hold the labels under the names given: (name, value)."""
    bare = atoms.copy()
    for entry in (energy, stress):
        if entry:
            bare.info[entry[0]] = entry[1]
    if forces:
        bare.arrays[forces[0]] = forces[1]
    return bare


def named(labels, energy="REF_energy", forces="REF_forces", stress="REF_stress"):
    """Frames with the labels under these names; stress with nine components."""
    return [
        put(atoms, (energy, e), (forces, f), (stress, voigt_6_to_full_3x3_stress(s).ravel()))
        for atoms, (e, f, s) in labels
    ]


def saved(path, frames):
    """An extended XYZ file of what is in info and arrays, and nothing else."""
    write(path, frames, format="extxyz", write_results=False)
    return path


def check(dataset, labels):
    assert [frame.index for frame in dataset.frames] == list(range(len(labels)))
    for frame, (atoms, (energy, forces, stress)) in zip(dataset.frames, labels, strict=True):
        assert frame.label.energy == pytest.approx(energy, abs=1e-7)
        np.testing.assert_allclose(frame.label.forces, forces, atol=1e-7)
        np.testing.assert_allclose(frame.label.stress, stress, atol=1e-7)
        np.testing.assert_allclose(frame.label.structure.positions, atoms.positions, atol=1e-7)
        np.testing.assert_allclose(frame.label.structure.cell, atoms.cell.array, atol=1e-7)


NAMES = [
    ("REF_energy", "REF_forces", "REF_stress"),
    ("DFT_energy", "DFT_forces", "DFT_stress"),
    ("dft_energy", "dft_force", "dft_stress"),
    ("energy", "force", "REF_stress"),
]


@pytest.mark.parametrize("names", NAMES)
def test_labels_are_found_under_usual_names(tmp_path, labels, names):
    dataset = read_dataset(saved(tmp_path / "set.xyz", named(labels, *names)))
    assert dataset.keys == LabelKeys(*names)
    check(dataset, labels)


def test_results_of_a_calculator_are_found_in_a_compressed_file(tmp_path, labels):
    frames = []
    for atoms, (energy, forces, stress) in labels:
        frames.append(atoms.copy())
        frames[-1].calc = SinglePointCalculator(frames[-1], energy=energy, forces=forces, stress=stress)
    write(tmp_path / "set.xyz", frames, format="extxyz")
    data = gzip.compress((tmp_path / "set.xyz").read_bytes())
    (tmp_path / "set.xyz.gz").write_bytes(data)
    dataset = read_dataset(tmp_path / "set.xyz.gz")
    assert (dataset.name, dataset.sha256) == ("set.xyz.gz", hashlib.sha256(data).hexdigest())
    assert (dataset.elements, dataset.n_read, dataset.problems) == (("Si",), N_FRAMES, ())
    check(dataset, labels)


def test_other_formats_of_ase_are_read(tmp_path, labels):
    frames = []
    for atoms, (energy, forces, stress) in labels:
        frames.append(atoms.copy())
        frames[-1].calc = SinglePointCalculator(frames[-1], energy=energy, forces=forces, stress=stress)
    write(tmp_path / "set.traj", frames)
    check(read_dataset(tmp_path / "set.traj"), labels)


def test_free_energy_goes_before_energy(tmp_path, labels):
    frames = named(labels, energy="REF_free_energy")
    for frame in frames:
        frame.info["REF_energy"] = 0.0
    dataset = read_dataset(saved(tmp_path / "set.xyz", frames))
    assert dataset.keys.energy == "REF_free_energy"
    check(dataset, labels)


@pytest.mark.parametrize("name", ["virial", "REF_virials"])
def test_a_virial_becomes_a_stress_of_the_other_sign_over_the_volume(tmp_path, labels, name):
    frames = [
        put(atoms, ("REF_energy", e), ("REF_forces", f), (name, -voigt_6_to_full_3x3_stress(s) * atoms.get_volume()))
        for atoms, (e, f, s) in labels
    ]
    if name != "virial":
        for frame in frames:
            frame.info[name] = frame.info[name].ravel()
    check(read_dataset(saved(tmp_path / "set.xyz", frames)), labels)


def test_six_components_are_xx_yy_zz_yz_xz_xy(tmp_path, labels):
    frames = [put(atoms, ("REF_energy", e), ("REF_forces", f), ("REF_stress", s)) for atoms, (e, f, s) in labels]
    check(read_dataset(saved(tmp_path / "set.xyz", frames)), labels)


def test_several_candidates_are_refused_with_their_names_and_the_option(tmp_path, labels):
    frames = named(labels)
    for frame in frames:
        frame.info["dft_energy"] = frame.info["REF_energy"] + 1.0
        frame.arrays["dft_forces"] = 2 * frame.arrays["REF_forces"]
    path = saved(tmp_path / "set.xyz", frames)
    with pytest.raises(InputError, match=r"energy could be REF_energy or dft_energy.*--energy-key"):
        read_dataset(path)
    chosen = read_dataset(path, LabelKeys(energy="dft_energy"))
    assert chosen.keys == LabelKeys("dft_energy", "dft_forces", "REF_stress")
    np.testing.assert_allclose(chosen.frames[0].label.forces, 2 * labels[0][1][1], atol=1e-7)


def test_candidates_that_hold_the_same_numbers_are_one(tmp_path, labels):
    frames = named(labels)
    for frame in frames:
        frame.info["dft_energy"] = frame.info["REF_energy"]
    assert read_dataset(saved(tmp_path / "set.xyz", frames)).keys.energy == "REF_energy"


def test_forces_of_unknown_name_are_asked_for(tmp_path, labels):
    path = saved(tmp_path / "set.xyz", named(labels, forces="gradient"))
    with pytest.raises(InputError, match=r"columns of vectors \(gradient\).*--forces-key"):
        read_dataset(path)
    check(read_dataset(path, LabelKeys(forces="gradient")), labels)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(LabelKeys(), r"no energies.*REF_forces.*U.*--energy-key"), (LabelKeys(energy="V"), r"no frame has 'V'.*U")],
)
def test_energies_of_unknown_name_are_asked_for(tmp_path, labels, asked, expected):
    path = saved(tmp_path / "set.xyz", named(labels, energy="U"))
    with pytest.raises(InputError, match=expected):
        read_dataset(path, asked)
    check(read_dataset(path, LabelKeys(energy="U")), labels)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, "no such file"), ("", "holds no structure|cannot read"), ("2\n\nSi 0 0 0\n", "cannot read")],
)
def test_a_file_that_is_none_is_refused(tmp_path, content, expected):
    path = tmp_path / "set.xyz"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=expected):
        read_dataset(path)


def test_isolated_atoms_are_reference_energies(tmp_path, labels, make):
    frames = named(labels)
    atom, boxed = frames[0][:1], frames[0][:1]
    atom.pbc, atom.info, boxed.info = False, {"REF_energy": -100.0}, {"REF_energy": -7.0, "config_type": "IsolatedAtom"}
    boxed.symbols[0] = "Ge"
    del atom.arrays["REF_forces"]
    dataset = read_dataset(saved(tmp_path / "set.xyz", [atom, *frames, boxed]))
    assert dataset.isolated == (("Si", -100.0), ("Ge", -7.0))
    assert [frame.index for frame in dataset.frames] == [1, 2, 3, 4, 5]
    assert dataset.problems == () and dataset.elements == ("Si",)


def test_one_periodic_atom_is_a_crystal(tmp_path, labels):
    crystal = named(labels)[0][:1]
    crystal.arrays["REF_forces"] = np.zeros((1, 3))
    dataset = read_dataset(saved(tmp_path / "set.xyz", [crystal]))
    assert len(dataset.frames) == 1 and dataset.isolated == ()


def test_groups_are_those_of_the_file(tmp_path, labels):
    frames = named(labels)
    for frame, group in zip(frames, ("a", "b", "a", "c"), strict=False):
        frame.info["config_type"] = group
    dataset = read_dataset(saved(tmp_path / "set.xyz", frames))
    assert dataset.groups == ("a", "b", "c", "")


def broken(frames):
    """Each frame but the last damaged in its own way."""
    del frames[0].info["REF_energy"]
    frames[1].arrays["REF_forces"][2, 1] = np.nan
    frames[2].info["REF_energy"] = np.inf
    frames[3].info["REF_stress"] = frames[3].info["REF_stress"][:5]
    return frames


def test_damaged_frames_are_told_by_number_and_left_out(tmp_path, labels):
    dataset = read_dataset(saved(tmp_path / "set.xyz", broken(named(labels))))
    found = {problem.kind: problem for problem in dataset.problems}
    assert found["missing energy"].frames == (0,)
    assert found["forces not finite"].frames == (1,)
    assert found["energy not finite"].frames == (2,)
    assert found["wrong shape"].frames == (3,)
    assert dataset.excluded == (0, 1, 2)
    assert [frame.index for frame in dataset.frames] == [3, 4]
    assert [len(frame.label.stress) for frame in dataset.frames] == [0, 6]
    assert "frame 0: " in str(found["missing energy"]) and "[left out]" in str(found["missing energy"])
    assert "[left out]" not in str(found["wrong shape"])


def test_a_file_without_one_usable_frame_is_refused(tmp_path, labels):
    with pytest.raises(InputError, match=r"no frame can be used.*frame 0: there is no energy"):
        read_dataset(saved(tmp_path / "set.xyz", broken(named(labels))[:3]))


def test_frames_without_forces_or_stress_are_told_and_kept(tmp_path, labels):
    frames = named(labels)
    del frames[1].info["REF_stress"]
    stress = "REF_stress"
    frames[3].info[stress] = np.array([[1.0, 2, 0], [0, 1, 0], [0, 0, 1]]).ravel()
    bare = put(labels[4][0], ("REF_energy", labels[4][1][0]))
    frames[4] = bare
    for frame in frames[:4]:
        assert "REF_forces" in frame.arrays
    path = tmp_path / "set.xyz"
    with path.open("w") as stream:
        for frame in frames:
            write(stream, frame, format="extxyz", write_results=False)
    dataset = read_dataset(path)
    found = {problem.kind: problem for problem in dataset.problems}
    assert found["missing stress"].frames == (1, 4)
    assert found["missing forces"].frames == (4,)
    assert found["stress not symmetric"].frames == (3,)
    assert [len(frame.label.forces) for frame in dataset.frames] == [8, 8, 8, 8, 0]
    assert [len(frame.label.stress) for frame in dataset.frames] == [6, 0, 6, 0, 0]
    assert dataset.excluded == ()


def test_a_source_names_what_was_used(tmp_path, labels):
    source = read_dataset(saved(tmp_path / "set.xyz", broken(named(labels)))).source()
    assert source.file == "set.xyz" and source.n_read == 5 and source.n_used == 2
    assert source.left_out == (0, 1, 2)
    assert dict(source.keys) == {"energy": "REF_energy", "forces": "REF_forces", "stress": "REF_stress"}
