"""Sharing work among threads that wait for the next call and end before a fork, which would copy none of them.

An executor of the standard library takes 0.1 ms to hand over a piece of work and to take back its end, which is the
time of fifty atoms.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread

import numpy as np

PIECES_PER_THREAD = 2
"""A thread that is held up leaves its later piece to the others; each costs some 0.05 ms."""
_queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
_threads: list[Thread] = []
_lock = Lock()


def with_helpers(work: Callable[[], None], threads: int) -> None:
    """Call `work` here and on threads - 1 others, for which nobody waits: when this call returns, all must be done.

    What `work` raises is seen of the call made here alone.
    """
    _start(threads - 1)
    for _ in range(threads - 1):
        _queue.put(work)
    work()


def in_parallel(work: Callable[[tuple[int, int]], None], n: int, threads: int) -> None:
    """Call `work` with consecutive ranges (start, end) that make up 0 .. n, each by the thread that is free.

    `work` must release Python's lock to gain from it, and write only what belongs to its range. Raises what it raised.
    """
    pieces = 1 if threads == 1 else PIECES_PER_THREAD * threads
    bounds = np.linspace(0, n, pieces + 1).astype(int).tolist()
    queue, ends = itertools.pairwise(bounds), SimpleQueue[Exception | None]()
    with_helpers(lambda: ends.put(_work_off(work, queue)), threads)
    errors = [error for error in (ends.get() for _ in range(threads)) if error is not None]
    if errors:
        raise errors[0]


def _work_off(work: Callable[[tuple[int, int]], None], queue: Iterator[tuple[int, int]]) -> Exception | None:
    try:
        for piece in queue:
            work(piece)
    except Exception as error:  # noqa: BLE001 - raised by the caller
        return error
    return None


def _start(count: int) -> None:
    """Have at least so many waiting threads."""
    if len(_threads) < count:
        with _lock:
            for _ in range(len(_threads), count):
                _threads.append(Thread(target=_serve, name="hpcmat-kernels", daemon=True))
                _threads[-1].start()


def _serve() -> None:
    while (work := _queue.get()) is not None:
        with suppress(Exception):
            work()
        # Else what it holds stays in memory until the next call.
        del work


def _end_all() -> None:
    with _lock:
        for _ in _threads:
            _queue.put(None)
        for thread in _threads:
            thread.join()
        _threads.clear()


os.register_at_fork(before=_end_all)
