"""How well scores tell structures that lie outside of the training set: AUROC of groups that were left out.

For each case a group of frames is kept from training; of the rest a random fifth is held out and the potential is
fitted to the others with default options, channel mixing included. Held-out frames are inside, the group is outside.
The peer is chance, 0.5; standard errors (±) are those of independent frames. `true force error` is no score, since it
needs the label: where it does not tell the group either, the potential does as well there as at home, and there is
nothing to find. The case `random frames` is the control.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from ase.build import bulk
from ase.data import atomic_numbers, reference_states
from common import start_clean
from data_sets import data_folder
from rows import Row, parser, publish, row

from hpcmat.records import Label, Method
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.dataset import read_dataset
from hpcmat.surrogates.dataset.data import Dataset, Frame
from hpcmat.surrogates.extrapolation import (
    EDGE_QUANTILE,
    ExtrapolationLimits,
    area_under_curve,
    extrapolation_score,
    posterior_scores,
    site_distribution,
)
from hpcmat.surrogates.trainer import FitOptions, fit_dataset

Size = Literal["small", "medium", "large"]
CHANCE = ("chance", 0.5)
MOLTEN = 0.55
"""Frames of molecular dynamics with more than this share of the largest rms force are called molten."""
COMPRESSED = 0.95
"""Cells with less than this share of the median volume per atom are called compressed."""


def volume_of(frame: Frame) -> float:
    """Å³ per atom."""
    structure = frame.label.structure
    return abs(float(np.linalg.det(structure.cell))) / len(structure)


def force_of(frame: Frame) -> float:
    """Root mean square component, eV/Å."""
    return float(np.sqrt(np.mean(frame.label.forces**2)))


def cases(frames: Sequence[Frame]) -> Iterator[tuple[str, list[int]]]:
    """Name of each case and the frames that it leaves out."""
    group = np.array([frame.group for frame in frames])
    volume, force = np.array([volume_of(frame) for frame in frames]), np.array([force_of(frame) for frame in frames])
    dynamic = np.isin(group, ("AIMD-NVT", "Vacancy"))
    yield "surfaces", list(np.flatnonzero(group == "Surface"))
    yield "melt", list(np.flatnonzero(dynamic & (force > MOLTEN * force[group == "AIMD-NVT"].max())))
    yield "all dynamics of the bulk", list(np.flatnonzero(group == "AIMD-NVT"))
    yield "compressed cells", list(np.flatnonzero(volume < COMPRESSED * np.median(volume)))
    yield "vacancies", list(np.flatnonzero(group == "Vacancy"))
    yield "strained crystals", list(np.flatnonzero(group == "Elastic"))
    yield "random frames", list(np.random.default_rng(7).permutation(len(frames))[: len(frames) // 5])


def other_phases(element: str, volume: float) -> list[Frame]:
    """Rattled crystals of structures that are not the element's own, at this volume per atom; without labels."""
    own = reference_states[atomic_numbers[element]]["symmetry"]
    rng = np.random.default_rng(5)
    made = []
    for lattice, sites in (("sc", 1), ("bcc", 2), ("fcc", 4), ("diamond", 8)):
        for _ in range(4 if lattice != own else 0):
            atoms = bulk(element, lattice, a=(sites * volume) ** (1 / 3), cubic=True) * (2, 2, 2)
            atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
            label = Label(structure_of(atoms), np.nan, np.empty((0, 3)), np.empty(0), Method("none", "", "{}", ""))
            made.append(Frame(-1, label, "other phase"))
    return made


def scores(train: Dataset, frames: Sequence[Frame], size: Size) -> dict[str, np.ndarray]:
    """Every score of every frame, by a potential fitted to `train` with default options."""
    potential = fit_dataset(train, FitOptions(size))
    limits = ExtrapolationLimits(*(value for _, value in potential.metadata.extrapolation_limits))
    sites = site_distribution([potential.design(frame.label.structure) for frame in train.frames])
    table: dict[str, list[float]] = {}
    for frame in frames:
        design = potential.design(frame.label.structure)
        found = posterior_scores(potential, design)
        error = np.ravel(frame.label.forces) - design.forces @ potential.coefficients if frame.label.forces.size else 0
        row_of_frame = {
            "extrapolation score": extrapolation_score(found, limits),
            "largest force sigma": found.force_max,
            "mean force sigma": found.force_mean,
            "energy sigma per atom": found.energy,
            "largest site leverage": found.leverage_max,
            "largest Mahalanobis distance": float(sites.mahalanobis(design.site).max()),
            "largest distance to a training site": float(sites.to_nearest(design.site).max()),
            "largest local outlier factor": float(sites.outlier_factor(design.site).max()),
            "true force error": float(np.sqrt(np.mean(np.square(error)))),
        }
        for name, value in row_of_frame.items():
            table.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in table.items()}


def with_outlier_factor(table: dict[str, np.ndarray], first_inside: int) -> np.ndarray:
    """The extrapolation score joined with the outlier factor over what 95 % of the held-out frames stay below."""
    factor = table["largest local outlier factor"]
    return np.maximum(table["extrapolation score"], factor / np.quantile(factor[first_inside:], EDGE_QUANTILE))


def measure(element: str, data: Dataset, size: Size) -> list[Row]:
    """All cases of one element."""
    frames, rows = data.frames, []
    for case, outside in cases(frames):
        rest = np.setdiff1d(np.arange(len(frames)), outside)
        held = np.random.default_rng(0).permutation(rest)[: len(rest) // 5]
        train = replace(data, frames=tuple(frames[i] for i in np.setdiff1d(rest, held)))
        strange = [frames[i] for i in outside]
        volume = float(np.median([volume_of(frame) for frame in frames]))
        phases = other_phases(element, volume) if case == "random frames" else []
        table = scores(train, [*strange, *phases, *(frames[i] for i in held)], size)
        n, m = len(strange), len(strange) + len(phases)
        table["extrapolation score with the outlier factor"] = with_outlier_factor(table, m)
        rows += compare(f"{element} {size}, {case} ({n} against {len(held)})", table, slice(0, n), m)
        if phases:
            rows += compare(
                f"{element} {size}, other phases, made up ({m - n} against {len(held)})", table, slice(n, m), m
            )
    return rows


def compare(case: str, table: dict[str, np.ndarray], outside: slice, first_inside: int) -> list[Row]:
    """One row per score, and how a limit of 1 does."""
    labelled = "made up" not in case
    rows = [
        area_row(case, name, values[outside], values[first_inside:])
        for name, values in table.items()
        if labelled or name != "true force error"
    ]
    beyond = table["extrapolation score"] > 1.0
    shares = (("outside, beyond a score of 1", beyond[outside]), ("inside, beyond a score of 1", beyond[first_inside:]))
    return [*rows, *(row(case, name, float(np.mean(part)), "", ("all", 1.0)) for name, part in shares)]


def area_row(case: str, name: str, outside: np.ndarray, inside: np.ndarray) -> Row:
    """AUROC with its standard error (Hanley and McNeil, Radiology 143 (1982) 29)."""
    area, n, m = area_under_curve(outside, inside), len(outside), len(inside)
    twice = area / (2 - area), 2 * area**2 / (1 + area)
    variance = (area * (1 - area) + (n - 1) * (twice[0] - area**2) + (m - 1) * (twice[1] - area**2)) / (n * m)
    return row(case, f"AUROC of the {name}", area, "", CHANCE, float(np.sqrt(max(variance, 0.0))))


def check() -> None:
    """Stop where the area is not the share of pairs in order."""
    rng = np.random.default_rng(0)
    outside, inside = rng.integers(0, 9, 50), rng.integers(0, 7, 40)
    pairs = np.sign(outside[:, None] - inside[None])
    assert np.isclose(area_under_curve(outside, inside), np.mean((pairs + 1) / 2))
    assert np.isclose(area_under_curve(inside, outside), 1 - np.mean((pairs + 1) / 2))


def main() -> None:
    """Measure the elements asked for."""
    start_clean()
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, help="folder with zuo2020/; HPCMAT_DATA or ../shared/data if not given")
    options.add_argument("--elements", nargs="+", default=["Si", "Cu", "Li"])
    options.add_argument("--size", default="medium", choices=("small", "medium", "large"))
    chosen = options.parse_args()
    folder = data_folder(chosen.data, "zuo2020")
    check()
    rows: list[Row] = []
    for element in chosen.elements:
        rows += measure(element, read_dataset(folder / f"{element}_train.xyz.gz"), chosen.size)
    publish(rows, chosen.json)


if __name__ == "__main__":
    main()
