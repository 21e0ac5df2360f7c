"""Random draws that depend on names, not on order: the same journal gives the same choice, whatever ended first."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence


def seed_for(*names: object) -> int:
    """A 63-bit seed from any printable names."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def uniform_for(*names: object) -> float:
    """A number in [0, 1) from any printable names."""
    return seed_for(*names) / 2.0**63


def weighted_draw(weights: Sequence[float], draws: Sequence[float]) -> int:
    """Index drawn with chances in proportion to weights; what it is does not depend on their order.

    Each has a number of its own, so that leaving one out changes nothing among the others (Efraimidis & Spirakis,
    Inf. Process. Lett. 97 (2006) 181): the first to come of independent waiting times, -ln(u) / w.

    Parameters
    ----------
    weights : (C,), not negative, some of them positive.
    draws : (C,), uniform numbers in [0, 1).
    """
    waits = [
        -math.log1p(-draw) / weight if weight > 0.0 else math.inf for weight, draw in zip(weights, draws, strict=True)
    ]
    return min(range(len(waits)), key=waits.__getitem__)


def reserved_frames(n_frames: int, fraction: float, *names: object) -> frozenset[int]:
    """Frames of one exploration drawn uniformly for the validation stream.

    At least one, so that every trajectory is represented; a single frame with the probability `fraction`, so that
    trajectories that end at once leave something to train on and something to be judged by.
    """
    if n_frames == 1:
        return frozenset({0} if uniform_for(*names, 0) < fraction else ())
    count = min(n_frames, max(1, math.ceil(fraction * n_frames)))
    order = sorted(range(n_frames), key=lambda frame: uniform_for(*names, frame))
    return frozenset(order[:count])
