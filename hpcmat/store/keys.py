"""Content keys: equal physics, equal key, whoever asks, wherever and with how many ranks it runs."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from hpcmat.records import SCHEMA_VERSION, Structure, canonical_json

POSITION_DIGITS = 10
"""Positions and cells enter a key rounded to 1e-10 Å: below that no engine tells two structures apart."""


def content_key(kind: str, physics: str) -> str:
    """Hex sha256 of the kind of task and the canonical form of its physics.

    Parameters
    ----------
    kind : str
        `label`, `explore` or `fit`.
    physics : str
        JSON of everything that determines the result, and nothing else.
    """
    text = f"hpcmat/{SCHEMA_VERSION}/{kind}/{canonical_json(physics)}"
    return hashlib.sha256(text.encode()).hexdigest()


def structure_physics(structure: Structure) -> str:
    """Canonical JSON of a structure, rounded so that noise below 1e-10 Å changes nothing."""
    return json.dumps(
        {
            "symbols": list(structure.symbols),
            "positions": _rounded(structure.positions),
            "cell": _rounded(structure.cell),
            "pbc": list(structure.pbc),
        },
        sort_keys=True,
    )


def _rounded(array: np.ndarray) -> list[list[float]]:
    # Adding zero turns -0.0 into 0.0, which would otherwise give the same structure two keys.
    rounded: list[list[float]] = (np.round(array, POSITION_DIGITS) + 0.0).tolist()
    return rounded
