"""Teacher systems for benchmarks of steering: campaigns with molecular dynamics in the loop, and what judges them.

What a potential is for is what the teacher's own dynamics visits at the conditions that the campaign names: fixed
frames, of trajectories with the seeds, temperatures and length of the campaign's explorations and other random draws.

The target of every system follows from one rule, set before any policy was run with it: √2 times `attainable`, written
down within 2 %. The squared error there is twice what remains when labels are plenty, so that half of it is misfit,
which no choice of labels removes, and half is what labels still teach. Closer to what is attainable all policies wait
for the misfit to average out; farther off, the cold start decides. Trajectories stop at three targets, which is also
the upper end of the trust window.
"""

from __future__ import annotations

import math
import tempfile
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hpcmat.campaign.events import Event, Finished
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.rehearsal import Rehearsal, rehearse
from hpcmat.campaign.replay import Curve, force_rmse
from hpcmat.campaign.spec import Campaign, parse_campaign
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.structures import seed_structures
from hpcmat.dispatch.placement.dispatcher import worker_pool
from hpcmat.engines.base import Job
from hpcmat.engines.calculators import make_calculator
from hpcmat.engines.dynamics import FRICTION_PER_FS
from hpcmat.engines.labelling import LabelRequest
from hpcmat.engines.registry import engine_for
from hpcmat.engines.sampling import strained
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.records import Label, Structure, Task, decode
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.fitting import fit_potential
from hpcmat.surrogates.potential import Potential
from hpcmat.units import BOLTZMANN_EV_PER_K, FEMTOSECOND

TEXT = """
kind = "potential"
name = "{name}"
seed = {seed}
[system]
elements = {elements}
structures = [{structures}]
reference = {{ points = 0 }}
[engine]
name = "teacher"
calculator = "{calculator}"
[surrogate]
cutoff_ang = {cutoff}
[explore]
temperatures_k = {temperatures}
timestep_fs = {timestep}
steps = 500
sample_every = 25
sigma_stop_ev_per_ang = {trusted}
cold_start = 4
conditions = "{conditions}"
bias = {bias}
[steering]
roll_back = {roll_back}
acquisition = "{acquisition}"
random_fraction = {random_fraction}
cost_aware = {cost_aware}
trust_ev_per_ang = [{target}, {trusted}]
refit_every = 2
pool_min = 60
[target]
# Out of reach: the fixed frames judge, and not the campaign.
force_rmse_ev_per_ang = 1e-6
[budget]
labels = {labels}
"""

TARGET_FACTOR = math.sqrt(2.0)


@dataclass(frozen=True, slots=True)
class System:
    """One teacher with its seeds and conditions."""

    elements: str
    structures: str
    calculator: str
    temperatures: str
    """From the crystal to the melt, K."""
    timestep: float
    cutoff: float
    target: float
    """Force RMSE on the fixed frames, eV/Å: `TARGET_FACTOR` times what is attainable, which takes long to compute."""


SYSTEMS = {
    "Cu (EMT)": System(
        '["Cu"]',
        '{crystal = "fcc", element = "Cu", a_ang = 3.59, repeat = [2, 2, 2]}',
        "emt",
        "[300.0, 1000.0, 3000.0]",
        3.0,
        5.0,
        0.0081,
    ),
    "Si (Stillinger-Weber)": System(
        '["Si"]',
        '{crystal = "diamond", element = "Si", a_ang = 5.431, repeat = [2, 2, 1]}',
        "stillinger-weber",
        "[300.0, 1000.0, 2500.0]",
        2.0,
        5.0,
        0.051,
    ),
    "Ar (Lennard-Jones)": System(
        '["Ar"]',
        '{crystal = "fcc", element = "Ar", a_ang = 5.26, repeat = [2, 2, 2]}',
        "lj",
        "[20.0, 60.0, 150.0]",
        5.0,
        8.5,
        0.00095,
    ),
    "Cu (EMT), three cells": System(
        '["Cu"]',
        '{crystal = "fcc", element = "Cu", a_ang = 3.59, repeat = [2, 1, 1]}, '
        '{crystal = "fcc", element = "Cu", a_ang = 3.59, repeat = [2, 2, 1]}, '
        '{crystal = "fcc", element = "Cu", a_ang = 3.59, repeat = [3, 2, 2]}',
        "emt",
        "[300.0, 3000.0]",
        3.0,
        5.0,
        0.0081,
    ),
    "CuAu (EMT)": System(
        '["Cu", "Au"]',
        '{crystal = "fcc", element = "Cu", a_ang = 3.59, repeat = [2, 2, 1]}, '
        '{crystal = "fcc", element = "Au", a_ang = 4.06, repeat = [2, 2, 1]}, '
        '{crystal = "rocksalt", element = "CuAu", a_ang = 5.2, repeat = [2, 1, 1]}',
        "emt",
        "[300.0, 800.0, 2000.0]",
        3.0,
        5.0,
        0.013,
    ),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """What differs between campaigns that are compared: which conditions are explored too, not the choice alone."""

    acquisition: str
    conditions: str
    random_fraction: float
    cost_aware: bool = False
    bias: float = 0.0
    roll_back: bool = False


POLICIES = {
    "random": Policy("random", "in-turn", 1.0),
    "trusted (as DP-GEN)": Policy("trusted", "in-turn", 0.0),
    "hpcmat": Policy("i-optimal", "least-known", 0.3),
}


@dataclass(frozen=True, slots=True)
class FixedMachine:
    """Every task of a kind takes the same time; labels by the number of atoms where an exponent is given."""

    exponent: float = 0.0
    label_s: float = 600.0
    """Of 8 atoms."""

    def seconds(self, task: Task, attempt: int, outcome: str) -> float:
        """Duration, s."""
        if task.kind != "label":
            return 30.0
        atoms = len(decode(LabelRequest, task.request).structure)
        return self.label_s * (atoms / 8.0) ** self.exponent

    def fails(self, task: Task, attempt: int) -> bool:
        """Nothing fails."""
        return False


def campaign_of(name: str, policy: Policy, seed: int, labels: int) -> Campaign:
    """Campaign of a system under a policy."""
    system = SYSTEMS[name]
    fields = {slot: getattr(system, slot) for slot in System.__slots__} | {
        slot: getattr(policy, slot) for slot in Policy.__slots__
    }
    fields |= {name: str(fields[name]).lower() for name in ("cost_aware", "roll_back")}
    fields |= {"trusted": 3.0 * system.target}
    text = TEXT.format(name=name.split()[0], seed=seed, labels=labels, **fields)
    return parse_campaign(tomllib.loads(text), Path("bench.toml"))


@cache
def reference_frames(name: str, trajectories: int = 2, draw: int = 0) -> tuple[Label, ...]:
    """The fixed frames: ten of each trajectory, labelled by the teacher; others with another `draw`."""
    system = SYSTEMS[name]
    campaign = campaign_of(name, POLICIES["random"], 0, 10)
    engine, rng = engine_for(campaign.engine), np.random.default_rng(20_240_501 + draw)
    frames = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in seed_structures(campaign):
            for temperature in campaign.explore.temperatures_k:
                for _ in range(trajectories):
                    found = _trajectory(strained(seed, campaign.explore.strain, rng), system, temperature, rng)
                    frames += [engine.calculate(from_atoms(atoms), Job(Path(folder))) for atoms in found]
    return tuple(frames)


def attainable(name: str) -> float:
    """Force RMSE on the fixed frames of a fit to twice as many frames of the same kind, eV/Å."""
    campaign = campaign_of(name, POLICIES["random"], 0, 10)
    settings = AceSettings(campaign.system.elements, campaign.surrogate.cutoff_ang)
    fit = fit_potential(reference_frames(name, trajectories=4, draw=1), settings)
    return force_rmse(fit.potential, reference_frames(name))


def _trajectory(start: Structure, system: System, temperature: float, rng: np.random.Generator) -> list[Any]:
    from ase.md.langevin import Langevin

    atoms = to_atoms(start)
    atoms.calc = make_calculator(system.calculator)
    spread = np.sqrt(atoms.get_masses() * BOLTZMANN_EV_PER_K * temperature)
    atoms.set_momenta(spread[:, None] * rng.normal(size=(len(atoms), 3)))
    dynamics = Langevin(
        atoms,
        system.timestep * FEMTOSECOND,
        temperature_K=temperature,
        friction=FRICTION_PER_FS / FEMTOSECOND,
        fixcm=False,
        rng=rng,
    )
    frames = []
    for _ in range(10):
        dynamics.run(50)
        frames.append(atoms.copy())
    return frames


@dataclass(frozen=True, slots=True)
class Run:
    """A rehearsed campaign, judged after every fit."""

    curve: Curve
    node_hours: tuple[float, ...]
    """Spent by all tasks when each of its fits ended."""
    state: CampaignState


def run(
    name: str, campaign: Campaign, workers: int = 1, machine: FixedMachine = FixedMachine(), stop_below: float = 0.0
) -> Run:
    """Rehearse a campaign and judge its potentials; it may end once one is below an error."""
    frames = reference_frames(name)
    numbers, errors, hours = list[int](), list[float](), list[float]()
    with tempfile.TemporaryDirectory(prefix="hpcmat-bench-") as root:
        store = ResultStore(Path(root) / "store")

        def observe(event: Event, state: CampaignState) -> None:
            if not isinstance(event, Finished) or event.summary.kind != "fit":
                return
            task = state.tasks[event.task_id]
            potential = Potential.load(store.folder(task.key) / "potential.npz")
            numbers.append(len(task.decision.train) + len(task.decision.validation))
            errors.append(force_rmse(potential, frames))
            hours.append(state.node_hours)
            if errors[-1] <= stop_below:
                CampaignFolder(Path(root)).stop_request.touch()

        state = rehearse(campaign, Rehearsal(machine, worker_pool(workers), workers, Path(root)), observe)
    return Run(Curve(tuple(numbers), tuple(errors)), tuple(hours), state)
