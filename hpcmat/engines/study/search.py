"""The cheapest of two series of settings that is within tolerance, decided from errors alone."""

from __future__ import annotations

from collections.abc import Callable

CONFIRMATIONS = 2
"""How many finer settings must be within tolerance too: errors may cross zero by accident."""

Error = Callable[[int], float]
"""Largest error over its tolerance at one setting of a series; infinite after a failure."""


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


def cheapest_within(
    counts: tuple[int, int], errors: tuple[Error, Error], joint: Callable[[int, int], float]
) -> tuple[int, int] | None:
    """Cheapest pair of settings within tolerance; None where no setting of one series is, or no pair.

    Both series are searched alone. Their errors add up, so that the pair is then checked itself; where it is outside,
    the setting with the larger error of its own is refined.

    Parameters
    ----------
    counts : settings in each series, from cheap to dear.
    errors : of each series alone.
    joint : largest error over its tolerance of a pair.
    """
    first = coarsest_within(counts[0], lambda i: errors[0](i) <= 1.0)
    second = coarsest_within(counts[1], lambda j: errors[1](j) <= 1.0)
    if first is None or second is None:
        return None
    while joint(first, second) > 1.0:
        refinable = (first + 1 < counts[0], second + 1 < counts[1])
        if not any(refinable):
            return None
        if refinable[0] and (not refinable[1] or errors[0](first) >= errors[1](second)):
            first += 1
        else:
            second += 1
    return first, second
