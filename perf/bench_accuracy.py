"""Errors on the test sets of the comparison of Zuo et al. (J. Phys. Chem. A 124 (2020) 731), beside the published ones.

Fits with default settings, on the training sets only; the test set is read when the potential is finished. The test
sets hold symmetry copies of training frames in their group Elastic: errors without them are given too.
"""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path

from common import start_clean
from data_sets import check_potential, data_folder
from rows import Row, parser, publish, row

from hpcmat.surrogates.dataset import read_dataset
from hpcmat.surrogates.evaluation import evaluate_dataset
from hpcmat.surrogates.trainer import FitOptions, fit_dataset

PUBLISHED = {"Si": (3.0, 0.0881), "Cu": (0.5, 0.0135), "Li": (0.7, 0.0132)}
"""RMSE of MTP, meV/atom and eV/Å: Chen and Ong, Nat. Comput. Sci. 2 (2022) 718, table 1."""
REPRODUCED = {"Si": (0.133, 0.116), "Cu": (0.037, 0.024), "Li": (0.028, 0.033)}
"""Mean absolute force errors, eV/Å, of SNAP and qSNAP: the coefficients that Zuo et al. published, evaluated."""


def measure(folder: Path, element: str, size: str) -> list[Row]:
    """Fit one element at one size and judge it."""
    start = time.perf_counter()
    train = folder / f"{element}_train.xyz.gz"
    potential = fit_dataset(read_dataset(train), FitOptions(size))
    seconds = time.perf_counter() - start
    check_potential(potential, train)
    found = evaluate_dataset(potential, read_dataset(folder / f"{element}_test.xyz.gz"), ("Elastic",))
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
        row(case, "energy RMS z", total.energy_rms_z, "", ("honest", 1.0)),
        row(case, "force RMS z", total.forces_rms_z, "", ("honest", 1.0)),
        row(case, "force components in their 95 % interval", 100 * total.forces_coverage_95, "%", ("honest", 95.0)),
        row(case, "time of the fit", seconds, "s", ("bar", {"medium": 60.0, "large": 900.0}[size])),
    ]


def main() -> None:
    """Fit all elements at both sizes."""
    start_clean()
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
