"""The exploration task: structures worth labelling, found by straining and rattling or by dynamics with a model."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ValidationError

from hpcmat.engines.acceptance import check_structure
from hpcmat.engines.base import EngineFailure
from hpcmat.engines.dynamics import (
    CLOSEST_APPROACH,
    FRICTION_PER_FS,
    DynamicsSettings,
    Frame,
    Stop,
    Trajectory,
    run_dynamics,
)
from hpcmat.engines.sampling import cold_start, repeated, strained
from hpcmat.engines.structures import to_atoms
from hpcmat.errors import InputError, StorageError
from hpcmat.records import Failure, FailureKind, Structure, decode, encode
from hpcmat.store.keys import content_key, structure_physics
from hpcmat.store.results import ResultStore
from hpcmat.surrogates import training
from hpcmat.surrogates.ace import AceSettings, Design, basis_for
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.training import MODEL_FILE, FitRequest

ROWS_NAME = "rows.npz"
TRAJECTORY_NAME = "trajectory.extxyz"
PROTOCOL = 3
"""Version of what an exploration does; part of its content key."""


@dataclass(frozen=True, slots=True)
class ExploreConditions:
    """Where to explore. `rattle_ang` is used in a cold start; temperature, steps and threshold with a model."""

    temperature_k: float
    strain: float
    """Largest component of the random strain."""
    rattle_ang: float
    """Standard deviation of the displacements, Å."""
    steps: int
    timestep_fs: float
    sample_every: int
    sigma_stop_ev_per_ang: float
    """Dynamics ends where an atom's epistemic force deviation exceeds this, eV/Å."""
    repeat: tuple[int, int, int] = (1, 1, 1)
    end_temperature_k: float | None = None
    """Reached over the second half of the dynamics: melt and quench."""
    bias: float = 0.0
    """Forces that draw the dynamics to what the model does not know, as a fraction of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class ExploreRequest:
    """What to explore from, with which model, and how."""

    store: str
    model: str | None
    """Content key of the fit, or None: strained and rattled seeds."""
    seed_structure: Structure
    conditions: ExploreConditions
    settings: AceSettings
    seed: int
    n_frames: int = 1
    """Number of structures of a cold start."""


@dataclass(frozen=True, slots=True, eq=False)
class ExploreResult:
    """What was found.

    `rows.npz` holds the design rows of all Q frames as float32: `energy` (Q, F), `forces` (Q, 3n, F), `stress`
    (Q, 6, F).
    """

    frames: tuple[Frame, ...]
    stopped: Stop
    steps_run: int
    rows_file: str = ROWS_NAME
    kind: Literal["explore"] = "explore"


def explore_key(request: ExploreRequest) -> str:
    """Content key: model, structure, conditions, settings, seed and protocol; not the store."""
    conditions = asdict(request.conditions)
    if not request.conditions.bias:
        # As before there were any.
        del conditions["bias"]
    physics = {
        "protocol": [PROTOCOL, FRICTION_PER_FS, CLOSEST_APPROACH],
        "model": request.model,
        "structure": json.loads(structure_physics(request.seed_structure)),
        "conditions": conditions,
        "settings": asdict(request.settings),
        "seed": request.seed,
        "n_frames": request.n_frames if request.model is None else None,
    }
    return content_key("explore", json.dumps(physics))


def run_explore(request: str, folder: Path, attempt: int) -> str:
    """Runner of explorations; see `ExploreRequest`.

    Writes `rows.npz` and `trajectory.extxyz` into `folder`.

    Returns
    -------
    str
        JSON of an `ExploreResult`, or of a `Failure` (bad settings, unphysical).
    """
    del attempt
    try:
        parsed = _parse(request)
        trajectory = _explore(parsed)
    except EngineFailure as failure:
        return encode(failure.record)
    except InputError as error:
        return encode(Failure(FailureKind.BAD_SETTINGS, str(error)))
    _write_rows(folder / ROWS_NAME, trajectory.designs)
    _write_trajectory(folder / TRAJECTORY_NAME, trajectory.frames)
    return encode(ExploreResult(trajectory.frames, trajectory.stopped, trajectory.steps_run))


def warm_up(request: str) -> None:
    """Load the compiled kernels in the long-lived worker, before it forks."""
    parsed = decode(ExploreRequest, request)
    training.warm_up(encode(FitRequest(store=parsed.store, settings=parsed.settings, train=())))


def _explore(request: ExploreRequest) -> Trajectory:
    conditions = request.conditions
    start = repeated(request.seed_structure, conditions.repeat)
    if request.model is None:
        structures = cold_start(start, conditions.strain, conditions.rattle_ang, request.n_frames, request.seed)
        designs = tuple(basis_for(request.settings).design(structure) for structure in structures)
        return Trajectory(tuple(Frame(s, 0, 0.0, 0.0) for s in structures), designs, "cold-start", 0)
    strain_seed, dynamics_seed = np.random.SeedSequence(request.seed).generate_state(2)
    start = strained(start, conditions.strain, np.random.default_rng(strain_seed))
    settings = DynamicsSettings(
        temperature_k=conditions.temperature_k,
        steps=conditions.steps,
        timestep_fs=conditions.timestep_fs,
        sample_every=conditions.sample_every,
        sigma_stop_ev_per_ang=conditions.sigma_stop_ev_per_ang,
        end_temperature_k=conditions.end_temperature_k,
        bias=conditions.bias,
    )
    return run_dynamics(start, _load_model(request), settings, int(dynamics_seed))


def _load_model(request: ExploreRequest) -> Potential:
    try:
        potential = Potential.load(ResultStore(request.store).folder(request.model or "") / MODEL_FILE)
    except (StorageError, InputError, FileNotFoundError) as error:
        message = f"the model of this exploration cannot be read: {error}"
        raise EngineFailure(FailureKind.BAD_SETTINGS, message) from error
    if potential.settings != request.settings:
        raise EngineFailure(
            FailureKind.BAD_SETTINGS,
            "the model has other basis settings than the exploration; give the settings it was fitted with",
        )
    return potential


def _parse(request: str) -> ExploreRequest:
    try:
        parsed = decode(ExploreRequest, request)
        check_structure(parsed.seed_structure)
    except ValidationError as error:
        message = f"not an exploration request; send one: {error}"
        raise EngineFailure(FailureKind.BAD_SETTINGS, message) from error
    except InputError as error:
        raise EngineFailure(FailureKind.UNPHYSICAL, str(error)) from error
    return parsed


def _write_rows(path: Path, designs: tuple[Design, ...]) -> None:
    # Few arrays: the driver reads this file, and each array of an archive costs it as much as some hundred rows.
    arrays = {
        kind: np.array([getattr(design, kind) for design in designs], dtype=np.float32)
        for kind in ("energy", "forces", "stress")
    }
    np.savez(path, allow_pickle=False, **arrays)


def _write_trajectory(path: Path, frames: tuple[Frame, ...]) -> None:
    from ase.io import write

    if not frames:
        path.write_text("")
        return
    images = []
    for frame in frames:
        atoms = to_atoms(frame.structure)
        atoms.info.update(step=frame.step, temperature_k=frame.temperature_k, sigma_ev_per_ang=frame.sigma)
        if frame.energy is not None:
            atoms.info["model_energy_ev"] = frame.energy
        images.append(atoms)
    write(str(path), images, format="extxyz")
