"""Real outputs, damaged in any way: never another label than the true one."""

import shutil

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.base import Job
from hpcmat.engines.external.cp2k_failures import OUTPUT_NAME as CP2K_OUTPUT
from hpcmat.engines.external.cp2k_output import SCINE_NAME
from hpcmat.engines.external.parsing import parse
from hpcmat.engines.registry import engine_for
from hpcmat.engines.settings import AbinitSettings, Cp2kSettings, EspressoSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.records import Failure

MUTATIONS = 300
"""For each code."""
FILES = {"espresso": ("pw.out", "pw.xml"), "abinit": ("run.abo", "log.txt"), "cp2k": (CP2K_OUTPUT, SCINE_NAME)}


@pytest.fixture(scope="module")
def outputs(pw, abinit, cp2k, gth, tmp_path_factory):
    """Folder of a true output of each code, with a stress."""
    silicon = bulk("Si", "diamond", 5.47)
    silicon.rattle(0.05, seed=1)
    folders = {}
    for settings in (
        EspressoSettings(cutoff_ev=150.0, kpoint_spacing_per_ang=1.3),
        AbinitSettings(pseudopotentials=str(gth), cutoff_ev=150.0, kpoint_spacing_per_ang=1.3),
        Cp2kSettings(basis="SZV-MOLOPT-SR-GTH", cutoff_ev=1500.0, relative_cutoff_ev=400.0, kpoint_spacing_per_ang=3.0),
    ):
        folders[settings.name] = tmp_path_factory.mktemp(settings.name)
        engine_for(settings).calculate(from_atoms(silicon), Job(folders[settings.name]))
    return folders


def cut(data, rng):
    return data[: rng.integers(len(data))]


def delete_bytes(data, rng):
    start = int(rng.integers(len(data)))
    return data[:start] + data[start + int(rng.integers(1, 200)) :]


def drop_lines(data, rng):
    lines = data.splitlines(keepends=True)
    start = int(rng.integers(len(lines)))
    return b"".join(lines[:start] + lines[start + int(rng.integers(1, 6)) :])


def repeat_lines(data, rng):
    lines = data.splitlines(keepends=True)
    start = int(rng.integers(len(lines)))
    return b"".join(lines[: start + int(rng.integers(1, 6))] + lines[start:])


def change_digit(data, rng):
    places = np.flatnonzero(np.isin(np.frombuffer(data, np.uint8), np.frombuffer(b"0123456789", np.uint8)))
    changed = bytearray(data)
    place = int(rng.choice(places))
    changed[place] = 48 + (changed[place] - 48 + int(rng.integers(1, 10))) % 10
    return bytes(changed)


def change_digit_of_the_result(data, rng):
    """Where it would do most harm: in the lines from the convergence on."""
    marks = (b"!    total energy", b"<output>", b"cartesian forces (hartree/bohr)", b" ENERGY| ", b"\nenergy: [")
    start = max(data.rfind(mark) for mark in marks)
    return data[: max(start, 0)] + change_digit(data[max(start, 0) :], rng)


def flip_sign(data, rng):
    places = [i for i in range(1, len(data) - 1) if data[i] == ord("-") and chr(data[i + 1]).isdigit()]
    if not places:
        return data[1:]
    place = int(rng.choice(places))
    return data[:place] + b" " + data[place + 1 :]


def overwrite(data, rng):
    start = int(rng.integers(len(data)))
    return data[:start] + rng.bytes(int(rng.integers(1, 100))) + data[start + 50 :]


def zero_block(data, rng):
    """As a file system leaves it that lost a block."""
    start = int(rng.integers(len(data))) // 512 * 512
    return data[:start] + bytes(len(data[start : start + 512])) + data[start + 512 :]


KINDS = (
    cut,
    delete_bytes,
    drop_lines,
    repeat_lines,
    change_digit,
    change_digit_of_the_result,
    flip_sign,
    overwrite,
    zero_block,
)


def differs(label, true):
    return not (
        label.energy == pytest.approx(true.energy, abs=1e-9, rel=0)
        and np.allclose(label.forces, true.forces, rtol=0, atol=1e-9)
        and label.stress.shape == true.stress.shape
        and np.allclose(label.stress, true.stress, rtol=0, atol=1e-9)
        and label.scf_steps == true.scf_steps
    )


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_output_is_refused_or_harmless(outputs, name, tmp_path):
    folder = shutil.copytree(outputs[name], tmp_path / "copy")
    true = parse(folder)
    rng = np.random.default_rng(7)
    originals = {file: (folder / file).read_bytes() for file in FILES[name]}
    refused, wrong = 0, []
    for number in range(MUTATIONS):
        kind, file = KINDS[number % len(KINDS)], FILES[name][number // len(KINDS) % 2]
        (folder / file).write_bytes(kind(originals[file], rng))
        result = parse(folder)
        (folder / file).write_bytes(originals[file])
        refused += isinstance(result, Failure)
        if not isinstance(result, Failure) and differs(result, true):
            wrong.append((number, kind.__name__, file, result.energy - true.energy))
    assert not wrong
    # Damage where nothing of the result stands is harmless; elsewhere it is found.
    assert MUTATIONS // 6 < refused < MUTATIONS
    assert not differs(parse(folder), true)


@pytest.mark.parametrize("name", FILES)
def test_every_digit_of_the_results_is_guarded(outputs, name, tmp_path):
    """Each digit of energy, forces and stress, changed alone in the file that labels are read from."""
    folder = shutil.copytree(outputs[name], tmp_path / "copy")
    true = parse(folder)
    file = folder / FILES[name][0]
    text = file.read_text()
    marks = {
        "espresso": ("!    total energy", "     Forces acting", "total   stress"),
        "abinit": ("           etotal ", "            fcart", "           strten", "cartesian forces (hartree/bohr)"),
        "cp2k": (" ENERGY| ", " ATOMIC FORCES", " STRESS| Analytical"),
    }[name]
    checked = 0
    for mark in marks:
        start = text.rindex(mark)
        for place in range(start, start + 330):
            if text[place].isdigit():
                file.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
                result = parse(folder)
                assert isinstance(result, Failure) or not differs(result, true), text[place - 40 : place + 20]
                checked += 1
    assert checked > 200


def test_without_the_cross_check_damage_would_pass(outputs, tmp_path, monkeypatch):
    from hpcmat.engines.external import espresso_output

    folder = shutil.copytree(outputs["espresso"], tmp_path / "copy")
    true = parse(folder)
    text = (folder / "pw.out").read_text()
    start = text.rindex("!    total energy")
    (folder / "pw.out").write_text(text[:start] + text[start:].replace("-15.", "-16.", 1))
    assert isinstance(parse(folder), Failure)
    monkeypatch.setattr(espresso_output, "_confirm", lambda result, xml: None)
    assert differs(parse(folder), true)
