"""Errors on a data set against errors computed from predictions, and a fit from a data set."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hpcmat.errors import InputError
from hpcmat.surrogates.dataset.data import Dataset, Frame, LabelKeys
from hpcmat.surrogates.evaluation import errors_on, evaluate_dataset
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.trainer import FitOptions, fit_dataset, settings_for

GROUPS = ("cold", "hot", "Elastic")
KEYS = LabelKeys("REF_energy", "REF_forces", "REF_stress")


def dataset_of(labels, groups=GROUPS, elements=("Si",), **changes):
    frames = tuple(Frame(2 * k, label, groups[k % len(groups)]) for k, label in enumerate(labels))
    return replace(Dataset("set.xyz", "ab" * 32, KEYS, frames, (), elements, n_read=2 * len(frames)), **changes)


@pytest.fixture(scope="module")
def dataset(test_labels):
    return dataset_of(test_labels)


def errors_by_hand(potential, frames):
    """Errors of energy (meV/atom), forces and stress, from predictions alone."""
    pairs = [(frame.label, potential.predict(frame.label.structure)) for frame in frames]
    energy = np.array([1e3 * (p.energy - label.energy) / len(label.structure) for label, p in pairs])
    forces = np.concatenate([np.ravel(p.forces - label.forces) for label, p in pairs])
    volumes = [abs(np.linalg.det(label.structure.cell)) / len(label.structure) for label, _ in pairs]
    offset = potential.metadata.stress_offset_ev * np.array([1, 1, 1, 0, 0, 0])
    stress = np.concatenate(
        [p.stress + offset / v - label.stress for (label, p), v in zip(pairs, volumes, strict=True)]
    )
    return energy, forces, stress


def rms(values):
    return np.sqrt(np.mean(values**2))


def check(figures, potential, frames):
    energy, forces, stress = errors_by_hand(potential, frames)
    assert figures.n_frames == len(frames)
    # Energies are differences of 40 000 eV.
    assert figures.energy_rmse_mev_per_atom == pytest.approx(rms(energy), rel=1e-4)
    assert figures.energy_mae_mev_per_atom == pytest.approx(np.mean(abs(energy)), rel=1e-4)
    assert figures.forces_rmse_ev_per_ang == pytest.approx(rms(forces))
    assert figures.forces_mae_ev_per_ang == pytest.approx(np.mean(abs(forces)))
    assert figures.stress_rmse_ev_per_ang3 == pytest.approx(rms(stress))
    assert figures.stress_mae_ev_per_ang3 == pytest.approx(np.mean(abs(stress)))


def test_errors_in_all_by_group_and_without_groups(potential, dataset):
    found = evaluate_dataset(potential, dataset, ("Elastic",))
    check(found.total, potential, dataset.frames)
    assert tuple(name for name, _ in found.groups) == GROUPS
    for name, figures in found.groups:
        check(figures, potential, [frame for frame in dataset.frames if frame.group == name])
    check(found.remaining, potential, [frame for frame in dataset.frames if frame.group != "Elastic"])
    assert found.remaining.n_frames < found.total.n_frames
    assert evaluate_dataset(potential, dataset).remaining is None


def test_uncertainties_are_judged(potential, dataset):
    sigma = np.concatenate(
        [np.sqrt(potential.force_variance_of(potential.design(f.label.structure))).ravel() for f in dataset.frames]
    )
    z = errors_by_hand(potential, dataset.frames)[1] / sigma
    figures = evaluate_dataset(potential, dataset).total
    assert figures.forces_rms_z == pytest.approx(rms(z))
    assert figures.forces_coverage_95 == pytest.approx(np.mean(abs(z) < 1.959964))
    plain = replace(potential, label_noise=None)
    bold = replace(plain, noise=1e-3 * plain.noise, covariance_factor=1e-3 * plain.covariance_factor)
    expected = 1e3 * evaluate_dataset(plain, dataset).total.forces_rms_z
    assert evaluate_dataset(bold, dataset).total.forces_rms_z == pytest.approx(expected)


def test_labels_without_forces_or_stress_give_no_such_figures(potential, dataset):
    def bare(frame):
        return replace(frame, label=replace(frame.label, forces=np.empty((0, 3)), stress=np.empty(0)))

    some = replace(dataset, frames=(bare(dataset.frames[0]), *dataset.frames[1:4]))
    figures = evaluate_dataset(potential, some).total
    energy = errors_by_hand(potential, dataset.frames[:4])[0]
    forces, stress = errors_by_hand(potential, dataset.frames[1:4])[1:]
    assert figures.energy_rmse_mev_per_atom == pytest.approx(rms(energy), rel=1e-4)
    assert figures.forces_rmse_ev_per_ang == pytest.approx(rms(forces))
    assert figures.stress_rmse_ev_per_ang3 == pytest.approx(rms(stress))
    none = evaluate_dataset(potential, replace(dataset, frames=(bare(dataset.frames[0]),))).total
    assert none.forces_rmse_ev_per_ang is none.stress_mae_ev_per_ang3 is none.forces_rms_z is None
    assert [name for name, _ in none.named()] == ["energy_rmse_ev_per_atom", "energy_mae_ev_per_atom"]


def test_named_errors_are_in_ev(potential, dataset):
    total = evaluate_dataset(potential, dataset).total
    named = dict(total.named())
    assert named["energy_rmse_ev_per_atom"] == pytest.approx(1e-3 * total.energy_rmse_mev_per_atom)
    assert named["forces_mae_ev_per_ang"] == total.forces_mae_ev_per_ang
    assert errors_on(potential, dataset) == total.named()


def test_error_bars_are_judged_where_that_is_asked(potential, dataset):
    found = evaluate_dataset(potential, dataset, error_bars=True)
    bars = found.error_bars
    assert bars.forces.components.rms_z == pytest.approx(found.total.forces_rms_z)
    assert bars.energy.rms_z == pytest.approx(found.total.energy_rms_z)
    assert 0 < bars.forces.rank.ceiling_error < 0.2 and bars.forces.rank.observed_error > 0
    assert evaluate_dataset(potential, dataset).error_bars is None


def test_what_cannot_be_evaluated_is_refused(potential, dataset, make):
    with pytest.raises(InputError, match=r"group Surface; its groups are cold, hot, Elastic"):
        evaluate_dataset(potential, dataset, ("Surface",))
    with pytest.raises(InputError, match="no frame to compare"):
        evaluate_dataset(potential, replace(dataset, frames=()))
    with pytest.raises(InputError, match="knows Si, not"):
        evaluate_dataset(potential, dataset_of([make.copper_gold(0)]))


def test_a_fit_remembers_its_file(train_labels, tmp_path):
    train = dataset_of(train_labels[:12], isolated=(("Si", -4990.0),))
    bare = replace(train.frames[3], label=replace(train.frames[3].label, forces=np.empty((0, 3))))
    train = replace(train, frames=(*train.frames[:3], bare, *train.frames[4:]))
    fitted = fit_dataset(train, FitOptions("small", cutoff_ang=4.5, seed=3))
    fitted.save(tmp_path / "p.npz")
    metadata = Potential.load(tmp_path / "p.npz").metadata
    source = metadata.train_file
    assert (source.file, source.sha256, source.n_read, source.n_used) == ("set.xyz", "ab" * 32, 24, 11)
    assert source.left_out == (6,)
    assert source.isolated_atoms == (("Si", -4990.0),)
    assert dict(metadata.fit_options) == {"size": "small", "cutoff_ang": "4.5", "seed": "3"}
    assert dict(metadata.train_errors)["forces_rmse_ev_per_ang"] == pytest.approx(
        evaluate_dataset(fitted, train).total.forces_rmse_ev_per_ang
    )
    assert (fitted.settings.cutoff_ang, fitted.settings.seed, fitted.settings.size) == (4.5, 3, "small")


def test_files_from_before_there_were_data_files_are_read(potential, tmp_path):
    potential.save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as archive:
        arrays = dict(archive)
    header = json.loads(str(arrays["header"]))
    for name in ("train_file", "test_file", "fit_options"):
        del header["metadata"][name]
    np.savez(tmp_path / "old.npz", **arrays | {"header": np.array(json.dumps(header))})
    assert Potential.load(tmp_path / "old.npz").metadata == potential.metadata
    assert potential.metadata.train_file is None


def test_settings_are_those_asked_for(dataset):
    assert settings_for(dataset, FitOptions()).elements == ("Si",)
    assert settings_for(dataset, FitOptions("large", 6.0, 1)).cutoff_ang == 6.0
    with pytest.raises(InputError, match="cutoff_ang"):
        settings_for(dataset, FitOptions(cutoff_ang=0.5))


def test_a_fit_without_forces_is_refused(dataset):
    bare = tuple(replace(f, label=replace(f.label, forces=np.empty((0, 3)))) for f in dataset.frames)
    with pytest.raises(InputError, match="--forces-key"):
        fit_dataset(replace(dataset, frames=bare), FitOptions())
