"""Allocations of a campaign: asked for, looked at, succeeded by the next, given back.

They stand in the campaign's folder beside the journal, which only the driver writes.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.resources import require_fitting
from hpcmat.dispatch.batch import AllocationRequest, batch_job, scheduler
from hpcmat.dispatch.batch.request import batch_of
from hpcmat.dispatch.batch.scheduler import State, Submission
from hpcmat.dispatch.sites import JOB_VARIABLES, Site, known_sites
from hpcmat.errors import BusyError, DispatchError
from hpcmat.records import decode, encode
from hpcmat.store.atomic import make_folder, write_text
from hpcmat.units import SECONDS_PER_HOUR

_log = logging.getLogger(__name__)
_LOOKED_AT = 8
"""Of a long chain only the newest allocations can stand; each look is a command of the scheduler."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """All allocations of a campaign, oldest first."""

    submissions: tuple[Submission, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """What a user asks of a scheduler; None takes the site's own value."""

    nodes: int | None = None
    walltime_h: float | None = None
    guaranteed_h: float | None = None
    """Walltime after which the scheduler may end the job for another one."""
    queue: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class Errand:
    """A campaign file with the places where its campaign is kept."""

    name: str
    file: Path
    folder: CampaignFolder
    store: Path


def allocation_request(errand: Errand, site: Site, wish: Wish) -> AllocationRequest:
    """What `hpcmat submit` asks of the scheduler of a site.

    Raises
    ------
    InputError
        The site has no scheduler, or more is asked for than a driver fills.
    """
    batch = batch_of(site)
    nodes = wish.nodes if wish.nodes is not None else batch.nodes
    require_fitting(site, nodes)
    return AllocationRequest(
        name=re.sub(r"[^A-Za-z0-9_.-]", "-", f"hpcmat-{errand.name}")[:63],
        body=_body(errand, site, batch.python),
        folder=str(errand.folder.root.absolute()),
        nodes=nodes,
        walltime_s=_seconds(wish.walltime_h if wish.walltime_h is not None else batch.walltime_h),
        guaranteed_s=None if wish.guaranteed_h is None else _seconds(wish.guaranteed_h),
        account=wish.account,
        queue=wish.queue,
    )


def submit_campaign(errand: Errand, site: Site, wish: Wish, allocations: int = 1) -> tuple[Submission, ...]:
    """Ask for an allocation in which the campaign runs, or for several that follow one another.

    Raises
    ------
    InputError
        The site cannot grant it.
    BusyError
        The campaign runs already, or an allocation of it waits.
    DispatchError
        The scheduler refused, or does not exist here.
    """
    request = allocation_request(errand, site, wish)
    job = batch_job(site, request)
    _require_idle(errand.folder)
    make_folder(errand.folder.root)
    script = errand.folder.root.absolute() / f"allocation-{len(read_ledger(errand.folder).submissions) + 1}.sh"
    write_text(script, job.script)
    asked = Submission(
        job="",
        kind=site.kind,
        site=site.name,
        queue=job.queue,
        command=job.command,
        script=str(script),
        nodes=request.nodes,
        walltime_s=request.walltime_s,
        submitted=0.0,
    )
    return _submit_chain(errand.folder, asked, allocations)


def submit_successor(folder: CampaignFolder, environment: Mapping[str, str] = os.environ) -> Submission | None:
    """Ask for the allocation in which the campaign goes on when this one has ended.

    None where this process is in no allocation that `hpcmat submit` asked for, where the next one was asked for
    already, or where jobs cannot submit jobs.
    """
    submissions = read_ledger(folder).submissions
    mine = next((known for known in submissions if environment.get(JOB_VARIABLES[known.kind]) == known.job), None)
    if mine is None or not scheduler.can_submit_from_jobs(mine.kind):
        return None
    if any(known.after == mine.job for known in submissions):
        return None
    try:
        return _submit(folder, mine, after=mine.job)
    except DispatchError as error:
        _log.error("the next allocation was not submitted: %s", error)
        return None


def read_ledger(folder: CampaignFolder) -> Ledger:
    """Allocations asked for so far."""
    if not folder.allocations.exists():
        return Ledger()
    return decode(Ledger, folder.allocations.read_text())


def standing(folder: CampaignFolder) -> list[tuple[Submission, State]]:
    """Allocations that have not ended, as far as their scheduler says."""
    states = [(known, scheduler.state_of(known)) for known in read_ledger(folder).submissions[-_LOOKED_AT:]]
    return [(known, state) for known, state in states if state != "ended"]


def give_back(folder: CampaignFolder) -> list[Submission]:
    """Cancel the allocations that wait; returns them. Those that run are left to their driver, which drains."""
    waiting = [known for known, state in standing(folder) if state == "pending"]
    for known in waiting:
        scheduler.cancel(known)
    return waiting


def _require_idle(folder: CampaignFolder) -> None:
    if folder.driven:
        raise BusyError(f"{folder.root}: a driver runs this campaign; end it with `hpcmat stop {folder.root}` first")
    for known, state in standing(folder):
        raise BusyError(
            f"{folder.root}: job {known.job} of this campaign is {state} on {known.site}; "
            f"give it back with `hpcmat stop {folder.root}` first"
        )


def _submit_chain(folder: CampaignFolder, asked: Submission, allocations: int) -> tuple[Submission, ...]:
    done: list[Submission] = []
    for _ in range(allocations):
        steps = allocations > 1 and not scheduler.can_submit_from_jobs(asked.kind)
        done.append(_submit(folder, asked, done[-1].job if done else "", first_step=steps and not done))
    return tuple(done)


def _submit(folder: CampaignFolder, asked: Submission, after: str = "", *, first_step: bool = False) -> Submission:
    script = Path(asked.script)
    if first_step:
        job = scheduler.submit_first_step(asked.command, script)
    else:
        job = scheduler.submit(asked.kind, asked.command, script, after)
    new = replace(asked, job=job, submitted=time.time(), after=after)
    write_text(folder.allocations, encode(Ledger((*read_ledger(folder).submissions, new))))
    return new


def _body(errand: Errand, site: Site, python: str) -> str:
    words = [
        "run",
        str(errand.file.absolute()),
        "--site",
        _name_of(site),
        "--out",
        str(errand.folder.root.absolute()),
        "--store",
        str(errand.store.absolute()),
    ]
    # In the place of the shell: what the scheduler sends to the job reaches the driver, and the kill does not miss it.
    return f"exec {python or shlex.quote(sys.executable)} -m hpcmat {shlex.join(words)}"


def _name_of(site: Site) -> str:
    """Name of a shipped site, path of any other."""
    return site.name if site.source in known_sites().values() else str((site.source or Path(site.name)).absolute())


def _seconds(hours: float) -> int:
    return round(hours * SECONDS_PER_HOUR)
