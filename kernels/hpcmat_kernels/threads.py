"""Sharing work among threads that live as long as one call, which a later fork survives."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def in_parallel(work: Callable[[tuple[int, int]], None], n: int, threads: int) -> None:
    """Call `work` with consecutive ranges (start, end) that make up 0 .. n, one for each thread.

    `work` must release Python's lock to gain from it, and write only what belongs to its range.
    """
    bounds = np.linspace(0, n, threads + 1).astype(int).tolist()
    ranges = list(itertools.pairwise(bounds))
    if threads == 1:
        work(ranges[0])
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, ranges))
