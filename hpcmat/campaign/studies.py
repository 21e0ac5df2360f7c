"""Structures on which a campaign's engine is studied."""

from __future__ import annotations

from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.structures import seed_structures
from hpcmat.engines.sampling import cold_start
from hpcmat.records import Structure


def study_frames(campaign: Campaign, copies: int) -> tuple[Structure, ...]:
    """Copies of each seed, strained and rattled as those of the cold start; the same campaign gives the same ones."""
    explore = campaign.explore
    return tuple(
        frame
        for number, seed in enumerate(seed_structures(campaign))
        for frame in cold_start(seed, explore.strain, explore.rattle_ang, copies, campaign.seed + number)
    )
