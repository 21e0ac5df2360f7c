import json
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read

from hpcmat.engines.dynamics import DynamicsSettings, _sample, run_dynamics
from hpcmat.engines.exploration import (
    ROWS_NAME,
    TRAJECTORY_NAME,
    ExploreConditions,
    ExploreRequest,
    ExploreResult,
    explore_key,
    run_explore,
    warm_up,
)
from hpcmat.engines.labelling import LabelRequest, run_label
from hpcmat.engines.sampling import cold_start, repeated, strained
from hpcmat.engines.settings import TeacherSettings
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.errors import InputError
from hpcmat.records import (
    Execution,
    Failure,
    FailureKind,
    Governance,
    Label,
    Provenance,
    Record,
    Structure,
    decode,
    encode,
)
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.ace import AceSettings, basis_for
from hpcmat.surrogates.calculator import AceCalculator
from hpcmat.surrogates.fitting import fit_potential
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.training import MODEL_FILE

SILICON = from_atoms(bulk("Si", "diamond", 5.431, cubic=True))
SETTINGS = AceSettings(elements=("Si",))
CONDITIONS = ExploreConditions(
    temperature_k=600.0,
    strain=0.02,
    rattle_ang=0.1,
    steps=60,
    timestep_fs=2.0,
    sample_every=20,
    sigma_stop_ev_per_ang=0.015,
)


def labels(n, folder):
    structures = cold_start(SILICON, 0.04, 0.12, n, seed=3)
    texts = [run_label(encode(LabelRequest(s, TeacherSettings())), folder, 1) for s in structures]
    return tuple(decode(Label, text) for text in texts)


def publish(store, key, potential):
    attempt = store.begin(key)
    potential.save(attempt.folder / MODEL_FILE)
    record = Record(
        key=key,
        task_kind="fit",
        request="{}",
        outcome="{}",
        accepted=True,
        execution=Execution(attempt.number, "host", 1, 0.0, 1.0),
        provenance=Provenance("campaign", "decision", "rule"),
        governance=Governance(),
    )
    store.publish(record, attempt.folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A result store with a model fitted to 2 labels (`0a...`) and one fitted to 40 (`0b...`)."""
    root = tmp_path_factory.mktemp("store")
    store = ResultStore(root)
    data = labels(40, tmp_path_factory.mktemp("labels"))
    publish(store, KEYS["poor"], fit_potential(data[:2], SETTINGS).potential)
    publish(store, KEYS["good"], fit_potential(data, SETTINGS).potential)
    return root


KEYS = {"poor": "0a" * 32, "good": "0b" * 32}


def request(store, model=None, **changes):
    conditions = replace(CONDITIONS, **{k: v for k, v in changes.items() if hasattr(CONDITIONS, k)})
    others = {k: v for k, v in changes.items() if not hasattr(CONDITIONS, k)}
    defaults = {"seed": 7, "n_frames": 3, "seed_structure": SILICON, "settings": SETTINGS} | others
    return ExploreRequest(store=str(store), model=model and KEYS.get(model, model), conditions=conditions, **defaults)


def explored(asked, folder):
    result = decode(ExploreResult | Failure, run_explore(encode(asked), folder, 1))
    assert isinstance(result, ExploreResult), result
    return result


def test_cold_start_strains_and_rattles_the_seed(tmp_path):
    result = explored(request(tmp_path), tmp_path)
    assert result.stopped == "cold-start"
    assert result.steps_run == 0
    assert len(result.frames) == 3
    cells = np.array([frame.structure.cell for frame in result.frames])
    assert len({cell.tobytes() for cell in cells}) == 3
    for frame in result.frames:
        strain = np.linalg.solve(SILICON.cell, frame.structure.cell) - np.eye(3)
        assert 0.002 < np.abs(strain).max() <= 0.02
        np.testing.assert_allclose(strain, strain.T, atol=1e-12)
        displacement = frame.structure.positions - SILICON.positions @ (np.eye(3) + strain)
        assert 0.05 < displacement.std() < 0.2
        assert frame.sigma == 0.0
        assert frame.energy is None


@pytest.mark.parametrize("model", [None, "good"])
def test_the_same_request_gives_the_same_frames(store, tmp_path, model):
    first, second = (run_explore(encode(request(store, model)), tmp_path, attempt) for attempt in (1, 2))
    assert first == second
    other = run_explore(encode(request(store, model, seed=8)), tmp_path, 1)
    assert other != first


def test_a_well_trained_model_explores_to_the_end(store, tmp_path):
    result = explored(request(store, "good"), tmp_path)
    assert result.stopped == "finished"
    assert result.steps_run == 60
    assert [frame.step for frame in result.frames] == [20, 40, 60]
    assert all(0 < frame.sigma < 0.015 for frame in result.frames)
    assert all(50 < frame.temperature_k < 2000 for frame in result.frames)
    cells = [frame.structure.cell for frame in result.frames]
    np.testing.assert_array_equal(cells[0], cells[2])
    assert np.abs(cells[0] - SILICON.cell).max() > 0.01


def test_a_model_of_little_data_stops_at_what_it_does_not_know(store, tmp_path):
    result = explored(request(store, "poor"), tmp_path)
    assert result.stopped == "uncertain"
    assert result.frames[-1].sigma > 0.015
    assert all(frame.sigma <= 0.015 for frame in result.frames[:-1])
    assert result.steps_run == result.frames[-1].step < 60


def test_reported_sigma_and_energy_are_those_of_the_potential(store, tmp_path):
    potential = Potential.load(ResultStore(store).folder(KEYS["good"]) / MODEL_FILE)
    for frame in explored(request(store, "good"), tmp_path).frames:
        expected = potential.epistemic_force_sigma(frame.structure).max()
        assert frame.sigma == pytest.approx(expected, rel=1e-6)
        assert frame.energy == pytest.approx(potential.predict(frame.structure).energy, abs=1e-9)


def test_a_bias_finds_what_is_less_known_without_heating(tmp_path):
    """Frames state what the potential itself says of them."""
    potential = fit_potential(labels(6, tmp_path), SETTINGS).potential
    uncertain, heat, frames = [], [], []
    for bias in (0.0, 0.2):
        settings = DynamicsSettings(1200.0, 400, 2.0, 20, 1e9, bias=bias)
        frames = [frame for seed in range(4) for frame in run_dynamics(SILICON, potential, settings, seed).frames]
        assert len(frames) == 80, "none ended early"
        deviations = [(frame.sigma, potential.energy_spread(frame.structure)[0]) for frame in frames]
        uncertain.append(np.mean(deviations, axis=0))
        heat.append(np.mean([frame.temperature_k for frame in frames]))
    assert (uncertain[1] > 1.15 * uncertain[0]).all(), "of the forces as well as of the energy"
    assert heat[1] == pytest.approx(heat[0], rel=0.1)
    for frame in frames[-3:]:
        assert frame.sigma == pytest.approx(potential.epistemic_force_sigma(frame.structure).max(), rel=1e-6)
        assert frame.energy == pytest.approx(potential.predict(frame.structure).energy, abs=1e-9)


@pytest.mark.parametrize("changes", [{"timestep_fs": 40.0}, {"strain": 0.0, "timestep_fs": 300.0}])
def test_dynamics_that_explodes_is_unphysical_and_its_frame_is_dropped(store, tmp_path, changes):
    result = explored(request(store, "good", sigma_stop_ev_per_ang=1e9, sample_every=1, **changes), tmp_path)
    assert result.stopped == "unphysical"
    assert len(result.frames) == result.steps_run - 1
    for frame in result.frames:
        assert np.isfinite(frame.structure.positions).all()
        assert frame.temperature_k < 5 * 600 + 1000


def test_quench_holds_and_then_cools_evenly(store, tmp_path):
    settings = DynamicsSettings(900.0, 100, 2.0, 20, 1.0, end_temperature_k=300.0)
    assert [settings.temperature_at(step) for step in (0, 50, 75, 100)] == [900.0, 900.0, 600.0, 300.0]
    changes = {"steps": 800, "sample_every": 10, "sigma_stop_ev_per_ang": 1e9, "temperature_k": 900.0}
    quenched, held = (
        np.mean([frame.temperature_k for frame in explored(asked, tmp_path).frames[-16:]])
        for asked in (request(store, "good", end_temperature_k=10.0, **changes), request(store, "good", **changes))
    )
    assert quenched < 250.0 < 450.0 < held


def test_rows_are_the_design_of_the_frames(store, tmp_path):
    for model in (None, "good"):
        result = explored(request(store, model), tmp_path)
        with np.load(tmp_path / ROWS_NAME) as rows:
            assert {len(rows[name]) for name in rows.files} == {len(result.frames)}
            for number, frame in enumerate(result.frames):
                design = basis_for(SETTINGS).design(frame.structure)
                for name in ("energy", "forces", "stress"):
                    stored = rows[name][number]
                    assert stored.dtype == np.float32
                    np.testing.assert_allclose(stored, getattr(design, name), rtol=1e-5, atol=1e-5)


def test_trajectory_is_readable(store, tmp_path):
    result = explored(request(store, "good"), tmp_path)
    images = read(tmp_path / TRAJECTORY_NAME, index=":")
    assert [image.info["step"] for image in images] == [20, 40, 60]
    np.testing.assert_allclose(images[1].positions, result.frames[1].structure.positions, atol=1e-7)


def test_repeat_makes_a_supercell(store, tmp_path):
    result = explored(request(store, None, repeat=(2, 1, 1)), tmp_path)
    assert len(result.frames[0].structure) == 16
    assert len(repeated(SILICON, (1, 2, 3))) == 48


def test_temperature_is_that_asked_for(store, tmp_path):
    # Velocities start at the target but half of the heat goes into the bonds: only the thermostat brings it back.
    # Sampling error: 16 atoms fluctuate by 20 %, and 1.5 ps hold some fifteen independent samples: 5 %.
    asked = request(
        store,
        "good",
        seed=9,
        repeat=(2, 1, 1),
        strain=0.0,
        steps=900,
        sample_every=10,
        temperature_k=300.0,
        sigma_stop_ev_per_ang=1e9,
    )
    frames = explored(asked, tmp_path).frames[15:]
    assert np.mean([frame.temperature_k for frame in frames]) == pytest.approx(300.0, rel=0.25)


def test_a_frame_with_atoms_too_close_is_not_kept(store):
    potential = Potential.load(ResultStore(store).folder(KEYS["good"]) / MODEL_FILE)
    atoms = to_atoms(SILICON)
    atoms.calc = AceCalculator(potential)
    frame, _ = _sample(atoms, potential, 5)
    assert frame.step == 5
    atoms.positions[0] += 0.45 * (atoms.positions[1] - atoms.positions[0])
    with pytest.raises(InputError, match="too close"):
        _sample(atoms, potential, 5)


def test_key_holds_all_physics_and_nothing_else(store):
    base = request(store, "good")
    assert explore_key(base) == explore_key(replace(base, store="elsewhere"))
    assert explore_key(base) == explore_key(replace(base, n_frames=9))
    moved = Structure(SILICON.symbols, SILICON.positions + 1e-3, SILICON.cell)
    others = [
        request(store, "poor"),
        request(store, None),
        request(store, None, n_frames=4),
        request(store, "good", seed=8),
        request(store, "good", seed_structure=moved),
        request(store, "good", settings=AceSettings(elements=("Si",), cutoff_ang=4.5)),
        *(request(store, "good", **{name: value}) for name, value in CHANGED.items()),
    ]
    keys = {explore_key(base), *(explore_key(other) for other in others)}
    assert len(keys) == len(others) + 1


def test_without_a_bias_keys_are_those_of_before_there_was_any(store):
    """Results in stores are found again."""
    key = "1bdc5aae074f9bee4adc7af0c122330412056f25b74e294baafdf1d28b96c497"
    assert explore_key(request(store, "good")) == key
    assert explore_key(request(store, "good", bias=0.1)) != key


CHANGED = {
    "temperature_k": 601.0,
    "strain": 0.03,
    "rattle_ang": 0.2,
    "steps": 61,
    "timestep_fs": 1.0,
    "sample_every": 10,
    "sigma_stop_ev_per_ang": 0.2,
    "repeat": (1, 1, 2),
    "end_temperature_k": 300.0,
    "bias": 0.1,
}


def test_every_condition_is_covered_by_the_key_test():
    assert set(CHANGED) == set(json.loads(encode(CONDITIONS)))


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"model": "0c" * 32}, FailureKind.BAD_SETTINGS),
        ({"model": "good", "settings": AceSettings(("Si",), cutoff_ang=4.5)}, FailureKind.BAD_SETTINGS),
        ({"model": "good", "seed_structure": from_atoms(bulk("Ge", "diamond", 5.66))}, FailureKind.BAD_SETTINGS),
        ({"model": None, "seed_structure": from_atoms(bulk("Ge", "diamond", 5.66))}, FailureKind.BAD_SETTINGS),
        ({"rattle_ang": 5.0, "repeat": (2, 2, 2)}, FailureKind.BAD_SETTINGS),
        ({"seed_structure": Structure(("Si", "Si"), np.zeros((2, 3)), 5 * np.eye(3))}, FailureKind.UNPHYSICAL),
    ],
)
def test_expected_failures_are_data(store, tmp_path, changes, kind):
    failure = decode(Failure, run_explore(encode(request(store, **changes)), tmp_path, 1))
    assert failure.failure is kind
    assert failure.message


def test_a_request_that_is_none_is_refused(tmp_path):
    assert decode(Failure, run_explore("{}", tmp_path, 1)).failure is FailureKind.BAD_SETTINGS


def test_warm_up_takes_a_request(store):
    warm_up(encode(request(store, "good")))


def test_strain_is_a_pure_deformation():
    structure = strained(SILICON, 0.05, np.random.default_rng(1))
    fractional = np.linalg.solve(structure.cell.T, structure.positions.T).T
    np.testing.assert_allclose(fractional, np.linalg.solve(SILICON.cell.T, SILICON.positions.T).T, atol=1e-12)
    assert strained(SILICON, 0.0, np.random.default_rng(1)).cell == pytest.approx(SILICON.cell)
