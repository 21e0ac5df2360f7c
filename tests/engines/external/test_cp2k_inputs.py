"""What the CP2K engine decides before anything runs: data that belong together, an input without repeated keywords."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, molecule
from pydantic import ValidationError

from hpcmat.engines.base import Job
from hpcmat.engines.external.calculation import SCRATCH_NAME, Calculation
from hpcmat.engines.external.cp2k import Cp2kEngine
from hpcmat.engines.external.cp2k_data import find_data
from hpcmat.engines.external.cp2k_input import MARGIN_ANG, geometry_of
from hpcmat.engines.external.cp2k_output import _copy
from hpcmat.engines.labelling import label_key
from hpcmat.engines.registry import check_engine
from hpcmat.engines.settings import Cp2kSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.errors import InputError
from hpcmat.records import Method

BASIS = """\
# a comment
Si DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q4
 1
 2 0 2 4 2 2 1
 1.25 0.29 -1.53 0.15 0.31 0.32
Mg DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q10
 1
Xe DZVP-MOLOPT-SR-GTH DZVP-MOLOPT-SR-GTH-q26
 1
"""
POTENTIALS = """\
Mg GTH-PBE-q2
 2
 0.57 2 -2.69 -0.16
Mg GTH-PBE-q10 GTH-PBE
 4 6
Si GTH-PBE-q4 GTH-PBE
 2 2
Si GTH-PADE-q4 GTH-LDA-q4 GTH-PADE GTH-LDA
 2 2
Xe GTH-PBE-q8 GTH-PBE
"""
SILICON = from_atoms(bulk("Si", "diamond", 5.43))


@pytest.fixture
def settings(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "BASIS_MOLOPT").write_text(BASIS)
    (folder / "GTH_POTENTIALS").write_text(POTENTIALS)
    return Cp2kSettings(data_folder=str(folder), code_version="2023.1")


def written(structure, settings, folder, job=None):
    """The input as a list of (section path, keyword, rest)."""
    engine = Cp2kEngine(settings)
    folder = folder / "work"
    (folder / SCRATCH_NAME).mkdir(parents=True)
    asked = Calculation(structure, settings, Method("cp2k", "2023.1", "{}", ""))
    engine.write(asked, replace(job or Job(folder), folder=folder))
    path, found = [], []
    for line in (folder / "cp2k.inp").read_text().splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "&END":
            path.pop()
        elif word.startswith("&"):
            path.append(line.strip()[1:])
            found.append(("/".join(path), "", ""))
        else:
            found.append(("/".join(path), word, rest))
    assert not path
    return found


def value(found, section, keyword):
    (rest,) = [rest for path, word, rest in found if (path, word) == (section, keyword)]
    return rest


def test_potentials_have_the_electrons_of_the_basis(settings):
    data = find_data(("Mg", "Si", "Mg"), "PBE", "DZVP-MOLOPT-SR-GTH", Path(settings.data_folder))
    assert [(kind.symbol, kind.basis[-4:], kind.potential) for kind in data.kinds] == [
        ("Mg", "-q10", "GTH-PBE-q10"),
        ("Si", "H-q4", "GTH-PBE-q4"),
    ]
    lda = find_data(("Si",), "LDA", "DZVP-MOLOPT-SR-GTH-q4", Path(settings.data_folder))
    assert lda.kinds[0].potential == "GTH-PADE-q4"


@pytest.mark.parametrize(
    ("symbols", "change", "message"),
    [
        ({"Si", "U"}, {}, "no basis sets DZVP-MOLOPT-SR-GTH for Si, U"),
        ({"Si"}, {"basis": "DZVP-MOLOPT-GTH"}, "did you mean 'DZVP-MOLOPT-SR-GTH'"),
        ({"Xe"}, {}, "has no GTH-PBE-q26 for Xe"),
        ({"Mg"}, {"xc": "LDA"}, "has no GTH-PADE-q10 for Mg"),
        ({"Si"}, {"data_folder": "nowhere"}, "apt-get install cp2k-data"),
    ],
)
def test_missing_data_is_named(settings, symbols, change, message):
    with pytest.raises(InputError, match=re.escape(message)):
        check_engine(settings.model_copy(update=change), symbols)


def test_a_missing_program_says_how_to_get_it(settings, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"apt-get install cp2k.*Spack: spack install cp2k; Fugaku: .*spack load cp2k"):
        check_engine(settings.model_copy(update={"code_version": None}), {"Si"})


def test_a_stated_version_needs_no_program(settings, monkeypatch):
    """On a driver's machine that has the data and not the code."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setenv("CP2K_DATA_DIR", settings.data_folder)
    check_engine(settings.model_copy(update={"data_folder": ""}), {"Si"})
    monkeypatch.delenv("CP2K_DATA_DIR")
    with pytest.raises(InputError, match="no executable"):
        check_engine(settings.model_copy(update={"data_folder": ""}), {"Si"})


def test_data_enter_the_key_and_their_folder_does_not(settings, tmp_path):
    from hpcmat.engines import labelling

    key = label_key(SILICON, settings)
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = settings.model_copy(update={"data_folder": str(tmp_path / "moved")})
    assert label_key(SILICON, moved) == key
    (tmp_path / "moved" / "BASIS_MOLOPT").write_text(BASIS.replace("0.29", "0.30"))
    labelling._method.cache_clear()
    assert label_key(SILICON, moved) != key


def test_settings_reach_the_input_in_physical_units(settings, tmp_path):
    asked = settings.model_copy(update={"cutoff_ev": 4000.0, "smearing_ev": 0.1, "spin_polarized": True, "xc": "LDA"})
    found = written(SILICON, asked, tmp_path)
    assert value(found, "FORCE_EVAL/DFT/MGRID", "CUTOFF") == "[eV] 4000.0"
    kelvin = float(value(found, "FORCE_EVAL/DFT/SCF/SMEAR ON", "ELECTRONIC_TEMPERATURE").split()[1])
    assert kelvin == pytest.approx(1160.45, abs=0.01)
    assert value(found, "FORCE_EVAL/DFT/SCF", "ADDED_MOS") == "-1 -1"
    assert value(found, "FORCE_EVAL/DFT", "UKS") == ".TRUE."
    assert value(found, "FORCE_EVAL/DFT/SCF/MIXING", "METHOD") == "DIRECT_P_MIXING"
    assert value(found, "FORCE_EVAL/SUBSYS/KIND Si", "MAGNETIZATION") == "2.0"
    assert ("FORCE_EVAL/DFT/XC/XC_FUNCTIONAL PADE", "", "") in found
    assert value(found, "FORCE_EVAL/SUBSYS/KIND Si", "POTENTIAL") == "GTH-PADE-q4"
    assert value(found, "FORCE_EVAL/DFT/KPOINTS", "SCHEME") == "MONKHORST-PACK 4 4 4"
    cell = [[float(word) for word in value(found, "FORCE_EVAL/SUBSYS/CELL", axis).split()] for axis in "ABC"]
    np.testing.assert_array_equal(cell, SILICON.cell)


def test_no_keyword_stands_twice_in_a_section(settings, tmp_path):
    extra = {"FORCE_EVAL/DFT/SCF/MIXING": {"nbroyden": 12}, "force_eval/dft/scf": {"EPS_DIIS": 0.2}}
    asked = settings.model_copy(update={"extra": extra, "smearing_ev": 0.1, "spin_polarized": True})
    found = written(SILICON, asked, tmp_path)
    keys = [(path, word) for path, word, _ in found if not path.endswith("COORD")]
    assert len(keys) == len(set(keys))
    assert value(found, "FORCE_EVAL/DFT/SCF/MIXING", "NBROYDEN") == "12"
    assert value(found, "FORCE_EVAL/DFT/SCF", "EPS_DIIS") == "0.2"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"FORCE_EVAL/DFT/SCF": {"eps_scf": 1e-3}}, "set density_tolerance instead"),
        ({"FORCE_EVAL/DFT/MGRID": {"CUTOFF": 300}}, "set cutoff_ev instead"),
        ({"FORCE_EVAL/DFT/SCF": {"IGNORE_CONVERGENCE_FAILURE": True}}, "leave it out"),
        ({"FORCE_EVAL/SUBSYS/KIND Si": {"POTENTIAL": "ALL"}}, "is written by the engine"),
        ({"GLOBAL": {"RUN_TYPE": "MD"}}, "is written by the engine"),
    ],
)
def test_raw_keywords_that_contradict_are_refused(extra, message):
    with pytest.raises(ValidationError, match=message):
        Cp2kSettings(extra=extra)


def test_the_cutoff_of_a_plane_wave_code_is_refused():
    with pytest.raises(ValidationError, match="about ten times the cutoff of a plane-wave code"):
        Cp2kSettings(cutoff_ev=400.0)


def test_remedies_change_the_road_and_never_the_physics(settings, tmp_path):
    road = {"MAX_SCF", "ALPHA", "PREFERRED_DIAG_LIBRARY", "WALLTIME"}
    everything = Job(tmp_path, remedies=("mixing", "more-steps", "eigensolver"), walltime_s=100.0)
    plain, other = (written(SILICON, settings, tmp_path / name, job) for name, job in (("a", None), ("b", everything)))
    assert [row for row in plain if row[1] not in road] == [row for row in other if row[1] not in road]
    assert {row[1] for row in set(other) - set(plain)} == road
    assert value(other, "GLOBAL", "WALLTIME") == "90"


def test_gentle_mixing_of_spins_is_gentler(settings, tmp_path):
    """Charge of two atoms of iron still swings at the part that cures a cycle without spins."""
    gentle = Job(tmp_path, remedies=("mixing",))
    spins = settings.model_copy(update={"smearing_ev": 0.1, "spin_polarized": True})
    alphas = [
        float(
            value(written(SILICON, asked, tmp_path / f"{n}-{job is None}", job), "FORCE_EVAL/DFT/SCF/MIXING", "ALPHA")
        )
        for n, asked in enumerate((settings, spins))
        for job in (None, gentle)
    ]
    assert alphas == [0.4, 0.1, 0.4, 0.05]


def test_gamma_grids_are_shifted_back(settings, tmp_path):
    spacing = settings.model_copy(update={"kpoint_grid": "gamma", "kpoint_spacing_per_ang": 1.1})
    assert value(written(SILICON, spacing, tmp_path), "FORCE_EVAL/DFT/KPOINTS", "SCHEME").startswith("MACDONALD 2 2 2")


def test_a_molecule_stands_in_the_middle_of_a_cube(settings, tmp_path):
    dimer = replace(SILICON, pbc=(False, False, False), cell=np.zeros((3, 3)))
    found = written(dimer, settings, tmp_path)
    assert value(found, "FORCE_EVAL/SUBSYS/CELL", "PERIODIC") == "NONE"
    assert value(found, "FORCE_EVAL/DFT/POISSON", "POISSON_SOLVER") == "WAVELET"
    assert not any("KPOINTS" in path for path, _, _ in found)
    geometry = geometry_of(from_atoms(molecule("H2O")))
    middle = 0.5 * (geometry.positions.min(axis=0) + geometry.positions.max(axis=0))
    np.testing.assert_allclose(middle, 0.5 * np.diag(geometry.cell), atol=1e-12)
    assert (geometry.positions.min(axis=0) >= MARGIN_ANG - 1e-12).all()


def test_a_slab_is_refused(settings):
    with pytest.raises(InputError, match="all axes or none"):
        check_engine(settings, {"Si"}, [replace(SILICON, pbc=(True, True, False))])
    check_engine(settings, {"Si"}, [SILICON, replace(SILICON, pbc=(False, False, False))])


def test_atoms_of_one_letter_are_no_lattice_vectors():
    """As CP2K writes them: `- Si`, but `- B:`."""
    rows = {"A": 4.0, "B": 5.0, "C": 6.0}
    row = "   - {}  [ {:20.12f}, {:20.12f}, {:20.12f} ]"
    cell = [row.format(f"{name}:", *(length * np.eye(3)[n])) for n, (name, length) in enumerate(rows.items())]
    atoms = [row.format(name, n, 0.5, -0.5) for n, name in enumerate(("B:", "Si", "C:"))]
    head = ["title: 'SCINE Interface File'", "energy: [   -7.842529803011, 'hartree' ]", "system:", " unit: 'angstrom'"]
    periodic = [" periodicity:  [ T, T, T ]", " coordinates: "]
    middle = ["gradient:", " unit: 'hartree/bohr'", " values: "]
    text = "\n".join([*head, " cell: ", *cell, *periodic, *atoms, *middle, *atoms]) + "\n"
    found = _copy(text)
    assert found.symbols == ("B", "Si", "C")
    np.testing.assert_array_equal(found.geometry.cell, np.diag([4.0, 5.0, 6.0]))
    np.testing.assert_array_equal(found.forces[:, 0], [0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="missing"):
        _copy(text.replace("   - C:", "   - D:"))
