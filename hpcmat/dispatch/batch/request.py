"""What is asked of a scheduler, and which queue of a site can grant it."""

from __future__ import annotations

from dataclasses import dataclass

from hpcmat.dispatch.site_model import Batch, Queue, Site
from hpcmat.errors import InputError
from hpcmat.toml_input import did_you_mean
from hpcmat.units import SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class AllocationRequest:
    """One allocation: so many nodes for so long, and what runs in it."""

    name: str
    """Name of the job: letters, digits, `-`, `_` and `.`, a letter first."""
    body: str
    """Shell text that is run on the first node."""
    folder: str
    """Where the job starts and its output goes; absolute."""
    nodes: int
    walltime_s: int
    guaranteed_s: int | None = None
    """Walltime after which the scheduler may end the job for another one; None where all of it is guaranteed."""
    ranks_per_node: int = 1
    account: str = ""
    queue: str = ""
    """Empty: the first queue of the site that can grant the request."""


def batch_of(site: Site) -> Batch:
    """The scheduler of a site.

    Raises
    ------
    InputError
        The site has none.
    """
    if site.batch is None:
        raise InputError(f"site '{site.name}' has no scheduler; `hpcmat run CAMPAIGN --site {site.name}` needs none")
    return site.batch


def choose_queue(site: Site, request: AllocationRequest) -> Queue:
    """The queue named, or the first that grants the request.

    Raises
    ------
    InputError
        No such queue, or none grants it; the message says what each would grant.
    """
    queues = batch_of(site).queues
    if request.queue:
        queues = _named(site, queues, request.queue)
    else:
        queues = tuple(queue for queue in queues if not queue.only_by_name)
    refusals = [(queue, _refusal(queue, request)) for queue in queues]
    granted = next((queue for queue, refusal in refusals if not refusal), None)
    if granted is not None:
        return granted
    reasons = "; ".join(f"{queue.name} {refusal}" for queue, refusal in refusals) or "none is used unless named"
    raise InputError(f"no queue of site '{site.name}' grants this: {reasons}; change --nodes or --walltime")


def account_of(site: Site, request: AllocationRequest) -> str:
    """Who is charged: the request's account, else the site's.

    Raises
    ------
    InputError
        The site wants one and there is none.
    """
    batch = batch_of(site)
    account = request.account or batch.account
    if not account and batch.account_required:
        raise InputError(f"site '{site.name}' refuses jobs without an account; give it with --account GROUP")
    return account


def clock(seconds: int) -> str:
    """`hours:minutes:seconds`, the form that all four schedulers take."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def _named(site: Site, queues: tuple[Queue, ...], name: str) -> tuple[Queue, ...]:
    """All entries of a name: a queue whose limits depend on the number of nodes has several."""
    if found := tuple(queue for queue in queues if queue.name == name):
        return found
    names = list(dict.fromkeys(queue.name for queue in queues))
    hint = did_you_mean(name, names)
    raise InputError(f"site '{site.name}' has no queue '{name}'; {hint + ' ' if hint else ''}known: {', '.join(names)}")


def _refusal(queue: Queue, request: AllocationRequest) -> str:
    """Why a queue does not grant a request; empty where it does."""
    if request.nodes < queue.min_nodes:
        return f"takes {queue.min_nodes} nodes or more"
    if queue.max_nodes is not None and request.nodes > queue.max_nodes:
        return f"takes {queue.max_nodes} nodes or fewer"
    if request.nodes % queue.node_multiple:
        return f"takes multiples of {queue.node_multiple} nodes"
    return _time_refusal(queue, request)


def _time_refusal(queue: Queue, request: AllocationRequest) -> str:
    guaranteed, longest = request.walltime_s, queue.max_walltime_h
    if request.guaranteed_s is not None:
        if queue.max_adaptive_walltime_h is None:
            return "guarantees the whole walltime or none"
        if request.walltime_s > queue.max_adaptive_walltime_h * SECONDS_PER_HOUR:
            return f"ends all jobs after {queue.max_adaptive_walltime_h:g} h"
        guaranteed = request.guaranteed_s
    if longest is not None and guaranteed > longest * SECONDS_PER_HOUR:
        return f"takes {longest:g} h or less"
    return ""
