"""Whether the bound at which campaigns stop is honest: many validation streams of correlated frames against the truth.

Frames are those of trajectories that a potential makes at each condition, by the dynamics and with the sampling of a
campaign, and their errors are against the teacher. Each simulated campaign draws trajectories at random, one for each
fit and the conditions in turn; reserves frames of each by the campaign's rule; labels one for each fit, of the
condition that has the fewest; and computes the campaign's bound at every look, the first with ten frames.

Assumed: all errors shrink alike from fit to fit, as the inverse square root of the number of fits; the target is what
the true error comes to after 15 to 40 fits, different in each campaign; 30 trajectories of a condition are the truth.
Trajectories that came apart before their end are left out, as campaigns judge by those that went the farthest: the
bound says nothing of how often a potential fails altogether.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from teacher_systems import POLICIES, SYSTEMS, campaign_of, reference_frames

from hpcmat.campaign.structures import seed_structures
from hpcmat.engines.base import Job
from hpcmat.engines.dynamics import DynamicsSettings, run_dynamics
from hpcmat.engines.registry import engine_for
from hpcmat.engines.sampling import strained
from hpcmat.steering.chance import reserved_frames
from hpcmat.steering.stopping import error_bound, looks_at
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.fitting import fit_potential

TRAJECTORIES = 30
FITS = 150
MIN_VALIDATION = 10
CONFIDENCE = 0.95
RESERVED = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one simulated campaign ended."""

    stopped: bool
    wrong: bool
    """The true error was above the bound at which it stopped."""
    ever_wrong: bool
    """The true error was above the bound at a look, the last one included."""
    frames: int
    """Validation frames when it ended."""


def frame_errors(name: str, seed: int) -> list[list[np.ndarray]]:
    """Mean squared force errors of the frames of each trajectory of each condition, (eV/Å)².

    Parameters
    ----------
    seed : of the labels that the potential is fitted to, of the strains and of the trajectories.
    """
    system = SYSTEMS[name]
    campaign = campaign_of(name, POLICIES["hpcmat"], 0, 20)
    explore, rng = campaign.explore, np.random.default_rng(seed)
    settings = AceSettings(campaign.system.elements, campaign.surrogate.cutoff_ang)
    potential = fit_potential(reference_frames(name, draw=seed)[::2], settings).potential
    engine = engine_for(campaign.engine)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for start in seed_structures(campaign):
            for temperature in explore.temperatures_k:
                dynamics = DynamicsSettings(
                    temperature, explore.steps, system.timestep, explore.sample_every, sigma_stop_ev_per_ang=np.inf
                )
                trajectories = [
                    run_dynamics(
                        strained(start, explore.strain, rng), potential, dynamics, TRAJECTORIES * seed + number
                    )
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
                        if trajectory.stopped == "finished"
                    ]
                )
    return found


def _forces(engine, structure, folder: str) -> np.ndarray:
    return engine.calculate(structure, Job(Path(folder))).forces


def exceedances(name: str, campaigns: int, seed: int) -> list[Outcome]:
    """How simulated campaigns on fresh trajectories end."""
    errors = frame_errors(name, seed)
    truth = float(np.mean([np.mean(np.concatenate(trajectories)) for trajectories in errors]))
    return [_campaign(errors, truth, campaigns * seed + number) for number in range(campaigns)]


def _campaign(errors: list[list[np.ndarray]], truth: float, seed: int) -> Outcome:
    rng = np.random.default_rng(seed)
    target = np.sqrt(truth / rng.uniform(15, 40))
    waiting: list[list[float]] = [[] for _ in errors]
    judged: list[list[float]] = [[] for _ in errors]
    numbers, ever = list[int](), False
    for fit in range(1, FITS + 1):
        condition = fit % len(errors)
        trajectory = errors[condition][rng.integers(len(errors[condition]))]
        reserved = sorted(reserved_frames(len(trajectory), RESERVED, seed, fit))
        # The newest trajectory first, and within it any of the reserved frames; of an older one none is left, so that
        # no two frames that are judged are of the same trajectory.
        waiting[condition] = [float(trajectory[frame]) for frame in rng.permutation(reserved)]
        ready = [number for number in range(len(errors)) if waiting[number]]
        chosen = min(ready, key=lambda number: len(judged[number]))
        judged[chosen].append(waiting[chosen].pop(0))
        waiting[chosen] = []
        numbers.append(fit)
        looks = looks_at(numbers, MIN_VALIDATION)
        if fit - 1 not in looks:
            continue
        bound = error_bound([np.array(each) / fit for each in judged], CONFIDENCE, len(looks))
        wrong = bool(np.sqrt(truth / fit) > bound.upper)
        ever |= wrong
        if bound.upper <= target:
            return Outcome(True, wrong, ever, fit)
    return Outcome(False, False, ever, FITS)
