"""Errors of a potential on a data set: in all, by group, and without groups that would flatter it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat.surrogates.calibration import PotentialCalibration, calibration_of
from hpcmat.surrogates.communicator import SERIAL, Communicator, dealt_out
from hpcmat.surrogates.dataset import Dataset
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.scoring import NORMAL_95, Comparison, compare

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """Errors over frames, each atom and component weighing the same; None where no frame has the quantity.

    z is the error over the predicted standard deviation: its root mean square is 1 where that is right.
    """

    n_frames: int
    energy_rmse_mev_per_atom: float | None
    energy_mae_mev_per_atom: float | None
    forces_rmse_ev_per_ang: float | None
    forces_mae_ev_per_ang: float | None
    stress_rmse_ev_per_ang3: float | None
    stress_mae_ev_per_ang3: float | None
    energy_rms_z: float | None
    forces_rms_z: float | None
    stress_rms_z: float | None
    forces_coverage_95: float | None
    """Fraction of force components within their 95 % interval."""

    def named(self) -> tuple[tuple[str, float], ...]:
        """(name, value) of the errors that there are, as the metadata of a potential hold them: eV, not meV."""
        named = (
            ("energy_rmse_ev_per_atom", _thousandth(self.energy_rmse_mev_per_atom)),
            ("energy_mae_ev_per_atom", _thousandth(self.energy_mae_mev_per_atom)),
            ("forces_rmse_ev_per_ang", self.forces_rmse_ev_per_ang),
            ("forces_mae_ev_per_ang", self.forces_mae_ev_per_ang),
            ("stress_rmse_ev_per_ang3", self.stress_rmse_ev_per_ang3),
            ("stress_mae_ev_per_ang3", self.stress_mae_ev_per_ang3),
        )
        return tuple((name, value) for name, value in named if value is not None)

    def calibration(self) -> tuple[tuple[str, float], ...]:
        """(name, value) of what tells whether the uncertainties are right."""
        mean_z2 = None if self.forces_rms_z is None else self.forces_rms_z**2
        named = (("forces_mean_z2", mean_z2), ("forces_coverage_95", self.forces_coverage_95))
        return tuple((name, value) for name, value in named if value is not None)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A potential on one data set."""

    total: Figures
    groups: tuple[tuple[str, Figures], ...]
    """(group, its figures), in the order of the file."""
    without: tuple[str, ...] = ()
    """Groups that were asked to be left out once."""
    remaining: Figures | None = None
    """Figures without them; None where none was named."""
    error_bars: PotentialCalibration | None = None
    """Whether predicted deviations are right, with standard errors; None unless asked for, and without forces."""


def evaluate_dataset(
    potential: Potential,
    dataset: Dataset,
    without: tuple[str, ...] = (),
    communicator: Communicator = SERIAL,
    error_bars: bool = False,
) -> Evaluation:
    """Compare a potential with every frame.

    Parameters
    ----------
    without : groups that `remaining` leaves out, e.g. those with copies of training frames.
    communicator : ranks that share the work, and all get the answer.
    error_bars : judge the predicted deviations too, which takes seconds.

    Raises
    ------
    InputError
        There is no frame, a group is not in the set, or the potential does not know an element.
    """
    if not dataset.frames:
        raise InputError(f"{dataset.name}: there is no frame to compare with; give a set with energies of structures")
    unknown = sorted(set(without) - set(dataset.groups))
    if unknown:
        raise InputError(
            f"{dataset.name}: no frame is of group {', '.join(unknown)}; "
            f"its groups are {', '.join(group or '(none)' for group in dataset.groups)}"
        )
    frames = dataset.frames

    def compared_with(place: int) -> tuple[str, Comparison]:
        return frames[place].group, compare(potential, str(frames[place].index), frames[place].label)

    compared = dealt_out(compared_with, len(frames), communicator)
    with_forces = [c for _, c in compared if len(c.forces[0])] if error_bars else []
    return Evaluation(
        total=_figures([c for _, c in compared]),
        groups=tuple((name, _figures([c for group, c in compared if group == name])) for name in dataset.groups),
        without=without,
        remaining=_figures([c for group, c in compared if group not in without]) if without else None,
        error_bars=calibration_of(with_forces) if with_forces else None,
    )


def errors_on(
    potential: Potential, dataset: Dataset, communicator: Communicator = SERIAL
) -> tuple[tuple[str, float], ...]:
    """(name, value) of the errors of `evaluate_dataset` in all, without a look at error bars, which takes far less."""

    def compared_with(place: int) -> Comparison:
        frame = dataset.frames[place]
        return compare(potential, str(frame.index), frame.label, deviations=False)

    return _figures(dealt_out(compared_with, len(dataset.frames), communicator)).named()


def _figures(comparisons: list[Comparison]) -> Figures:
    energy = np.array([1e3 * (c.energy[1] - c.energy[0]) for c in comparisons])
    energy_z = np.array([(c.energy[1] - c.energy[0]) / c.energy[2] for c in comparisons])
    forces = _joined([c.forces[1] - c.forces[0] for c in comparisons])
    forces_z = _joined([(c.forces[1] - c.forces[0]) / c.forces[2] for c in comparisons])
    stress = _joined([c.stress_error for c in comparisons])
    stress_z = stress / _joined([c.stress_sigma for c in comparisons])
    return Figures(
        n_frames=len(comparisons),
        energy_rmse_mev_per_atom=_rms(energy),
        energy_mae_mev_per_atom=_mean(abs(energy)),
        forces_rmse_ev_per_ang=_rms(forces),
        forces_mae_ev_per_ang=_mean(abs(forces)),
        stress_rmse_ev_per_ang3=_rms(stress),
        stress_mae_ev_per_ang3=_mean(abs(stress)),
        energy_rms_z=_rms(energy_z),
        forces_rms_z=_rms(forces_z),
        stress_rms_z=_rms(stress_z),
        forces_coverage_95=_mean((abs(forces_z) < NORMAL_95).astype(np.float64)),
    )


def _joined(parts: list[Floats]) -> Floats:
    return np.concatenate([np.empty(0), *parts])


def _rms(errors: Floats) -> float | None:
    return float(np.sqrt(np.mean(errors**2))) if len(errors) else None


def _mean(values: Floats) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1e3
