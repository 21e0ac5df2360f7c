"""SIESTA in its documented formats: none runs here, so that files as its manual describes them are written by hand."""

from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.units import Bohr, Ry
from pydantic import ValidationError

from hpcmat.engines.base import EngineFailure, Job
from hpcmat.engines.external.calculation import Calculation
from hpcmat.engines.external.run import Ending
from hpcmat.engines.external.siesta import CODE, SiestaEngine
from hpcmat.engines.external.siesta_output import read_label
from hpcmat.engines.settings import SiestaSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Method

SETTINGS = SiestaSettings(code_version="4.1.5")
ATOMS = bulk("SiC", "zincblende", 4.36)
ATOMS.positions += [[0.02, 0.01, 0.0], [0.0, -0.03, 0.05]]
STRUCTURE = from_atoms(ATOMS)
ENERGY = -262.912345
FORCES = np.array([[0.412345, -0.2, 0.1], [-0.412345, 0.2, -0.1]])
STRESS = np.array([0.012, -0.02, 0.03, 0.004, -0.005, 0.006])
MATRIX = STRESS[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)
ASKED = Calculation(STRUCTURE, SETTINGS, Method("siesta", "4.1.5", "{}", ""))


def table(array, digits=6):
    return [" ".join(f"{x:13.{digits}f}" for x in row) for row in array]


def force_stress():
    """Energy in Ry, stress in Ry/bohr³, number of atoms, and for each its kind, charge and force in Ry/bohr."""
    lines = [f"{ENERGY / Ry:20.9f}", *table(MATRIX * Bohr**3 / Ry, 9), "  2"]
    forces = table(FORCES * Bohr / Ry, 9)
    return "\n".join([*lines, f" 1 14 {forces[0]} Si", f" 2 6 {forces[1]} C"]) + "\n"


def output():
    atoms = [f"{row}   {n}       {n}  X" for n, row in enumerate(table(ATOMS.positions, 8), 1)]
    forces = [f"siesta: {n:6d}{row}" for n, row in enumerate(table(FORCES), 1)]
    return "\n".join(
        [
            "Siesta Version  : 4.1.5",
            "outcoor: Atomic coordinates (Ang):",
            *atoms,
            "   scf:    1     -260.0     -261.0     -261.1  1.0  -4.0",
            "SCF cycle converged after 9 iterations",
            "siesta: Etot    =      -262.912300",
            f"siesta: FreeEng =      {ENERGY:.6f}",
            "siesta: Final energy (eV):",
            f"siesta:         Total =    {ENERGY:.6f}",
            "siesta: Atomic forces (eV/Ang):",
            *forces,
            "siesta: Stress tensor (static) (eV/Ang**3):",
            *(f"siesta: {row}" for row in table(MATRIX)),
            ">> End of run:  26-NOV-2026  10:00:00",
            "Job completed",
        ]
    )  # fmt: skip


def folder_with(folder, text=None, forces=None):
    (folder / "siesta.out").write_text(output() if text is None else text)
    (folder / "FORCE_STRESS").write_text(force_stress() if forces is None else forces)
    return folder


def failure_of(folder, asked=ASKED, code=0):
    with pytest.raises(EngineFailure) as caught:
        read_label(asked, folder, Ending(code))
    return caught.value


def test_numbers_come_back_in_our_units_and_signs(tmp_path):
    label = read_label(ASKED, folder_with(tmp_path), Ending(0))
    assert label.energy == pytest.approx(ENERGY, abs=1e-7)
    np.testing.assert_allclose(label.forces, FORCES, rtol=0, atol=1e-7)
    np.testing.assert_allclose(label.stress, STRESS, rtol=0, atol=1e-6)
    assert label.scf_steps == 9


@pytest.mark.parametrize(
    ("text", "code", "kind"),
    [
        (output().replace("SCF cycle converged", "SCF_NOT_CONV: SCF did not converge"), 1, FailureKind.NOT_CONVERGED),
        (output().partition("siesta: Final")[0], 0, FailureKind.CORRUPT_OUTPUT),
        (output().partition("siesta: Final")[0], -9, FailureKind.OUT_OF_MEMORY),
        ("ERROR: Pseudopotential file not found: C.psml\n", 1, FailureKind.BAD_SETTINGS),
        ("", 0, FailureKind.CORRUPT_OUTPUT),
        (output().replace("4.1.5", "5.0.0"), 0, FailureKind.BAD_SETTINGS),
        (output().replace("0.02000000", "0.03000000"), 0, FailureKind.CORRUPT_OUTPUT),
    ],
)
def test_failures_have_their_kind(tmp_path, text, code, kind):
    assert failure_of(folder_with(tmp_path, text), code=code).kind is kind


def test_damaged_files_never_give_another_label(tmp_path):
    truth, rng, given = read_label(ASKED, folder_with(tmp_path), Ending(0)), np.random.default_rng(4), 0
    for number in range(200):
        whole = (output(), force_stress())[number % 2]
        place = int(rng.integers(len(whole)))
        damaged = whole[:place] if number % 4 < 2 else whole[:place] + str(rng.integers(10)) + whole[place + 1 :]
        folder_with(tmp_path, **{("text", "forces")[number % 2]: damaged})
        try:
            label = read_label(ASKED, tmp_path, Ending(0))
        except EngineFailure:
            continue
        given += 1
        # What the output confirms: six decimals.
        assert label.energy == pytest.approx(truth.energy, abs=3e-6)
        np.testing.assert_allclose(label.forces, truth.forces, rtol=0, atol=3e-6)
        np.testing.assert_allclose(label.stress, truth.stress, rtol=0, atol=3e-6)
    assert 0 < given < 120


def test_input_is_the_documented_one(tmp_path):
    data, work = tmp_path / "data", tmp_path / "work"
    work.mkdir()
    data.mkdir()
    for symbol in ("Si", "C"):
        (data / f"{symbol}.psml").write_text(symbol)
    settings = SETTINGS.model_copy(update={"pseudopotentials": str(data), "extra": {"Diag.ParallelOverK": True}})
    engine = SiestaEngine(settings)
    engine.write(replace(ASKED, engine=settings), Job(work, remedies=("mixing",)))
    lines = (work / "siesta.fdf").read_text().splitlines()
    assert {"MeshCutoff 5500.0 eV", "SCF.Mixer.Weight 0.05", "SCF.MustConverge true", "Diag.ParallelOverK True"} <= set(
        lines
    )
    start = lines.index("%block ChemicalSpeciesLabel")
    assert lines[start + 1 : start + 4] == ["1 6 C", "2 14 Si", "%endblock ChemicalSpeciesLabel"]
    start = lines.index("%block kgrid_Monkhorst_Pack")
    assert lines[start + 1] == "5 0 0 0.0"
    assert (work / "C.psml").read_text() == "C"
    assert [entry.split()[0] for entry in engine.method({"Si", "C"}).inputs] == ["C.psml", "Si.psml"]
    with pytest.raises(InputError, match=r"no Ge\.psml"):
        engine.check({"Ge"})
    with pytest.raises(ValidationError, match="set density_tolerance instead"):
        SiestaSettings(extra={"DM.Tolerance": 1e-3})
    assert not CODE.tried
