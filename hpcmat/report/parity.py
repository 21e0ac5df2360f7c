"""Labels against predictions of the newest fit, frame by frame and component by component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy import special

from hpcmat.campaign.state import CampaignState
from hpcmat.errors import StorageError
from hpcmat.report.schema import ReliabilityPoint
from hpcmat.store.results import ResultStore

Quantity = Literal["energy", "forces"]
Part = Literal["train", "validation"]

FRACTIONS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.99)


@dataclass(frozen=True, slots=True, eq=False)
class ParitySet:
    """Label, prediction and predicted standard deviation, each (n,); eV/atom for energies, eV/Å for forces."""

    label: NDArray[np.float64]
    predicted: NDArray[np.float64]
    sigma: NDArray[np.float64]


Parity = dict[tuple[Quantity, Part], ParitySet]


def read_parity(state: CampaignState, store: ResultStore) -> Parity:
    """Parity data of the newest fit; empty where there is no fit or its file is gone."""
    if state.model is None:
        return {}
    try:
        with np.load(store.folder(state.model.key) / "parity.npz", allow_pickle=False) as arrays:
            return _parity({name: np.asarray(arrays[name], dtype=np.float64).ravel() for name in arrays.files})
    except (StorageError, OSError, ValueError, BadZipFile):
        return {}


def _parity(arrays: dict[str, NDArray[np.float64]]) -> Parity:
    found: Parity = {}
    quantities: tuple[Quantity, ...] = ("energy", "forces")
    parts: tuple[Part, ...] = ("train", "validation")
    for quantity in quantities:
        for part in parts:
            names = [f"{quantity}_{column}_{part}" for column in ("label", "predicted", "sigma")]
            if all(name in arrays for name in names) and arrays[names[0]].size:
                found[quantity, part] = ParitySet(*(arrays[name] for name in names))
    return found


def reliability(parity: Parity) -> tuple[ReliabilityPoint, ...]:
    """Observed coverage of central intervals of the Gaussian predicted for each validation force component."""
    data = parity.get(("forces", "validation"))
    if data is None:
        return ()
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.abs(data.predicted - data.label) / data.sigma
    z = z[np.isfinite(z)]
    if not z.size:
        return ()
    limits = special.ndtri(0.5 * (1.0 + np.array(FRACTIONS)))
    observed = [float((z <= limit).mean()) for limit in limits]
    return tuple(ReliabilityPoint(p, o) for p, o in zip(FRACTIONS, observed, strict=True))
