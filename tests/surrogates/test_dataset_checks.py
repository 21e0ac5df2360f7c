"""Frames that are readable and wrong: each damage is told by its frames; sound sets are left alone."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.emt import EMT

from hpcmat.surrogates.dataset.checks import check_frames
from hpcmat.surrogates.dataset.data import Frame
from hpcmat.surrogates.dataset.rough_model import fit_rough_model

N = 30
CHOSEN = (3, 11, 12, 20)
HARTREE, BOHR, GPA = units.Ha, units.Bohr, units.GPa


def as_frames(labels):
    return tuple(Frame(index, label, "") for index, label in enumerate(labels))


@pytest.fixture(scope="session")
def silicon_frames(make):
    """Silicon from cold to very hot, at several strains."""
    shapes = [(0.05, 0.02), (0.08, 0.02), (0.12, 0.04)]
    return as_frames([make.label(make.silicon(seed, *shapes[seed % 3]), offset=0.0) for seed in range(N)])


@pytest.fixture(scope="session")
def alloy_frames(make):
    return as_frames([make.copper_gold(seed) for seed in range(N)])


def changed(frames, chosen, **change):
    """Frames with functions of a label's field applied to some of them."""
    return tuple(
        replace(
            frame, label=replace(frame.label, **{name: f(getattr(frame.label, name)) for name, f in change.items()})
        )
        if frame.index in chosen
        else frame
        for frame in frames
    )


def times(factor):
    return lambda value: factor * value


def found(frames):
    kept, problems = check_frames(frames)
    return kept, {problem.kind: problem for problem in problems}


def told(problems, kind):
    """Frames of all problems of one kind."""
    return {index for problem in problems if problem.kind == kind for index in problem.frames}


def test_sound_sets_are_left_alone(silicon_frames, alloy_frames):
    for frames in (silicon_frames, alloy_frames):
        kept, problems = check_frames(frames)
        assert kept == frames
        assert problems == ()


ENERGY_FACTORS = {
    "Hartree": 1 / HARTREE,
    "Rydberg": 2 / HARTREE,
    "kcal/mol": units.mol / units.kcal,
    "meV": 1000.0,
    "eV per atom": 1 / 8,
}


@pytest.mark.parametrize("unit", ENERGY_FACTORS)
@pytest.mark.parametrize("chosen", [CHOSEN, CHOSEN[:1]])
def test_energies_in_another_unit_are_named_and_left_out(silicon_frames, unit, chosen):
    kept, problems = found(changed(silicon_frames, chosen, energy=times(ENERGY_FACTORS[unit])))
    assert problems["mixed units"].frames == chosen
    assert problems["mixed units"].excluded
    assert unit in problems["mixed units"].message
    assert len(kept) == N - len(chosen)


@pytest.mark.parametrize(
    ("factor", "unit"),
    [(BOHR / HARTREE, "Ha/Bohr"), (2 * BOHR / HARTREE, "Ry/Bohr"), (-1.0, "opposite sign")],
)
@pytest.mark.parametrize("chosen", [CHOSEN, CHOSEN[:1]])
def test_forces_in_another_unit_are_told(alloy_frames, factor, unit, chosen):
    kept, problems = check_frames(changed(alloy_frames, chosen, forces=times(factor)))
    assert told(problems, "mixed units") == set(chosen)
    assert any(unit in problem.message for problem in problems)
    assert len(kept) == N


@pytest.mark.parametrize(
    ("factor", "unit"),
    [(-1.0, "opposite sign"), (1 / GPA, "GPa"), (10 / GPA, "kbar"), (-10 / GPA, "as VASP writes it")],
)
def test_stress_in_another_unit_is_told(alloy_frames, factor, unit):
    _, problems = check_frames(changed(alloy_frames, CHOSEN, stress=times(factor)))
    assert told(problems, "mixed units") <= set(CHOSEN)
    assert len(told(problems, "mixed units")) >= 3
    assert unit in problems[0].message
    _, problems = check_frames(changed(alloy_frames, range(N), stress=times(factor)))
    assert len(told(problems, "mixed units")) > 0.6 * N


@pytest.mark.parametrize("field", ["energy", "forces"])
@pytest.mark.parametrize("factor", [1 / HARTREE, units.mol / units.kcal])
def test_energies_and_forces_that_do_not_fit_each_other_are_told(alloy_frames, field, factor):
    _, problems = found(changed(alloy_frames, range(N), **{field: times(factor)}))
    assert "check the units of energy and forces" in problems["mixed units"].message


def test_forces_that_lead_uphill_everywhere_are_told(alloy_frames):
    _, problems = check_frames(changed(alloy_frames, range(N), forces=times(-1.0)))
    assert any("sign of the forces" in problem.message for problem in problems)


@pytest.mark.parametrize("shift", [-40.0, 40.0, 1e4])
def test_one_absurd_energy_is_left_out(silicon_frames, shift):
    kept, problems = found(changed(silicon_frames, (7,), energy=lambda energy: energy + shift))
    assert (problems["absurd energy"].frames, problems["absurd energy"].excluded) == ((7,), True)
    assert [frame.index for frame in kept] == [index for index in range(N) if index != 7]


def test_one_absurd_force_is_left_out(silicon_frames):
    def absurd(forces):
        forces = forces.copy()
        forces[2, 1] = 500.0
        return forces

    _, problems = found(changed(silicon_frames, (7,), forces=absurd))
    assert (problems["absurd forces"].frames, problems["absurd forces"].excluded) == ((7,), True)


def test_a_molecule_among_crystals_is_told_and_kept(silicon_frames, make):
    dimer = Atoms("Si2", [[0, 0, 0], [0, 0, 2.3]], cell=[20, 20, 20], pbc=True)
    label = replace(make.label(dimer, offset=0.0), energy=9.0)
    kept, problems = found((*silicon_frames, Frame(N, label, "")))
    assert problems["unusual energy"].frames == (N,)
    assert len(kept) == N + 1


def test_a_compressed_cell_may_have_large_forces(make):
    """Forces of 100 eV/Å come with short distances; those of a like frame without them do not."""
    frames = as_frames([make.label(make.silicon(seed, 0.02, 0.0), offset=0.0) for seed in range(12)])
    close = make.silicon(50, 0.02, 0.0)
    close.positions[1] = close.positions[0] + [0.75, 0.75, 0.75]
    kept, problems = found((*frames, Frame(12, make.label(close, offset=0.0), "")))
    assert abs(kept[-1].label.forces).max() > 20
    assert problems["large forces"].frames == (12,) and "absurd forces" not in problems
    assert len(kept) == 13


def test_hot_frames_among_resting_ones_are_kept(make):
    """Compressed crystals make short distances usual, so that only the rough potential excuses the hot frames."""
    resting = [make.label(make.silicon(seed, 0.01, 0.01), offset=0.0) for seed in range(30)]
    squeezed = make.silicon(60, 0.0, 0.0)
    squeezed.set_cell(0.8 * squeezed.cell.array, scale_atoms=True)
    hot = [make.label(make.silicon(seed, 0.25, 0.0), offset=0.0) for seed in range(70, 76)]
    frames = as_frames([*resting, make.label(squeezed, offset=0.0), *hot])
    kept, problems = found(frames)
    assert kept == frames
    assert problems["large forces"].frames and not problems["large forces"].excluded
    wrong = changed(frames, (31,), forces=times(30.0))
    assert found(wrong)[1]["absurd forces"].frames == (31,)


def test_atoms_too_close_are_left_out(silicon_frames, make):
    touching, coincident = make.silicon(1), make.silicon(2)
    touching.positions[1] = touching.positions[0] + [0.0, 0.0, 0.6]
    coincident.positions[1] = coincident.positions[0]
    like = silicon_frames[0].label
    extra = [
        Frame(N + k, replace(like, structure=replace(like.structure, positions=atoms.positions)), "")
        for k, atoms in enumerate((touching, coincident))
    ]
    kept, problems = found((*silicon_frames, *extra))
    assert problems["unphysical distance"].frames == (N,)
    assert problems["impossible geometry"].frames == (N + 1,)
    assert kept == silicon_frames


def test_net_force_is_told(silicon_frames):
    def pushed(forces):
        return forces + np.array([0.4, 0.0, 0.0])

    _, problems = found(changed(silicon_frames, (5,), forces=pushed))
    assert problems["net force"].frames == (5,) and not problems["net force"].excluded


def test_duplicates_and_contradictions_are_told(silicon_frames):
    copy = replace(silicon_frames[4], index=N)
    liar = replace(changed(silicon_frames, (9,), energy=lambda energy: energy + 0.5)[9], index=N + 1)
    moved = silicon_frames[6].label.structure
    near = replace(
        silicon_frames[6],
        index=N + 2,
        label=replace(silicon_frames[6].label, structure=replace(moved, positions=moved.positions + 0.01)),
    )
    kept, problems = found((*silicon_frames, copy, liar, near))
    assert problems["duplicate frames"].frames == (4, N)
    assert problems["contradictory frames"].frames == (9, N + 1)
    assert set(problems) == {"duplicate frames", "contradictory frames"}
    assert len(kept) == N + 3


def test_few_frames_give_no_statistics(silicon_frames):
    frames = changed(silicon_frames[:5], (2,), energy=times(1 / HARTREE))
    assert check_frames(frames)[0] == frames


def test_molecules_without_a_cell_are_checked_too(make):
    atoms = Atoms("CH4", [[0, 0, 0], [0.63] * 3, [-0.63, -0.63, 0.63], [0.63, -0.63, -0.63], [-0.63, 0.63, -0.63]])
    rng = np.random.default_rng(0)
    labels = []
    for _ in range(20):
        moved = atoms.copy()
        moved.positions += 0.05 * rng.normal(size=(5, 3))
        labels.append(make.label(moved, EMT(), offset=-300.0))
    frames = as_frames(labels)
    assert check_frames(frames) == (frames, ())
    _, problems = found(changed(frames, (3,), energy=times(1 / HARTREE)))
    assert problems["mixed units"].frames == (3,)


def test_the_rough_potential_is_one(alloy_frames):
    """Its forces and stress are derivatives of its energy, and it explains most of the labels."""
    model = fit_rough_model(alloy_frames)
    structure = alloy_frames[0].label.structure
    estimate, step, n = model.estimate(structure), 1e-5, len(structure)

    def slope(up, down):
        return n * (model.estimate(up).energy - model.estimate(down).energy) / (2 * step)

    for place in ((0, 0), (5, 2)):
        move = np.zeros((n, 3))
        move[place] = step
        up, down = (replace(structure, positions=structure.positions + sign * move) for sign in (1, -1))
        assert -slope(up, down) == pytest.approx(estimate.forces.reshape(n, 3)[place], abs=1e-6)
    volume = abs(np.linalg.det(structure.cell))
    for component, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        strain = np.zeros((3, 3))
        strain[i, j] += step / 2
        strain[j, i] += step / 2
        up, down = (
            replace(structure, positions=structure.positions @ shape, cell=structure.cell @ shape)
            for shape in (np.eye(3) + strain, np.eye(3) - strain)
        )
        assert slope(up, down) / volume == pytest.approx(estimate.stress[component], abs=1e-7)
    labels = np.concatenate([np.ravel(frame.label.forces) for frame in alloy_frames])
    rough = np.concatenate([model.estimate(frame.label.structure).forces for frame in alloy_frames])
    assert np.sqrt(np.mean((rough - labels) ** 2)) < 0.3 * np.sqrt(np.mean(labels**2))
