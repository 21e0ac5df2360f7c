"""Failures provoked with the real codes: what they say, which kind it is, and what the ladder makes of it."""

import contextlib
import errno
import os
import signal
import subprocess
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.base import EngineFailure, Job, machine_failure
from hpcmat.engines.external.errors import sloshes
from hpcmat.engines.external.espresso_failures import check_failures
from hpcmat.engines.external.espresso_output import _check_bands
from hpcmat.engines.external.run import Ending
from hpcmat.engines.ladder import next_remedies
from hpcmat.engines.registry import engine_for
from hpcmat.engines.settings import AbinitSettings, EspressoSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.errors import StorageError
from hpcmat.records import FailureKind

SETTINGS = {"espresso": EspressoSettings, "abinit": AbinitSettings}
PROGRAMS = {"espresso": "pw.x", "abinit": "abinit"}
VERSIONS = {"espresso": "HPCMAT_ESPRESSO", "abinit": "HPCMAT_ABINIT"}
INPUTS = {"espresso": "pw.in", "abinit": "run.abi"}
BANDS = {"espresso": {"system": {"nbnd": 2}}, "abinit": {"nband": 2}}


def silicon(a=5.47):
    atoms = bulk("Si", "diamond", a)
    atoms.rattle(0.05, seed=1)
    return from_atoms(atoms)


ALUMINIUM = from_atoms(bulk("Al", "fcc", 4.04))


@pytest.fixture
def engine(pw, abinit, gth):
    def make(name, scf_steps=None, **settings):
        defaults = {"pseudopotentials": str(gth), "cutoff_ev": 150.0, "kpoint_spacing_per_ang": 1.3}
        plain = engine_for(SETTINGS[name](**(defaults | {"kpoint_grid": "gamma"} | settings)))
        return plain if scf_steps is None else type(plain)(plain.settings, scf_steps)

    return make


def attempt(engine, structure, folder, number=1, remedies=(), walltime_s=None):
    folder = folder / f"attempt-{number}"
    folder.mkdir(parents=True)
    return engine.calculate(structure, Job(folder, number, remedies, walltime_s=walltime_s))


def failure_of(engine, structure, folder, **options):
    with pytest.raises(EngineFailure) as caught:
        attempt(engine, structure, folder, **options)
    return caught.value


def climb(engine, structure, folder):
    """Kinds of the failures on the way, and the label or None."""
    kinds, tried, remedies = [], (), ()
    while remedies is not None:
        try:
            return kinds, attempt(engine, structure, folder, len(tried) + 1, remedies)
        except EngineFailure as failure:
            kinds.append(failure.kind)
            tried += (remedies,)
            remedies = next_remedies(failure.record, tried)
    return kinds, None


@pytest.mark.parametrize("name", SETTINGS)
def test_too_few_steps_are_cured_by_more(engine, tmp_path, name):
    kinds, label = climb(engine(name, scf_steps=4), silicon(), tmp_path)
    assert kinds == [FailureKind.NOT_CONVERGED] * 2
    reference = attempt(engine(name), silicon(), tmp_path / "reference")
    assert label.energy == pytest.approx(reference.energy, abs=1e-5)
    np.testing.assert_allclose(label.forces, reference.forces, atol=2e-3)


@pytest.mark.parametrize("name", SETTINGS)
def test_bands_that_a_metal_lacks_are_added(engine, tmp_path, name):
    """Both codes compute without them, and neither ends with an error."""
    lacking = engine(name, smearing_ev=0.2, extra=BANDS[name], kpoint_spacing_per_ang=1.0)
    kinds, label = climb(lacking, ALUMINIUM, tmp_path)
    assert kinds == [FailureKind.TOO_FEW_BANDS]
    whole = engine(name, smearing_ev=0.2, kpoint_spacing_per_ang=1.0)
    assert label.energy == pytest.approx(attempt(whole, ALUMINIUM, tmp_path / "reference").energy, abs=1e-4)


@pytest.mark.parametrize("name", SETTINGS)
def test_bands_that_an_insulator_lacks_are_added(engine, tmp_path, name):
    kinds, label = climb(engine(name, extra=BANDS[name]), silicon(), tmp_path)
    assert (kinds, label is None) == ([FailureKind.TOO_FEW_BANDS], False)


def test_a_symmetry_that_abinit_cannot_handle_is_left_out(engine, tmp_path):
    kinds, label = climb(engine("abinit", extra={"chksymtnons": 1}), silicon(), tmp_path)
    assert kinds == [FailureKind.SYMMETRY]
    assert label.energy == pytest.approx(attempt(engine("abinit"), silicon(), tmp_path / "reference").energy, abs=1e-5)


def test_a_charge_that_fixed_occupations_cannot_hold_is_reported(engine, tmp_path):
    failure = failure_of(engine("espresso", extra={"system": {"tot_charge": 1.0}}), silicon(), tmp_path)
    assert failure.kind is FailureKind.BAD_SETTINGS
    assert "charge is wrong: smearing is needed" in failure.message
    assert "engine.smearing_ev" in failure.message


@pytest.mark.parametrize("name", SETTINGS)
def test_more_bands_than_plane_waves_are_reported(engine, tmp_path, name):
    extra = {"espresso": {"system": {"nbnd": 200}}, "abinit": {"nband": 200}}[name]
    failure = failure_of(engine(name, cutoff_ev=60.0, extra=extra), silicon(), tmp_path)
    assert failure.kind is FailureKind.BAD_SETTINGS
    assert "engine.cutoff_ev" in failure.message


@pytest.mark.parametrize("name", SETTINGS)
def test_exhausted_memory_is_recognised(engine, tmp_path, monkeypatch, name):
    """An address space of 1.5 GB holds the program and its MPI, not a density of this cutoff."""
    large = engine(name, cutoff_ev=60000.0, code_version=engine(name).method({"Si"}).version)
    limited = f"timeout -s KILL 60 prlimit --as=1500000000 {PROGRAMS[name]}"
    monkeypatch.setenv(VERSIONS[name], limited)
    assert failure_of(large, silicon(), tmp_path).kind is FailureKind.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("name", "number", "kind"),
    [
        ("espresso", signal.SIGKILL, FailureKind.OUT_OF_MEMORY),
        ("espresso", signal.SIGTERM, FailureKind.KILLED),
        ("espresso", signal.SIGSEGV, FailureKind.CRASH),
        ("abinit", signal.SIGKILL, FailureKind.OUT_OF_MEMORY),
    ],
)
def test_signals_are_told_apart(engine, tmp_path, monkeypatch, name, number, kind):
    """The program receives the signal in its first cycle, as from the kernel, the scheduler, or its own fault."""
    version = engine(name).method({"Si"}).version
    script = tmp_path / "struck"
    script.write_text(
        f'#!/bin/sh\nout={"pw.out" if name == "espresso" else "log.txt"}\n{PROGRAMS[name]} "$@" &\n'
        "while kill -0 $! && ! grep -qs -e 'iteration #  1' -e 'ETOT  1' $out; do sleep 0.02; done 2>/dev/null\n"
        f"kill -{int(number)} $!\nwait $!\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv(VERSIONS[name], str(script))
    slow = engine(name, cutoff_ev=500.0, kpoint_spacing_per_ang=0.5, code_version=version)
    assert failure_of(slow, silicon(), tmp_path).kind is kind


@pytest.mark.parametrize("name", SETTINGS)
def test_a_pseudopotential_cut_short_is_reported(engine, gth, tmp_path, name):
    source = gth / "Si.gth"
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "Si.gth").write_text("\n".join(source.read_text().splitlines()[:5]) + "\n")
    failure = failure_of(engine(name, pseudopotentials=str(tmp_path / "cut")), silicon(), tmp_path)
    assert failure.kind is FailureKind.BAD_SETTINGS
    assert "cut short" in failure.message


@pytest.mark.parametrize("name", SETTINGS)
def test_an_output_that_ends_early_although_the_program_ended_well(engine, tmp_path, monkeypatch, name):
    """As a full or failing file system leaves it."""
    version = engine(name).method({"Si"}).version
    output = "pw.out" if name == "espresso" else "run.abo"
    script = tmp_path / "lossy"
    script.write_text(f'#!/bin/sh\n{PROGRAMS[name]} "$@"\ntruncate -s -3000 {output}\n')
    script.chmod(0o755)
    monkeypatch.setenv(VERSIONS[name], str(script))
    assert failure_of(engine(name, code_version=version), silicon(), tmp_path).kind is FailureKind.CORRUPT_OUTPUT


def test_a_full_disk_is_the_machine_s_fault(engine, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(folder)]).returncode:
        (pytest.fail if "HPCMAT_CI" in os.environ else pytest.skip)("a small file system cannot be mounted here")
    try:
        with pytest.raises((EngineFailure, StorageError)) as caught:
            attempt(engine("espresso"), silicon(), folder)
        error = caught.value
        kind = error.kind if isinstance(error, EngineFailure) else machine_failure(error).kind
        assert kind is FailureKind.DISK_FULL
        if isinstance(error, StorageError):
            assert error.__cause__.errno == errno.ENOSPC
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    ("name", "sign", "cutoff_ev", "spacing"),
    # ABINIT counts whole seconds, of which this takes several.
    [("espresso", "restart", 300.0, 0.9), ("abinit", "irdwfk", 500.0, 0.45)],
)
def test_what_the_walltime_ends_is_gone_on_with(engine, tmp_path, name, sign, cutoff_ev, spacing):
    """Both codes stop by themselves after two steps or so, and the next attempt begins where they stopped."""
    long = engine(name, cutoff_ev=cutoff_ev, kpoint_spacing_per_ang=spacing)
    failure = failure_of(long, silicon(), tmp_path, walltime_s=0.2)
    assert failure.kind is FailureKind.WALLTIME
    assert next_remedies(failure.record, ((),)) == ()
    label = attempt(long, silicon(), tmp_path, number=2)
    assert sign in (tmp_path / "attempt-2" / INPUTS[name]).read_text()
    assert not (tmp_path / "attempt-1" / "scratch").exists()
    reference = attempt(long, silicon(), tmp_path / "reference")
    # pw.x stops within its first step here, so that there is nothing to save.
    assert label.scf_steps < reference.scf_steps or name == "espresso"
    assert sign not in (tmp_path / "reference" / "attempt-1" / INPUTS[name]).read_text()
    assert label.energy == pytest.approx(reference.energy, abs=1e-6)
    np.testing.assert_allclose(label.forces, reference.forces, atol=1e-3)


def test_what_was_killed_is_not_gone_on_with(engine, tmp_path):
    """What it left may be half written."""
    earlier = tmp_path / "attempt-1" / "scratch" / "pw.save"
    earlier.mkdir(parents=True)
    (earlier / "charge-density.dat").write_text("half")
    attempt(engine("espresso"), silicon(), tmp_path, number=2)
    assert "restart" not in (tmp_path / "attempt-2" / "pw.in").read_text()
    assert not earlier.exists()


def test_another_version_than_the_key_names_is_refused(engine, tmp_path):
    failure = failure_of(engine("espresso", code_version="7.3"), silicon(), tmp_path)
    assert failure.kind is FailureKind.BAD_SETTINGS
    assert "engine.code_version" in failure.message


def test_a_cell_without_periodicity_is_refused(engine, tmp_path):
    molecule = bulk("Si", "diamond", 5.47)
    molecule.pbc = False
    assert failure_of(engine("espresso"), from_atoms(molecule), tmp_path).kind is FailureKind.BAD_SETTINGS


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("davcio (10):\n     error while writing to file", FailureKind.DISK_FULL),
        # A full disk stops the campaign: a file that cannot be read must not pass for one.
        ("davcio (10):\n     error while reading from file", FailureKind.CRASH),
    ],
)
def test_writing_and_reading_fail_differently(tmp_path, said, kind):
    (tmp_path / "pw.out").write_text(f" %%%%\n     Error in routine {said}\n %%%%\n\n     stopping ...\n")
    with pytest.raises(EngineFailure) as caught:
        check_failures(tmp_path, Ending(1))
    assert caught.value.kind is kind


@pytest.mark.parametrize(("highest", "enough"), [(0.001, True), (0.02, False), (-0.025, False)])
def test_the_highest_band_must_be_empty(highest, enough):
    """Methfessel-Paxton occupations are negative a width above the Fermi energy."""
    bands = f"<lsda>false</lsda><smearing/><ks_energies><occupations>1.0 {highest}</occupations></ks_energies>"
    with contextlib.nullcontext() if enough else pytest.raises(EngineFailure, match="use more bands"):
        _check_bands(ElementTree.fromstring(f"<output><band_structure>{bands}</band_structure></output>"))


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        ([1.0 * 0.7**n for n in range(60)], False),
        ([1.0, 0.5, 0.3, *[0.4, 2.0, 0.9] * 20], True),
        ([1.0, 0.5, 0.3], False),
        ([], False),
    ],
)
def test_sloshing_is_told_from_slow_convergence(accuracy, verdict):
    assert sloshes(accuracy) is verdict
