"""Tickets: how threads inside compiled code share out pieces of work, each piece to one of them."""

from __future__ import annotations

from typing import Any

from numba import njit, types
from numba.extending import intrinsic

_sched_yield = types.ExternalFunction("sched_yield", types.int32())
TICKET_ROW = 8
"""Length of a row of tickets: one line of the cache, so that threads at different rows do not hold each other up."""


@intrinsic
def draw(_typing: Any, tickets: Any, row: Any) -> Any:
    """Next ticket of a row of `tickets` (rows, TICKET_ROW), int64, zeros at first: 0, 1, ... over all threads.

    What a thread wrote before it drew is seen by those that draw later, or ask how many were drawn.
    """

    def append(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature, values)
        return builder.atomic_rmw("add", place, context.get_constant(types.int64, 1), "seq_cst")

    return types.int64(tickets, row), append


@intrinsic
def drawn(_typing: Any, tickets: Any, row: Any) -> Any:
    """How many tickets of a row were drawn; arguments as `draw`."""

    def append(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_place(context, builder, signature, values), "seq_cst", 8)

    return types.int64(tickets, row), append


@njit(cache=True, nogil=True)
def next_piece(tickets: Any, rows: Any, n_pieces: Any) -> Any:
    """A piece 0 .. n_pieces - 1 that no thread has taken, or -1; `rows` = (first row, own number, threads).

    Each thread has a row and a range of neighbouring pieces, so that what it reads is in its cache, and helps others
    when it is through.
    """
    first, own, threads = rows
    for step in range(threads):
        owner = (own + step) % threads
        start, end = owner * n_pieces // threads, (owner + 1) * n_pieces // threads
        piece = start + draw(tickets, first + owner)
        if piece < end:
            return piece
    return -1


@njit(cache=True, nogil=True)
def wait_for(tickets: Any, row: Any, count: Any) -> None:
    """Wait until so many tickets of a row are drawn, which takes no longer than one piece of work."""
    while drawn(tickets, row) < count:
        # On a crowded machine the thread that is waited for may need this core.
        _sched_yield()


def _place(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    """Address of the first number of a row."""
    kinds = signature.args
    data = context.make_array(kinds[0])(context, builder, values[0]).data
    row = context.cast(builder, values[1], kinds[1], types.int64)
    return builder.gep(data, [builder.mul(row, context.get_constant(types.int64, TICKET_ROW))])
