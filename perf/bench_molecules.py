"""Errors on acetylacetone molecules (Batatia et al., Nat. Mach. Intell. 7 (2025) 56), beside the published ones.

Fits with default settings to the 500 molecules at 300 K; the tests are read when the potential is finished. Molecules
at 600 K, a turn about a bond and the hydrogen on its way between the oxygens lie outside of what it was fitted to.
"""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path

import numpy as np
from common import start_clean
from data_sets import check_potential, data_folder
from rows import Row, parser, publish, row

from hpcmat.cli.common import keep_freed_memory
from hpcmat.surrogates.dataset import Dataset, read_dataset
from hpcmat.surrogates.evaluation import evaluate_dataset
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.trainer import FitOptions, fit_dataset

TRAIN = "train_300K.xyz.gz"
PUBLISHED = {
    "300 K": {"BOTNet": (0.89, 6.3), "NequIP": (0.81, 5.90), "MACE": (0.9, 5.1)},
    "600 K": {"BOTNet": (6.2, 29.8), "NequIP": (6.04, 27.8), "MACE": (4.6, 22.4)},
}
"""RMSE after training at 300 K, meV per molecule and meV/Å: Batatia et al., NeurIPS 35 (2022), table 3."""
TESTS = {
    "300 K": "test_MD_300K.xyz.gz",
    "600 K": "test_MD_600K.xyz.gz",
    "dihedral": "test_dihedral.xyz.gz",
    "H transfer": "test_H_transfer.xyz.gz",
}


def spread(test: Dataset) -> tuple[float, float]:
    """Errors of one energy for all molecules and no forces, meV per molecule and meV/Å; nan without forces."""
    energies = [frame.label.energy for frame in test.frames]
    forces = np.concatenate([np.ravel(frame.label.forces) for frame in test.frames])
    return 1e3 * float(np.std(energies)), 1e3 * float(np.sqrt(np.mean(forces**2))) if len(forces) else np.nan


def judge(potential: Potential, size: str, case: str, test: Dataset) -> list[Row]:
    """Errors on one test set; those of forces where it has any."""
    n_atoms = {len(frame.label.structure) for frame in test.frames}
    assert len(n_atoms) == 1, "an error per molecule needs molecules of one size"
    found, name = evaluate_dataset(potential, test).total, f"{size}, {case}"
    energy, forces = n_atoms.pop() * found.energy_rmse_mev_per_atom, found.forces_rmse_ev_per_ang
    rows = [row(name, "energy RMS z", found.energy_rms_z, "", ("honest", 1.0))]
    if forces is not None:
        rows.append(row(name, "force RMS z", found.forces_rms_z, "", ("honest", 1.0)))
    for peer, (their_energy, their_forces) in PUBLISHED.get(case, {"no forces": spread(test)}).items():
        rows.append(row(name, "energy RMSE", energy, "meV", (peer, their_energy)))
        if forces is not None:
            rows.append(row(name, "force RMSE", 1e3 * forces, "meV/Å", (peer, their_forces)))
    return rows


def measure(folder: Path, size: str) -> list[Row]:
    """Fit at one size and judge on all test sets."""
    start = time.perf_counter()
    potential = fit_dataset(read_dataset(folder / TRAIN), FitOptions(size), print)
    seconds = time.perf_counter() - start
    check_potential(potential, folder / TRAIN)
    tests = {case: read_dataset(folder / name) for case, name in TESTS.items()}
    rows = [item for case, test in tests.items() for item in judge(potential, size, case, test)]
    return [*rows, row(size, "time of the fit", seconds, "s", ("bar", {"medium": 60.0, "large": 900.0}[size]))]


def main() -> None:
    """Fit at the sizes asked for."""
    start_clean()
    keep_freed_memory()
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, help="folder with acac/; HPCMAT_DATA or ../shared/data if not given")
    options.add_argument("--sizes", nargs="+", choices=["medium", "large"], default=["medium"])
    given: Namespace = options.parse_args()
    folder = data_folder(given.data, "acac")
    publish([item for size in given.sizes for item in measure(folder, size)], given.json)


if __name__ == "__main__":
    main()
