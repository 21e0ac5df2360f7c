"""Sharing work among threads that live as long as one call, which a later fork survives."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

PIECES_PER_THREAD = 2
"""A thread that is held up leaves its later piece to the others; each costs some 0.05 ms."""


def in_parallel(
    work: Callable[[tuple[int, int]], None], n: int, threads: int, beside: Callable[[], None] | None = None
) -> None:
    """Call `work` with consecutive ranges (start, end) that make up 0 .. n, each by the thread that is free.

    `work` must release Python's lock to gain from it, and write only what belongs to its range. The caller is one of
    the threads. `beside` is one more piece of work that the others do not wait for.
    """
    pieces = 1 if threads == 1 else PIECES_PER_THREAD * threads
    bounds = np.linspace(0, n, pieces + 1).astype(int).tolist()
    tasks: list[Callable[[], None]] = [partial(work, piece) for piece in itertools.pairwise(bounds)]
    queue = iter(tasks if beside is None else [beside, *tasks])
    if threads == 1:
        _work_off(queue)
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(_work_off, queue) for _ in range(threads - 1)]
        _work_off(queue)
        for other in others:
            other.result()


def _work_off(queue: Iterator[Callable[[], None]]) -> None:
    for task in queue:
        task()
