"""Rehearsals of one campaign under several policies and on several sites, summarised."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpcmat.campaign.costs import CostBook, learned_from
from hpcmat.campaign.rehearsal import LearnedMachine, Rehearsal, rehearse, with_teacher
from hpcmat.campaign.resources import imagined_allocation
from hpcmat.campaign.spec import Campaign, SteeringSpec
from hpcmat.campaign.state import CampaignState, fit_summaries
from hpcmat.campaign.stopping import labels_done
from hpcmat.dispatch.sites import Site, describe_machine, load_site
from hpcmat.toml_input import parse_model


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a campaign needed: medians over its rehearsals."""

    site: str
    workers: int
    """Labels that run at once, of the smallest that there are."""
    policy: str
    rehearsals: int
    labels: float
    """Training and validation labels."""
    node_hours: float
    makespan_s: float
    force_rmse_ev_per_ang: float | None
    """On the validation stream at the end."""
    ended_by: tuple[str, ...]
    """Reasons to stop, each once."""
    durations: Literal["measured", "guessed"]
    """Where the durations of labels come from."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is compared."""

    sites: Sequence[str]
    policies: Sequence[str]
    """Acquisitions; that of the campaign where empty."""
    seeds: int
    teacher: str | None = None


def rehearse_all(campaign: Campaign, wanted: Wanted, store: Path) -> tuple[Rehearsed, ...]:
    """Each policy on each site.

    Parameters
    ----------
    store : result store from whose records durations and failures are learned; it need not exist.

    Raises
    ------
    InputError
        A site or policy is not known, or no teacher knows the elements.
    """
    book = learned_from(store, campaign.engine) if store.is_dir() else CostBook()
    policies = [_with_policy(campaign, name) for name in wanted.policies] or [campaign]
    # All of them before the first rehearsal, which takes long.
    sites = [load_site(name) for name in wanted.sites]
    return tuple(_rehearsed(each, site, wanted, book) for site in sites for each in policies)


def _rehearsed(campaign: Campaign, site: Site, wanted: Wanted, book: CostBook) -> Rehearsed:
    machine = describe_machine(site)
    allocation = imagined_allocation(site, machine)
    taught = with_teacher(campaign, wanted.teacher)
    states = []
    for seed in range(wanted.seeds):
        learned = LearnedMachine.of(campaign.engine, book, seed)
        with tempfile.TemporaryDirectory(prefix="hpcmat-rehearsal-") as root:
            rehearsal = Rehearsal(learned, allocation, machine.cores_per_node, Path(root))
            states.append(rehearse(taught.model_copy(update={"seed": campaign.seed + seed}), rehearsal))
    return Rehearsed(
        site=site.name,
        workers=states[0].runs[0].started.workers,
        policy=campaign.steering.acquisition,
        rehearsals=len(states),
        labels=statistics.median(labels_done(state) for state in states),
        node_hours=statistics.median(state.node_hours for state in states),
        makespan_s=statistics.median(state.last_time for state in states),
        force_rmse_ev_per_ang=_error(states),
        ended_by=tuple(dict.fromkeys(state.stopping.reason if state.stopping else "nothing left" for state in states)),
        durations="measured" if book.model("label").number else "guessed",
    )


def _error(states: Sequence[CampaignState]) -> float | None:
    last = [fits[-1].force_rmse for state in states if (fits := fit_summaries(state))]
    known = [error for error in last if error is not None]
    return statistics.median(known) if known else None


def _with_policy(campaign: Campaign, name: str) -> Campaign:
    steering = parse_model(SteeringSpec, {**campaign.steering.model_dump(), "acquisition": name}, "--policy")
    return campaign.model_copy(update={"steering": steering})
