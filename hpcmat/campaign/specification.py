"""Campaign files of any kind: how they are read, and the structures that they name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, TypeAdapter

from hpcmat.campaign.screen.candidates import candidates_of, references_of
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
    """Of a screening, crystals of the elements."""
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
    specification = parse_specification(read_toml(source), source)
    if isinstance(specification, Campaign):
        check_campaign(specification, source)
    else:
        check_screen(specification, source)
    return specification


def parse_specification(data: dict[str, Any], source: Path) -> Specification:
    """Specification from the tables of its file, without looking at structures or engines."""
    if data.get("kind") != "screen":
        return parse_campaign(data, source)
    screen = parse_model(ScreenCampaign, data, source)
    screen._folder = source.parent
    return screen


def specification_schema() -> dict[str, Any]:
    """JSON Schema of campaign files, in which `kind` says what else there may be."""
    kinds: TypeAdapter[Specification] = TypeAdapter(Annotated[Specification, Discriminator("kind")])
    return kinds.json_schema()


def read_specification(text: str) -> Specification:
    """Specification from its canonical JSON."""
    kind = json.loads(text)["kind"]
    return ScreenCampaign.model_validate_json(text) if kind == "screen" else Campaign.model_validate_json(text)


def contents_of(specification: Specification) -> Contents:
    """Structures that a campaign file names; errors as where they are read."""
    if isinstance(specification, Campaign):
        return Contents(seed_structures(specification), reference_structures(specification))
    candidates, references = candidates_of(specification), references_of(specification)
    names = tuple(candidate.name for candidate in candidates)
    return Contents(tuple(c.structure for c in candidates), tuple(r.structure for r in references), names)
