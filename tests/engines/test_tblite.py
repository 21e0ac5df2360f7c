"""Extended tight binding: units and signs by finite differences, cells for the Γ point, and how it fails."""

import importlib.metadata
import importlib.util
import os
import platform
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.collections import s22

from hpcmat.engines.acceptance import accept
from hpcmat.engines.base import EngineFailure, Job
from hpcmat.engines.labelling import LabelRequest, label_key, run_label
from hpcmat.engines.registry import check_engine
from hpcmat.engines.settings import TbliteSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.engines.tblite import LOG_NAME, TbliteEngine
from hpcmat.engines.verification import strained
from hpcmat.errors import InputError
from hpcmat.records import Failure, FailureKind, Label, Structure, decode, encode


@pytest.fixture(autouse=True)
def _tblite_is_here():
    if importlib.util.find_spec("tblite") is None:
        expected = "HPCMAT_CI" in os.environ and platform.machine() == "x86_64"
        (pytest.fail if expected else pytest.skip)("no tblite: pip install tblite, which has wheels for x86_64")


TIGHT = TbliteSettings(accuracy=0.01)
WATER = from_atoms(molecule("H2O"))


def silicon(seed=3, displacement=0.1):
    """A rattled, sheared cell."""
    atoms = bulk("Si", cubic=True)
    atoms.set_cell(atoms.cell.array @ np.array([[1.02, 0.03, 0], [0, 1, 0.01], [0, 0, 1]]), scale_atoms=True)
    atoms.positions += displacement * np.random.default_rng(seed).normal(size=(8, 3))
    return from_atoms(atoms)


def compute(structure, folder, settings=TIGHT, remedies=(), **options):
    return TbliteEngine(settings, **options).calculate(structure, Job(folder, remedies=remedies))


def failure_of(structure, folder, settings=TIGHT, **options):
    with pytest.raises(EngineFailure) as caught:
        compute(structure, folder, settings, **options)
    return caught.value


def moved(structure, atom, axis, distance):
    positions = np.array(structure.positions)
    positions[atom, axis] += distance
    return replace(structure, positions=positions)


@pytest.mark.parametrize("parameters", ["GFN1-xTB", "GFN2-xTB"])
def test_forces_and_stress_are_derivatives_of_the_energy(tmp_path, parameters):
    """Within 1e-3 eV/Å and 1e-4 eV/Å³ (16 MPa), of forces of 2 eV/Å and a stress of 0.1 eV/Å³; normal and shear."""
    settings = TbliteSettings(parameters=parameters, accuracy=0.01, kpoint_spacing_per_ang=2.0)
    structure = silicon()
    label = accept(compute(structure, tmp_path, settings))
    h = 0.005
    energies = [compute(moved(structure, 3, 1, step), tmp_path, settings).energy for step in (h, -h)]
    assert label.forces[3, 1] == pytest.approx(-(energies[0] - energies[1]) / (2 * h), abs=1e-3)
    volume = abs(np.linalg.det(structure.cell))
    for component, (i, j) in {0: (0, 0), 4: (0, 2)}.items():
        strain = np.zeros((3, 3))
        strain[i, j] += 5e-4
        strain[j, i] += 5e-4
        up, down = (compute(strained(structure, sign * strain), tmp_path, settings).energy for sign in (1, -1))
        # A normal strain is 1e-3, a shear 5e-4 twice, whose derivative is twice the component.
        assert label.stress[component] == pytest.approx((up - down) / (2e-3 * volume), abs=1e-4)
    assert abs(label.forces).max() > 0.5
    assert abs(label.stress).max() > 0.02


def test_a_molecule_has_forces_and_no_stress(tmp_path):
    label = accept(compute(WATER, tmp_path))
    h = 0.005
    energies = [compute(moved(WATER, 1, 2, step), tmp_path).energy for step in (h, -h)]
    assert label.forces[1, 2] == pytest.approx(-(energies[0] - energies[1]) / (2 * h), abs=3e-4)
    assert label.stress.shape == (0,)
    assert 3 < label.scf_steps < 30
    assert "total energy" in (tmp_path / LOG_NAME).read_text()


def test_the_hydrogen_bond_of_two_waters(tmp_path):
    """-5.02 kcal/mol by coupled clusters (S22: Jurecka et al., Phys. Chem. Chem. Phys. 8, 1985 (2006))."""
    dimer = from_atoms(s22["Water_dimer"])
    halves = [replace(dimer, symbols=dimer.symbols[part], positions=dimer.positions[part]) for part in HALVES]
    for parameters in ("GFN1-xTB", "GFN2-xTB"):
        settings = replace_settings(parameters=parameters)
        energy, *alone = (compute(structure, tmp_path, settings).energy for structure in (dimer, *halves))
        assert energy - sum(alone) == pytest.approx(-5.02 * 0.043364, abs=0.03)


HALVES = (slice(0, 3), slice(3, 6))


def replace_settings(**change):
    return TIGHT.model_copy(update=change)


def test_a_cell_too_small_for_one_k_point_is_refused(tmp_path):
    failure = failure_of(from_atoms(bulk("Si", cubic=True)), tmp_path)
    assert failure.kind is FailureKind.BAD_SETTINGS
    assert "needs 2 x 2 x 2 k-points" in failure.message
    assert "at least 10.5 Å" in failure.message
    with pytest.raises(InputError, match="needs 4 x 4 x 4 k-points"):
        check_engine(TIGHT, {"Si"}, [from_atoms(bulk("Si"))])
    check_engine(TIGHT, {"Si"}, [from_atoms(bulk("Si", cubic=True) * (2, 2, 2)), WATER])
    # What is refused would have been wrong: 0.9 eV per atom.
    wide = TbliteSettings(kpoint_spacing_per_ang=2.0)
    small, large = (compute(from_atoms(bulk("Si", cubic=True) * (n, 1, 1)), tmp_path, wide) for n in (1, 2))
    assert abs(small.energy / 8 - large.energy / 16) > 0.1


def test_a_slab_is_refused_since_it_would_be_computed_as_a_crystal(tmp_path):
    slab = replace(silicon(), pbc=(True, True, False))
    assert "as periodic along all" in failure_of(slab, tmp_path, TbliteSettings(kpoint_spacing_per_ang=2.0)).message


CROWDED = Structure(("H", "H"), np.array([[0.0, 0, 0], [0.0, 0, 0]]), np.zeros((3, 3)), (False,) * 3)
NOWHERE = replace(WATER, positions=np.where(np.arange(9).reshape(3, 3) == 4, np.nan, WATER.positions))


@pytest.mark.parametrize(
    ("structure", "settings", "options", "kind"),
    [
        (WATER, TIGHT, {"scf_steps": 2}, FailureKind.NOT_CONVERGED),
        (CROWDED, TIGHT, {}, FailureKind.UNPHYSICAL),
        (NOWHERE, TIGHT, {}, FailureKind.DIAGONALIZATION),
        (WATER, TbliteSettings(unpaired_electrons=1), {}, FailureKind.BAD_SETTINGS),
        (replace(WATER, symbols=("U", "H", "H")), TIGHT, {}, FailureKind.BAD_SETTINGS),
    ],
)
def test_real_failures_have_their_kind(tmp_path, structure, settings, options, kind):
    assert failure_of(structure, tmp_path, settings, **options).kind is kind
    assert (tmp_path / LOG_NAME).exists()


def test_remedies_cure_and_lead_to_the_same_answer(tmp_path):
    plain = compute(WATER, tmp_path)
    assert failure_of(WATER, tmp_path, scf_steps=2).kind is FailureKind.NOT_CONVERGED
    for remedies in (("mixing", "more-steps"), ("mixing", "more-steps", "eigensolver")):
        cured = compute(WATER, tmp_path, remedies=remedies, scf_steps=2)
        assert cured.energy == pytest.approx(plain.energy, abs=1e-6)
        assert cured.scf_steps > 2


def test_charge_and_spin_are_physics(tmp_path):
    energies = {
        (charge, unpaired): compute(
            WATER, tmp_path, TbliteSettings(charge_e=charge, unpaired_electrons=unpaired)
        ).energy
        for charge, unpaired in ((0, 0), (0, 2), (1, 1))
    }
    assert energies[0, 2] > energies[0, 0] + 3.0
    # The ionization energy of water is 12.6 eV.
    assert 8.0 < energies[1, 1] - energies[0, 0] < 22.0


def test_through_the_labelling_task(tmp_path):
    label = decode(Label, run_label(encode(LabelRequest(WATER, TIGHT)), tmp_path, 1))
    assert label.energy == compute(WATER, tmp_path).energy
    assert label.method.code == "tblite"
    assert label.method.version == importlib.metadata.version("tblite")
    small = from_atoms(bulk("Si"))
    assert (
        decode(Failure, run_label(encode(LabelRequest(small, TIGHT)), tmp_path, 1)).failure is FailureKind.BAD_SETTINGS
    )
    keys = {label_key(WATER, settings) for settings in (TIGHT, TbliteSettings(), replace_settings(charge_e=1))}
    assert len(keys) == 3


def test_elements_beyond_radon_and_a_missing_package(monkeypatch):
    with pytest.raises(InputError, match="no U; use another"):
        TbliteEngine(TIGHT).check({"H", "U"})
    TbliteEngine(TIGHT).check({"Rn"})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "hpcmat\[tblite\]"'):
        TbliteEngine(TIGHT).check({"H"})
