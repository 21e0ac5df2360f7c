"""Campaign files of any kind: how they are read, and the structures that they name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hpcmat.campaign.screen.candidates import candidates_of
from hpcmat.campaign.screen.checks import check_screen
from hpcmat.campaign.screen.spec import ScreenCampaign
from hpcmat.campaign.spec import Campaign, parse_campaign
from hpcmat.campaign.spec_checks import check_campaign
from hpcmat.campaign.structures import reference_structures, seed_structures
from hpcmat.records import Structure
from hpcmat.toml_input import parse_model, read_toml

Specification = Campaign | ScreenCampaign


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Structures with which a campaign begins."""

    seeds: tuple[Structure, ...]
    """Of a screening, all candidates."""
    references: tuple[Structure, ...] = ()
    names: tuple[str, ...] = ()
    """Of the candidates."""


def load_specification(path: Path | str) -> Specification:
    """Read, validate and cross-check a campaign file.

    Raises
    ------
    InputError
        With the first problem found and what to do about it; nothing is written.
    """
    source = Path(path)
    data = read_toml(source)
    if data.get("kind") != "screen":
        campaign = parse_campaign(data, source)
        check_campaign(campaign, source)
        return campaign
    screen = parse_model(ScreenCampaign, data, source)
    screen._folder = source.parent
    check_screen(screen, source)
    return screen


def read_specification(text: str) -> Specification:
    """Specification from its canonical JSON."""
    kind = json.loads(text)["kind"]
    return ScreenCampaign.model_validate_json(text) if kind == "screen" else Campaign.model_validate_json(text)


def contents_of(specification: Specification) -> Contents:
    """Structures that a campaign file names; errors as where they are read."""
    if isinstance(specification, Campaign):
        return Contents(seed_structures(specification), reference_structures(specification))
    candidates = candidates_of(specification)
    return Contents(tuple(c.structure for c in candidates), names=tuple(c.name for c in candidates))
