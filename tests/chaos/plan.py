"""Which faults strike which campaign, and when: drawn from a seed, so that a run can be repeated."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Site = Literal["local", "node", "nodes"]
"""Without a scheduler; in allocations of one node; in allocations of four, each label under MPI on two of them."""
SITES: tuple[Site, ...] = ("node", "nodes", "local", "node")
"""Of the campaigns in turn."""


class Kind(StrEnum):
    """What is done to a campaign."""

    WORKER = "kill a worker"
    DRIVER = "kill the driver"
    LAUNCHER = "kill a launcher"
    STOP = "stop a process"
    DISK = "fill the disk"
    NODE = "drop a node"
    SCHEDULER = "delay the scheduler"


OF_SLURM = (Kind.NODE, Kind.SCHEDULER)
"""Kinds that strike what a local campaign does not have."""
_SHARES = {
    Kind.WORKER: 8,
    Kind.DRIVER: 3,
    Kind.LAUNCHER: 5,
    Kind.STOP: 8,
    Kind.DISK: 2,
    Kind.NODE: 2,
    Kind.SCHEDULER: 5,
}
"""How often each kind is drawn, relative to the others: those that cost a start of the driver less often."""
_FOR_GOOD = 0.25
"""Share of the stopped processes that nobody wakes, and of the like."""
_LABELS_PER_FAULT = 2


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: it strikes once the journal holds so many events of a kind."""

    kind: Kind
    event: Literal["submitted", "finished"]
    number: int
    draw: int
    """Chooses among the victims that exist then, and among the variants of the fault."""
    seconds: float
    """For what has a duration."""
    for_good: bool = False
    """A stopped process stays stopped; a worker dies after its task, not before it."""


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """One campaign with its faults, in the order in which they strike."""

    name: str
    site: Site
    seed: int
    labels: int
    faults: tuple[Fault, ...]


def draw_plan(seed: int, faults: int, per_campaign: int = 20) -> tuple[CampaignPlan, ...]:
    """Campaigns that bear so many faults together."""
    chance = random.Random(seed)
    plans = []
    while faults > 0:
        number = len(plans)
        count = min(per_campaign, faults)
        site = SITES[number % len(SITES)]
        kinds = [kind for kind in Kind if site != "local" or kind not in OF_SLURM]
        plans.append(_campaign(f"chaos-{number + 1}", site, _draw_kinds(kinds, count, chance), chance))
        faults -= count
    return tuple(plans)


def campaign_of(kinds: tuple[Kind, ...], site: Site, seed: int) -> CampaignPlan:
    """One campaign that meets each of these kinds in this order."""
    return _campaign("chaos", site, list(kinds), random.Random(seed))


def _draw_kinds(kinds: list[Kind], count: int, chance: random.Random) -> list[Kind]:
    """Each kind at least once where there is room, the others by their shares."""
    certain = kinds[:count]
    drawn = certain + chance.choices(kinds, [_SHARES[kind] for kind in kinds], k=count - len(certain))
    chance.shuffle(drawn)
    return drawn


def _campaign(name: str, site: Site, kinds: list[Kind], chance: random.Random) -> CampaignPlan:
    faults = tuple(_fault(kind, 2 + _LABELS_PER_FAULT * place, chance) for place, kind in enumerate(kinds))
    return CampaignPlan(name, site, chance.randrange(1000), max(20, 10 + _LABELS_PER_FAULT * len(kinds)), faults)


def _fault(kind: Kind, earliest: int, chance: random.Random) -> Fault:
    return Fault(
        kind,
        chance.choice(("submitted", "finished")),
        earliest + chance.randrange(_LABELS_PER_FAULT),
        chance.randrange(2**16),
        chance.uniform(0.5, 4.0),
        chance.random() < _FOR_GOOD,
    )
