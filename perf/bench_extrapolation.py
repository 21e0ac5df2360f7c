"""How well scores tell structures that lie outside of the training set: AUROC of groups that were left out.

For each case a group of frames is kept from training; of the rest a random fifth is held out and the potential is
fitted to the others. Held-out frames are inside, the group is outside. The peer is chance, 0.5. `true force error`
is no score, since it needs the label: where it does not tell the group either, the potential does as well there as at
home, and there is nothing to find. The case `random frames` is the control.
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, reference_states
from ase.io import read
from common import start_clean
from rows import Row, parser, publish, row

from hpcmat.records import Label, Method
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.extrapolation import (
    area_under_curve,
    extrapolation_limits,
    extrapolation_score,
    posterior_scores,
    site_distribution,
)
from hpcmat.surrogates.fitting import fit_potential

CHANCE = ("chance", 0.5)
MOLTEN = 0.55
"""Frames of molecular dynamics with more than this share of the largest rms force are called molten."""
COMPRESSED = 0.95
"""Cells with less than this share of the median volume per atom are called compressed."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One labelled frame and the group it is from."""

    group: str
    label: Label

    @property
    def volume(self) -> float:
        """Å³ per atom."""
        return abs(float(np.linalg.det(self.label.structure.cell))) / len(self.label.structure)

    @property
    def force(self) -> float:
        """Root mean square component, eV/Å."""
        return float(np.sqrt(np.mean(self.label.forces**2)))


def frames_of(path: Path) -> list[Frame]:
    """Labelled frames of a gzip'd extended XYZ file."""
    return [frame_of(atoms) for atoms in read(io.StringIO(gzip.decompress(path.read_bytes()).decode()), ":", "extxyz")]


def frame_of(atoms: Atoms) -> Frame:
    """Label under the keys REF_*."""
    stress = np.ravel(atoms.info.get("REF_stress", ()))
    voigt = stress[[0, 4, 8, 5, 2, 1]] if len(stress) == 9 else stress
    method = Method("reference", "", "{}", "")
    label = Label(structure_of(atoms), float(atoms.info["REF_energy"]), atoms.arrays["REF_forces"], voigt, method)
    return Frame(str(atoms.info.get("config_type", "")), label)


def cases(frames: list[Frame]) -> Iterator[tuple[str, list[int]]]:
    """Name of each case and the frames that it leaves out."""
    group = np.array([frame.group for frame in frames])
    volume, force = np.array([frame.volume for frame in frames]), np.array([frame.force for frame in frames])
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
            made.append(Frame("other phase", label))
    return made


def scores(train: list[Frame], frames: list[Frame], settings: AceSettings) -> dict[str, np.ndarray]:
    """Every score of every frame, by a potential fitted to `train`."""
    potential = fit_potential(tuple(frame.label for frame in train), settings).potential
    designs = [potential.design(frame.label.structure) for frame in train]
    limits = extrapolation_limits([posterior_scores(potential, design) for design in designs])
    sites = site_distribution(designs)
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
            "true force error": float(np.sqrt(np.mean(np.square(error)))),
        }
        for name, value in row_of_frame.items():
            table.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in table.items()}


def measure(element: str, frames: list[Frame], size: str) -> list[Row]:
    """All cases of one element."""
    settings, rows = AceSettings((element,), size=size), []
    for case, outside in cases(frames):
        rest = np.setdiff1d(np.arange(len(frames)), outside)
        held = np.random.default_rng(0).permutation(rest)[: len(rest) // 5]
        train = [frames[i] for i in np.setdiff1d(rest, held)]
        strange = [frames[i] for i in outside]
        phases = other_phases(element, float(np.median([f.volume for f in frames]))) if case == "random frames" else []
        table = scores(train, [*strange, *phases, *(frames[i] for i in held)], settings)
        n, m = len(strange), len(strange) + len(phases)
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
        row(case, f"AUROC of the {name}", area_under_curve(values[outside], values[first_inside:]), "", CHANCE)
        for name, values in table.items()
        if labelled or name != "true force error"
    ]
    beyond = table["extrapolation score"] > 1.0
    shares = (("outside, beyond a score of 1", beyond[outside]), ("inside, beyond a score of 1", beyond[first_inside:]))
    return [*rows, *(row(case, name, float(np.mean(part)), "", ("all", 1.0)) for name, part in shares)]


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
    here = Path(__file__).resolve().parents[2] / "shared" / "data"
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, default=Path(os.environ.get("HPCMAT_DATA", here)))
    options.add_argument("--elements", nargs="+", default=["Si", "Cu", "Li"])
    options.add_argument("--size", default="small", choices=("small", "medium", "large"))
    chosen = options.parse_args()
    folder = chosen.data / "zuo2020"
    if not folder.is_dir():
        print(f"skipped: {folder} is absent; pass --data or set HPCMAT_DATA")
        return
    check()
    rows: list[Row] = []
    for element in chosen.elements:
        rows += measure(element, frames_of(folder / f"{element}_train.xyz.gz"), chosen.size)
    publish(rows, chosen.json)


if __name__ == "__main__":
    main()
