"""The processes that a calculation may use: told by whoever placed the task, read by the engine that starts them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import ValidationError

from hpcmat.errors import DispatchError
from hpcmat.records import PARALLEL_VARIABLE, Parallel, decode

__all__ = ["PARALLEL_VARIABLE", "SERIAL", "Parallel", "parallel_here"]

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
