"""Molecular dynamics with the current potential, watched: it ends where the potential no longer knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hpcmat.engines.acceptance import FORCE_CAP_EV_PER_ANG, closest_approach
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.surrogates.ace import Design
from hpcmat.surrogates.calculator import AceCalculator, BiasedCalculator
from hpcmat.surrogates.potential import Potential
from hpcmat.units import BOLTZMANN_EV_PER_K, FEMTOSECOND

FRICTION_PER_FS = 0.01
"""Langevin friction: velocities forget in 100 fs, fast enough to thermalise within a short exploration and weak
against vibrations of tens of fs."""
CLOSEST_APPROACH = 0.65
"""Atoms nearer than this fraction of the sum of their covalent radii mean that the potential has failed."""
RUNAWAY_FACTOR = 5.0
RUNAWAY_OFFSET_K = 1000.0
"""Hotter than 5 times the target plus 1000 K, which no fluctuation reaches, the dynamics has failed."""

SETTLING = 5
"""One of so many parts of a trajectory with a bias is without: forces begin at those of a crystal at rest."""

Stop = Literal["finished", "uncertain", "unphysical", "cold-start"]


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One structure found by an exploration."""

    structure: Structure
    step: int
    """Time step at which it was met; 0 in a cold start."""
    temperature_k: float
    """Kinetic temperature then, K; 0 in a cold start."""
    sigma: float
    """Largest epistemic standard deviation of an atom's force, eV/Å; 0 in a cold start, where there is no model."""
    energy: float | None = None
    """Energy of the cell by the model, eV; None in a cold start."""


@dataclass(frozen=True, slots=True)
class DynamicsSettings:
    """Temperature, length and watch of one trajectory."""

    temperature_k: float
    steps: int
    timestep_fs: float
    sample_every: int
    sigma_stop_ev_per_ang: float
    end_temperature_k: float | None = None
    """Reached linearly over the second half of the trajectory; None keeps the temperature."""
    bias: float = 0.0
    """Root mean square of the forces that draw it to what the potential does not know, as a fraction of that of the
    potential's own; 0 is the potential itself."""

    @property
    def settled(self) -> int:
        """Step at which a bias sets in."""
        return max(1, self.steps // SETTLING)

    def temperature_at(self, step: int) -> float:
        """Temperature of the bath at a step, K."""
        if self.end_temperature_k is None:
            return self.temperature_k
        share = max(0.0, 2.0 * step / self.steps - 1.0)
        return (1.0 - share) * self.temperature_k + share * self.end_temperature_k


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Sampled frames with their design rows, why it ended, and how many steps were made."""

    frames: tuple[Frame, ...]
    designs: tuple[Design, ...]
    stopped: Stop
    steps_run: int


def run_dynamics(start: Structure, potential: Potential, settings: DynamicsSettings, seed: int) -> Trajectory:
    """Langevin dynamics at constant volume from `start`, velocities drawn at the first temperature.

    Every `sample_every` steps a frame is kept. It is the last one when its largest epistemic force deviation exceeds
    the threshold (`uncertain`; the frame is kept, being what the potential should learn). When atoms come too close,
    a force exceeds 100 eV/Å, the temperature runs away or anything is not finite, the dynamics ends without keeping
    that step (`unphysical`). The same arguments give the same trajectory.

    With a bias it is dynamics on E - τ σ_E (`BiasedCalculator`). After the first fifth, which is without, τ follows the
    forces so that the bias keeps its strength: σ_E grows so steeply once it does that with any fixed τ trajectories
    feel nothing of it or burst. Frames state the potential's own energy and deviations.

    Raises
    ------
    InputError
        The potential does not know an element of `start`.
    """
    atoms = to_atoms(start)
    atoms.calc = BiasedCalculator(potential) if settings.bias else AceCalculator(potential)
    forces = np.array(atoms.get_forces())
    dynamics = _langevin(atoms, settings, seed)
    kept: list[tuple[Frame, Design]] = []
    stopped: Stop = "finished"
    step = 0
    while step < settings.steps and stopped == "finished":
        step += 1
        bath_k = settings.temperature_at(step)
        try:
            dynamics.set_temperature(temperature_K=bath_k)
            forces = np.array(dynamics.step(forces))
            _check_motion(atoms, forces, bath_k)
            if settings.bias and step >= settings.settled:
                atoms.calc.bias_by(settings.bias)
            if step % settings.sample_every == 0:
                kept.append(_sample(atoms, potential, step))
        except InputError:
            # The kernels refuse positions that are not finite, as the checks here do.
            stopped = "unphysical"
        else:
            stopped = _verdict(kept, step, settings)
    return Trajectory(tuple(frame for frame, _ in kept), tuple(design for _, design in kept), stopped, step)


def _verdict(kept: list[tuple[Frame, Design]], step: int, settings: DynamicsSettings) -> Stop:
    if not kept or kept[-1][0].step != step:
        return "finished"
    return "uncertain" if kept[-1][0].sigma > settings.sigma_stop_ev_per_ang else "finished"


def _langevin(atoms: Any, settings: DynamicsSettings, seed: int) -> Any:
    from ase.md.langevin import Langevin

    velocities, noise = (np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2))
    spread = np.sqrt(atoms.get_masses() * BOLTZMANN_EV_PER_K * settings.temperature_k)
    atoms.set_momenta(spread[:, None] * velocities.standard_normal((len(atoms), 3)))
    return Langevin(
        atoms,
        timestep=settings.timestep_fs * FEMTOSECOND,
        temperature_K=settings.temperature_k,
        friction=FRICTION_PER_FS / FEMTOSECOND,
        # Without the fixed centre of mass the equations sample the canonical ensemble exactly.
        fixcm=False,
        rng=noise,
    )


def _sample(atoms: Any, potential: Potential, step: int) -> tuple[Frame, Design]:
    """Frame and design rows of this step; raises InputError where it is unphysical."""
    structure = from_atoms(atoms)
    if closest_approach(structure) < CLOSEST_APPROACH:
        raise InputError("atoms came too close; label more structures before exploring here")
    design = potential.design(structure)
    # As `epistemic_force_sigma`, without computing the rows a second time.
    epistemic = potential.epistemic_force_variance_of(design)
    sigma = float(np.sqrt(max(0.0, np.max(epistemic.mean(axis=1)))))
    atoms.get_potential_energy()
    energy = float(atoms.calc.prediction.energy)
    return Frame(structure, step, float(atoms.get_temperature()), sigma, energy), design


def _check_motion(atoms: Any, forces: NDArray[np.float64], target_k: float) -> None:
    """Raise InputError when forces or temperature have run away."""
    largest = float(np.max(np.abs(forces)))
    temperature = float(atoms.get_temperature())
    limit = RUNAWAY_FACTOR * target_k + RUNAWAY_OFFSET_K
    # Written so that NaN, for which every comparison is false, counts as running away.
    if not (largest <= FORCE_CAP_EV_PER_ANG and temperature <= limit):
        raise InputError(
            f"the dynamics ran away ({largest:.3g} eV/Å, {temperature:.3g} K); label more structures first"
        )
