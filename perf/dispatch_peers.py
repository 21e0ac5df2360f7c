"""What the parts of bench_dispatch.py share: Parsl's block of one node, and a clock."""

from __future__ import annotations

import time
from collections.abc import Callable

from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider


def one_block() -> LocalProvider:
    """One node, the machine itself, for an executor of Parsl."""
    return LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1, launcher=SimpleLauncher())


def wall_s(work: Callable[[], object]) -> float:
    """How long one call takes, s."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
