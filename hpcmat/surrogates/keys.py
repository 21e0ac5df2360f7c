"""Content key of a fit."""

from __future__ import annotations

import json
from dataclasses import asdict

from hpcmat.store.keys import content_key
from hpcmat.surrogates.training import FitRequest

PROTOCOL = 1
"""Version of what a fit does; raise it when the same request gives another potential."""


def fit_key(request: FitRequest) -> str:
    """Key from the labels, the basis and what the fit is judged by; not from where the store lies."""
    physics = {
        "protocol": PROTOCOL,
        "settings": asdict(request.settings),
        "train": sorted(request.train),
        "validation": sorted(request.validation),
        "reference": sorted(request.reference),
        "previous": request.previous,
    }
    return content_key("fit", json.dumps(physics))
