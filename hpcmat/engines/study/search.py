"""The cheapest of two series of settings that is within tolerance, decided from errors alone."""

from __future__ import annotations

from collections.abc import Callable

CONFIRMATIONS = 2
"""How many finer settings must be within tolerance too: errors may cross zero by accident."""

Worst = Callable[[int, int], float]
"""Largest error over its tolerance at settings i of the first series and j of the second; infinite after a failure."""


def coarsest_within(count: int, within: Callable[[int], bool]) -> int | None:
    """The coarsest setting within tolerance whose next finer ones are so too, as far as there are any.

    Settings 0, 1, ..., count - 1 rise in cost and are asked in this order; those finer than need be are not asked. An
    error that is within tolerance by accident is passed over where one of the next two finer settings is not.
    """
    first: int | None = None
    for index in range(count):
        if not within(index):
            first = None
            continue
        first = index if first is None else first
        if index - first == CONFIRMATIONS:
            break
    return first


def cheapest_within(counts: tuple[int, int], worst: Worst) -> tuple[int, int] | None:
    """Cheapest pair of settings within tolerance; None where no setting of one series is, or no pair.

    Each series is searched with the other at its tight end, which has the number `counts[0]` or `counts[1]`. Both
    errors add up, so that the pair is then checked itself; where it is outside, the one with the larger error of its
    own is refined.
    """
    tight_first, tight_second = counts
    first = coarsest_within(tight_first, lambda i: worst(i, tight_second) <= 1.0)
    second = coarsest_within(tight_second, lambda j: worst(tight_first, j) <= 1.0)
    if first is None or second is None:
        return None
    while worst(first, second) > 1.0:
        refinable = (first + 1 < tight_first, second + 1 < tight_second)
        if not any(refinable):
            return None
        if refinable[0] and (not refinable[1] or worst(first, tight_second) >= worst(tight_first, second)):
            first += 1
        else:
            second += 1
    return first, second
