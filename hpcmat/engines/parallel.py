"""The processes that a calculation may use: told by whoever placed the task, read by the engine that starts them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from hpcmat.errors import DispatchError
from hpcmat.records import decode, encode

PARALLEL_VARIABLE = "HPCMAT_PARALLEL"
"""Environment variable of a task in which its `Parallel` stands as JSON; absent where a task is one process."""


@dataclass(frozen=True, slots=True)
class Parallel:
    """Ranks of one calculation, threads in each, and how they are started on the nodes the task was given."""

    ranks: int = 1
    threads: int = 1
    launch: tuple[str, ...] = ()
    """Words that go before a command, so that its ranks start where they should; empty for one process here."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that the launched command needs besides those of this process."""

    def variables(self) -> dict[str, str]:
        """Environment that hands this on to a task."""
        return {PARALLEL_VARIABLE: encode(self)}


SERIAL = Parallel()
"""One process, one thread."""


def parallel_here(environment: Mapping[str, str] = os.environ) -> Parallel:
    """What this task may use; one process where nobody said otherwise.

    Raises
    ------
    DispatchError
        The variable is there and cannot be read: running serially instead would waste the nodes.
    """
    text = environment.get(PARALLEL_VARIABLE)
    if text is None:
        return SERIAL
    try:
        return decode(Parallel, text)
    except ValidationError as error:
        raise DispatchError(f"{PARALLEL_VARIABLE} cannot be read; do not set it by hand: {error}") from error
