"""Whether the bound at which campaigns stop is honest: many validation streams of correlated frames against the truth.

Frames are those of trajectories that a potential makes at each condition, by the dynamics and with the sampling of a
campaign, and their errors are against the teacher. Each simulated campaign draws trajectories at random, one for each
fit and the conditions in turn; reserves frames of each by the campaign's rule; labels one for each fit, of the
condition that has the fewest; and computes the campaign's bound after every fit with ten frames or more.

Assumed: all errors shrink alike from fit to fit, as the inverse square root of the number of fits; the target is what
the true error comes to after 15 to 40 fits, different in each campaign; 30 trajectories of a condition are the truth.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from teacher_systems import POLICIES, SYSTEMS, campaign_of, reference_frames

from hpcmat.campaign.structures import seed_structures
from hpcmat.engines.base import Job
from hpcmat.engines.dynamics import DynamicsSettings, run_dynamics
from hpcmat.engines.registry import engine_for
from hpcmat.engines.sampling import strained
from hpcmat.steering.chance import reserved_frames
from hpcmat.steering.stopping import error_bound
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.fitting import fit_potential

TRAJECTORIES = 30
LOOKS = 60
MIN_VALIDATION = 10
CONFIDENCE = 0.95
RESERVED = 0.2


def frame_errors(name: str) -> list[list[np.ndarray]]:
    """Mean squared force errors of the frames of each trajectory of each condition, (eV/Å)²."""
    system = SYSTEMS[name]
    campaign = campaign_of(name, POLICIES["hpcmat"], 0, 20)
    explore, rng = campaign.explore, np.random.default_rng(7)
    settings = AceSettings(campaign.system.elements, campaign.surrogate.cutoff_ang)
    potential = fit_potential(reference_frames(name)[::2], settings).potential
    engine = engine_for(campaign.engine)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in seed_structures(campaign):
            for temperature in explore.temperatures_k:
                dynamics = DynamicsSettings(
                    temperature, explore.steps, system.timestep, explore.sample_every, sigma_stop_ev_per_ang=np.inf
                )
                trajectories = [
                    run_dynamics(strained(seed, explore.strain, rng), potential, dynamics, number)
                    for number in range(TRAJECTORIES)
                ]
                found.append(
                    [
                        np.array(
                            [
                                np.mean(
                                    (potential.predict(f.structure).forces - _forces(engine, f.structure, folder)) ** 2
                                )
                                for f in trajectory.frames
                            ]
                        )
                        for trajectory in trajectories
                        if trajectory.frames
                    ]
                )
    return found


def _forces(engine, structure, folder: str) -> np.ndarray:
    return engine.calculate(structure, Job(Path(folder))).forces


def exceedances(name: str, campaigns: int) -> float:
    """Share of campaigns whose true error is above the bound at which they stop."""
    errors = frame_errors(name)
    truth = float(np.mean([np.mean(np.concatenate(trajectories)) for trajectories in errors]))
    above = [_campaign(errors, truth, seed) for seed in range(campaigns)]
    stopped = [outcome for outcome, _ in above if outcome is not None]
    print(
        f"{name}: {len(stopped)} of {campaigns} campaigns stopped; true error above the bound at any look in "
        f"{100 * np.mean([any_look for _, any_look in above]):.1f} %, at the last in {100 * np.mean(stopped):.1f} %"
    )
    return float(np.mean(stopped))


def _campaign(errors: list[list[np.ndarray]], truth: float, seed: int) -> tuple[bool | None, bool]:
    """Whether the true error was above the bound when it stopped (None: it did not), and at any look."""
    rng = np.random.default_rng(seed)
    target = np.sqrt(truth / rng.uniform(15, 40))
    waiting: list[list[float]] = [[] for _ in errors]
    judged: list[list[float]] = [[] for _ in errors]
    looks, ever = 0, False
    for fit in range(1, LOOKS + 1):
        condition = fit % len(errors)
        trajectory = errors[condition][rng.integers(len(errors[condition]))]
        waiting[condition] = [
            *(float(trajectory[frame]) for frame in sorted(reserved_frames(len(trajectory), RESERVED, seed, fit))),
            *waiting[condition],
        ]
        ready = [number for number in range(len(errors)) if waiting[number]]
        chosen = min(ready, key=lambda number: len(judged[number]))
        judged[chosen].append(waiting[chosen].pop(0))
        frames = np.concatenate([np.array(each) for each in judged]) / fit
        if len(frames) < MIN_VALIDATION:
            continue
        looks += 1
        bound = error_bound(frames, CONFIDENCE, looks)
        wrong = bool(np.sqrt(truth / fit) > bound.upper)
        ever |= wrong
        if bound.upper <= target:
            return wrong, ever
    return None, ever
