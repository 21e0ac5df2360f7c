"""Errors on the test sets of the comparison of Zuo et al. (J. Phys. Chem. A 124 (2020) 731), beside the published ones.

Fits with default settings, on the training sets only; the test set is read when the potential is finished. The test
sets hold symmetry copies of training frames in their group Elastic: errors without them are given too.

Error bars are judged on the same frames. Standard errors (±) take frames to be independent. The rank correlation of an
atom's force error with its predicted size stands beside its ceiling, what the best Gaussian error bars would reach: it
follows from the distribution of the errors alone (`hpcmat.surrogates.calibration.rank_ceiling`).
"""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path

from common import start_clean
from data_sets import check_potential, data_folder
from rows import Row, parser, publish, row

from hpcmat.cli.common import keep_freed_memory
from hpcmat.records import Label
from hpcmat.surrogates.calibration import Calibration, calibrate
from hpcmat.surrogates.dataset import read_dataset
from hpcmat.surrogates.evaluation import evaluate_dataset
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.trainer import FitOptions, fit_dataset

PUBLISHED = {"Si": (3.0, 0.0881), "Cu": (0.5, 0.0135), "Li": (0.7, 0.0132)}
"""RMSE of MTP, meV/atom and eV/Å: Chen and Ong, Nat. Comput. Sci. 2 (2022) 718, table 1."""
BAR = "bar", 0.75
"""Of the rank correlation."""
REPRODUCED = {"Si": (0.133, 0.116), "Cu": (0.037, 0.024), "Li": (0.028, 0.033)}
"""Mean absolute force errors, eV/Å, of SNAP and qSNAP: the coefficients that Zuo et al. published, evaluated."""


def measure(folder: Path, element: str, size: str) -> list[Row]:
    """Fit one element at one size and judge it."""
    start = time.perf_counter()
    train = folder / f"{element}_train.xyz.gz"
    potential = fit_dataset(read_dataset(train), FitOptions(size))
    seconds = time.perf_counter() - start
    check_potential(potential, train)
    test = read_dataset(folder / f"{element}_test.xyz.gz")
    found = evaluate_dataset(potential, test, ("Elastic",))
    case, total, rest = f"{element} {size}", found.total, found.remaining
    assert rest is not None
    energy, forces = PUBLISHED[element]
    snap, qsnap = REPRODUCED[element]
    return [
        row(case, "energy RMSE", total.energy_rmse_mev_per_atom, "meV/atom", ("MTP", energy)),
        row(case, "force RMSE", total.forces_rmse_ev_per_ang, "eV/Å", ("MTP", forces)),
        row(case, "energy RMSE without Elastic", rest.energy_rmse_mev_per_atom, "meV/atom", ("MTP, all", energy)),
        row(case, "force RMSE without Elastic", rest.forces_rmse_ev_per_ang, "eV/Å", ("MTP, all", forces)),
        row(case, "force MAE", total.forces_mae_ev_per_ang, "eV/Å", ("SNAP", snap)),
        row(case, "force MAE", total.forces_mae_ev_per_ang, "eV/Å", ("qSNAP", qsnap)),
        *error_bars(case, potential, tuple(frame.label for frame in test.frames)),
        row(case, "time of the fit", seconds, "s", ("bar", {"medium": 60.0, "large": 900.0}[size])),
    ]


def error_bars(case: str, potential: Potential, labels: tuple[Label, ...]) -> list[Row]:
    """Whether error bars mean what they say, and whether they tell large errors from small ones."""
    found = calibrate(potential, labels)
    kinds: list[tuple[str, Calibration | None]] = [
        ("energies", found.energy), ("force components", found.forces.components), ("stress components", found.stress)
    ]  # fmt: skip
    rows = []
    for name, kind in kinds:
        if kind is not None:
            inside = 100 * kind.coverage_95, "%", ("honest", 95.0), 100 * kind.coverage_95_error
            rows.append(row(case, f"RMS z of {name}", kind.rms_z, "", ("honest", 1.0), kind.rms_z_error))
            rows.append(row(case, f"{name} in their 95 % interval", *inside))
    rank = found.forces.rank
    metric = "Spearman correlation of force error and predicted error per atom"
    most = row(case, "the most that any error bar could reach of it", rank.ceiling, "", BAR, rank.ceiling_error)
    return [*rows, row(case, metric, rank.observed, "", ("ceiling", rank.ceiling), rank.observed_error), most]


def main() -> None:
    """Fit all elements at both sizes."""
    start_clean()
    keep_freed_memory()
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--data", type=Path, help="folder with zuo2020/; HPCMAT_DATA or ../shared/data if not given")
    options.add_argument("--elements", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    options.add_argument("--sizes", nargs="+", choices=["medium", "large"], default=["medium", "large"])
    given: Namespace = options.parse_args()
    folder = data_folder(given.data, "zuo2020")
    rows = [item for element in given.elements for size in given.sizes for item in measure(folder, element, size)]
    publish(rows, given.json)


if __name__ == "__main__":
    main()
