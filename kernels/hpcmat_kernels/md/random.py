"""Random numbers from counters: the same for a step and an atom however the work is shared or a run is cut.

Philox 4 x 32 with ten rounds: Salmon, Moraes, Dror and Shaw, SC '11, doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)


@njit(cache=True)
def philox(counter: Any, key: Any) -> Any:
    """Four 32-bit numbers, as uint64, from four and a key of two."""
    a, b, c, d = counter
    k, m = key
    for _ in range(10):
        left, right = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a, b, c, d = (right >> HALF) ^ b ^ k, right & LOW, (left >> HALF) ^ d ^ m, left & LOW
        k, m = (k + WEYL[0]) & LOW, (m + WEYL[1]) & LOW
    return a, b, c, d


@njit(cache=True)
def normal_numbers(seed: Any, step: Any, atom: Any, stream: Any) -> Any:
    """Four independent normal numbers, by the method of Box and Muller; none is beyond 6.7 deviations."""
    whole, place = np.uint64(step), np.uint64(seed)
    counter = (whole & LOW, whole >> HALF, np.uint64(atom) & LOW, np.uint64(stream))
    a, b, c, d = philox(counter, (place & LOW, place >> HALF))
    first = np.sqrt(-2.0 * np.log((float(a) + 0.5) * 2.0**-32))
    second = np.sqrt(-2.0 * np.log((float(b) + 0.5) * 2.0**-32))
    angle, other = (2.0**-31 * np.pi) * float(c), (2.0**-31 * np.pi) * float(d)
    return first * np.cos(angle), first * np.sin(angle), second * np.cos(other), second * np.sin(other)
