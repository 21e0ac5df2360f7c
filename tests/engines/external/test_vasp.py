"""VASP in its documented formats: no VASP runs here, so that files as its manual describes them are written by hand."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from pydantic import ValidationError

from hpcmat.engines.base import EngineFailure, Job
from hpcmat.engines.external.calculation import Calculation
from hpcmat.engines.external.run import Ending
from hpcmat.engines.external.vasp import CODE, VaspEngine
from hpcmat.engines.external.vasp_output import read_label, sorted_atoms
from hpcmat.engines.settings import VaspSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Method

KBAR = 1602.1766
"""1 eV/Å³ in kbar."""
SETTINGS = VaspSettings(code_version="6.4.2")


def compound():
    """Magnesium oxide whose atoms are not in the order of VASP's files."""
    atoms = bulk("MgO", "rocksalt", 4.21, cubic=True)[[4, 0, 1, 5, 2, 3, 6, 7]]
    atoms.positions += 0.05 * np.random.default_rng(1).normal(size=(8, 3))
    return from_atoms(atoms)


STRUCTURE = compound()
NUMBERS = np.random.default_rng(2).normal(size=(8, 3))
FORCES = np.round(NUMBERS - NUMBERS.mean(axis=0), 6)
STRESS = np.array([-0.02, -0.01, 0.03, 0.004, -0.005, 0.006])
ENERGIES = [-30.12345678, -47.5, -47.61234567]


def rows(array, digits):
    return "\n".join(f"    <v> {' '.join(f'{x:.{digits}f}' for x in row)} </v>" for row in array)


def xml(structure=STRUCTURE, energies=ENERGIES, limit=100):
    """vasprun.xml, of what is read of it; stress in kbar, positive where it presses."""
    atoms, order = sorted_atoms(structure)
    full = -KBAR * STRESS[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
    species = "\n".join(f"   <rc><c>{s} </c><c> 1</c></rc>" for s in atoms.get_chemical_symbols())
    place = f"""<crystal><varray name="basis" >
{rows(atoms.cell.array, 8)}
   </varray></crystal><varray name="positions" >
{rows(atoms.get_scaled_positions() % 1.0, 8)}
  </varray>"""

    def energy(e):
        names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
        return "<energy>" + "".join(f'<i name="{name}"> {e:.8f} </i>' for name in names) + "</energy>"

    steps = "\n".join(f"  <scstep>{energy(e)}</scstep>" for e in energies)
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <generator><i name="program" type="string">vasp </i><i name="version" type="string">6.4.2 </i></generator>
 <kpoints>
  <varray name="kpointlist" ><v> 0.0 0.0 0.0 </v></varray><varray name="weights" ><v> 1.0 </v></varray>
 </kpoints>
 <parameters><separator name="electronic" ><i type="int" name="NELM"> {limit}</i></separator></parameters>
 <atominfo><array name="atoms" ><set>
{species}
 </set></array></atominfo>
 <structure name="initialpos" >{place}</structure>
 <calculation>
{steps}
  <structure>{place}</structure>
  <varray name="forces" >
{rows(FORCES[order], 8)}
  </varray>
  <varray name="stress" >
{rows(full, 8)}
  </varray>
  {energy(energies[-1])}
 </calculation>
</modeling>
"""


def outcar(energies=ENERGIES, converged=True):
    atoms, order = sorted_atoms(STRUCTURE)
    forces = "\n".join(
        " ".join(f"{x:12.5f}" for x in r) + " " + " ".join(f"{x:13.6f}" for x in f)
        for r, f in zip(atoms.positions, FORCES[order], strict=True)
    )
    kbar = -KBAR * STRESS[[0, 1, 2, 5, 3, 4]]
    line = "-" * 85
    reached = "------------------------ aborting loop because EDIFF is reached ---------------\n" if converged else ""
    return f""" vasp.6.4.2 20Jul23 complex
{reached}
  free  energy   TOTEN  =      {energies[-1]:.8f} eV
  in kB  {" ".join(f"{x:11.5f}" for x in kbar)}
 POSITION                                       TOTAL-FORCE (eV/Angst)
 {line}
{forces}
 {line}
 General timing and accounting informations for this job:
                      Voluntary context switches:           10
"""


def folder_with(tmp_path, *, log="", **files):
    texts = {"vasprun.xml": xml(), "OUTCAR": outcar(), "vasp.log": f" running on 1 total cores\n{log}"} | {
        name.replace("_", "."): text for name, text in files.items()
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


ASKED = Calculation(STRUCTURE, SETTINGS, Method("vasp", "6.4.2", "{}", ""))


def failure_of(folder, asked=ASKED, code=0):
    with pytest.raises(EngineFailure) as caught:
        read_label(asked, folder, Ending(code))
    return caught.value


def test_numbers_come_back_in_the_order_units_and_signs_of_the_structure(tmp_path):
    label = read_label(ASKED, folder_with(tmp_path), Ending(0))
    assert label.energy == ENERGIES[-1]
    np.testing.assert_allclose(label.forces, FORCES, rtol=0, atol=1e-8)
    np.testing.assert_allclose(label.stress, STRESS, rtol=1e-5)
    assert label.scf_steps == 3
    # Sorting by element moved atoms, or the test would show nothing.
    assert list(sorted_atoms(STRUCTURE)[1]) != list(range(8))


def test_a_cycle_that_ran_out_of_steps_is_no_label(tmp_path):
    """VASP ends well all the same."""
    assert failure_of(folder_with(tmp_path, OUTCAR=outcar(converged=False))).kind is FailureKind.NOT_CONVERGED


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (" Error EDDDAV: Call to ZHEGV failed. Returncode = 8 2 16", FailureKind.DIAGONALIZATION),
        (" VERY BAD NEWS! internal error in subroutine SGRCON: Found some non-integer element", FailureKind.SYMMETRY),
        (" BRMIX: very serious problems the old and the new charge density differ", FailureKind.DIVERGED),
        (" TOO FEW BANDS", FailureKind.BAD_SETTINGS),
        ("| you have included TOO FEW BANDS!! |\n" + 60 * " DAV: 1\n", FailureKind.BAD_SETTINGS),
    ],
)
def test_what_vasp_says_is_classified(tmp_path, said, kind):
    assert failure_of(folder_with(tmp_path, vasprun_xml="<modeling>", log=said), code=1).kind is kind


def test_an_output_of_another_structure_or_version_is_refused(tmp_path):
    moved = replace(STRUCTURE, positions=STRUCTURE.positions + np.eye(8, 3) * 0.01)
    assert "another structure" in failure_of(folder_with(tmp_path, vasprun_xml=xml(moved))).message
    other = replace(ASKED, method=Method("vasp", "5.4.4", "{}", ""))
    assert failure_of(folder_with(tmp_path), other).kind is FailureKind.BAD_SETTINGS


def test_damaged_files_never_give_another_label(tmp_path):
    folder = folder_with(tmp_path)
    truth, rng, given = read_label(ASKED, folder, Ending(0)), np.random.default_rng(3), 0
    for number in range(200):
        name = ("vasprun.xml", "OUTCAR")[number % 2]
        whole = (xml(), outcar())[number % 2]
        place = int(rng.integers(len(whole)))
        damaged = whole[:place] if number % 4 < 2 else whole[:place] + str(rng.integers(10)) + whole[place + 1 :]
        (folder / name).write_text(damaged)
        try:
            label = read_label(ASKED, folder, Ending(0))
        except EngineFailure:
            label = None
        (folder / name).write_text(whole)
        if label is not None:
            given += 1
            assert label.energy == pytest.approx(truth.energy, abs=1e-8)
            np.testing.assert_allclose(label.forces, truth.forces, rtol=0, atol=1.1e-6)
            np.testing.assert_allclose(label.stress, truth.stress, rtol=0, atol=1e-7)
    assert 0 < given < 120


@pytest.fixture
def data(tmp_path):
    for symbol, electrons in (("Mg", 2), ("O", 6), ("Al", 3)):
        (tmp_path / "potpaw" / symbol).mkdir(parents=True)
        (tmp_path / "potpaw" / symbol / "POTCAR").write_text(f"data of {symbol}; ZVAL = {electrons}.000\n")
    return SETTINGS.model_copy(update={"pseudopotentials": str(tmp_path / "potpaw")})


def test_inputs_in_the_order_of_the_elements(tmp_path, data):
    folder = tmp_path / "work"
    folder.mkdir()
    settings = data.model_copy(update={"smearing_ev": 0.1, "spin_polarized": True, "kpoint_grid": "gamma"})
    VaspEngine(settings).write(replace(ASKED, engine=settings), Job(folder, remedies=("mixing", "eigensolver")))
    assert (folder / "POTCAR").read_text() == "data of Mg; ZVAL = 2.000\ndata of O; ZVAL = 6.000\n"
    lines = (folder / "POSCAR").read_text().splitlines()
    assert [lines[5].split(), lines[6].split()] == [["Mg", "O"], ["4", "4"]]
    incar = dict(line.split(" = ") for line in (folder / "INCAR").read_text().splitlines())
    assert float(incar["ENCUT"]) == settings.cutoff_ev
    assert (incar["ISMEAR"], incar["SIGMA"], incar["ISPIN"], incar["MAGMOM"]) == ("-1", "0.1", "2", "8*1.0")
    assert (incar["ALGO"], incar["AMIX"], incar["NSW"], incar["ISIF"]) == ("All", "0.1", "0", "2")
    assert (folder / "KPOINTS").read_text().splitlines()[2:4] == ["Gamma", "3 3 3"]


def test_a_grid_without_the_symmetry_of_the_lattice_is_not_reduced(data):
    cell = from_atoms(bulk("MgO", "rocksalt", 4.21))
    for kind, reduced in (("gamma", True), ("monkhorst-pack", False)):
        settings = data.model_copy(update={"kpoint_grid": kind, "kpoint_spacing_per_ang": 0.7})
        assert ("isym" in VaspEngine(settings).tags(cell, ())) is not reduced


def test_odd_electrons_without_smearing_are_refused(tmp_path, data):
    """VASP would half fill a band."""
    asked = replace(ASKED, structure=from_atoms(bulk("Al", "fcc", 4.04)))
    with pytest.raises(EngineFailure, match="cannot hold 3 electrons"):
        VaspEngine(data).write(asked, Job(tmp_path))
    VaspEngine(data.model_copy(update={"smearing_ev": 0.1})).write(asked, Job(tmp_path))


def test_licensed_data_sets_do_not_stay(tmp_path, data, monkeypatch):
    program = tmp_path / "vasp_std"
    program.write_text("#!/bin/sh\ncp POTCAR seen\n")
    program.chmod(0o755)
    monkeypatch.setenv("HPCMAT_VASP", str(program))
    (tmp_path / "work").mkdir()
    with pytest.raises(EngineFailure):
        VaspEngine(data).calculate(STRUCTURE, Job(tmp_path / "work"))
    kept = {path.name for path in (tmp_path / "work").iterdir()}
    assert {"seen", "POSCAR", "INCAR"} <= kept
    assert "POTCAR" not in kept


def test_data_sets_are_told_apart_and_asked_for(tmp_path, data, monkeypatch):
    method = VaspEngine(data).method({"Mg", "O"})
    assert [entry.split()[0] for entry in method.inputs] == ["POTCAR-Mg", "POTCAR-O"]
    monkeypatch.setenv("VASP_PP_PATH", str(tmp_path))
    with pytest.raises(InputError, match="potpaw_PBE/Si/POTCAR; name a folder"):
        VaspEngine(SETTINGS).check({"Si"})
    with pytest.raises(ValidationError, match="set cutoff_ev instead"):
        VaspSettings(extra={"ENCUT": 300})
    assert not CODE.tried
