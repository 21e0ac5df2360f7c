"""`hpcmat check`: whether the campaign file is right, and what it means with all defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpcmat.cli.common import AsJson, CampaignFile, print_columns, print_json

if TYPE_CHECKING:
    from hpcmat.campaign.screen.spec import ScreenCampaign
    from hpcmat.campaign.spec import Campaign
    from hpcmat.campaign.spec_table import Setting
    from hpcmat.campaign.specification import Specification

SiteToCheck = Annotated[
    str, typer.Option("--site", metavar="NAME", help="Site on which its labels are to run: a name, or a file.")
]


def check(campaign: CampaignFile, site: SiteToCheck = "", as_json: AsJson = False) -> None:
    """Validate a campaign file, and whether its labels can run on a site.

    Prints every setting, given or default, with its unit. Nothing is run or written.
    """
    from hpcmat.campaign.screen.spec import ScreenCampaign
    from hpcmat.campaign.spec import Campaign
    from hpcmat.campaign.spec_table import resolved_settings
    from hpcmat.campaign.specification import load_specification

    spec = load_specification(campaign)
    settings = resolved_settings(spec)
    facts = _facts(spec, campaign) if isinstance(spec, Campaign) else _candidates(spec)
    if site:
        facts |= {"placing": _placing(spec, site)}
    if as_json:
        rows = [_as_data(setting) for setting in settings]
        print_json({"file": str(campaign), "valid": True, "settings": rows, **facts})
        return
    print(f"{campaign}: campaign '{spec.name}' is valid")
    _print_tables(settings)
    if isinstance(spec, ScreenCampaign):
        print(f"\n{len(facts['candidates'])} candidates: {', '.join(facts['candidates'])}")
    else:
        print(
            f"\n{facts['seed_structures']} seed structure(s) of {facts['seed_atoms']} atoms, "
            f"{facts['reference_structures']} reference cells, at most {facts['labels']} labels, "
            f"of which {facts['validation_frames']} for validation"
        )
    if facts.get("placing"):
        print(f"on site '{site}': {facts['placing']}")
    for warning in facts.get("warnings", ()):
        print(f"warning: {warning}")


def _placing(spec: Specification, name: str) -> str:
    from hpcmat.campaign.resources import placing_sentence
    from hpcmat.dispatch.sites import load_site

    site = load_site(name)
    return placing_sentence(site, spec, site.batch.nodes if site.batch else 1) or "labels of one process each"


def _candidates(spec: ScreenCampaign) -> dict[str, Any]:
    from hpcmat.campaign.screen.candidates import candidates_of

    return {"candidates": [candidate.name for candidate in candidates_of(spec)]}


def _facts(spec: Campaign, campaign: Path) -> dict[str, Any]:
    from hpcmat.campaign.converged import warnings_about
    from hpcmat.campaign.spec_checks import validation_expected
    from hpcmat.campaign.structures import reference_structures, seed_structures

    seeds = seed_structures(spec)
    return {
        "seed_structures": len(seeds),
        "seed_atoms": ", ".join(str(len(seed)) for seed in seeds),
        "reference_structures": len(reference_structures(spec)),
        "labels": spec.budget.labels,
        "validation_frames": validation_expected(spec),
        "warnings": list(warnings_about(spec, campaign)),
    }


def _print_tables(settings: tuple[Setting, ...]) -> None:
    rows = [("key", "value", "unit", "origin", "meaning"), *(_as_row(setting) for setting in settings)]
    print_columns(rows)


def _as_row(setting: Setting) -> tuple[str, str, str, str, str]:
    origin = "given" if setting.given else "default"
    return (setting.path, shown(setting.value), setting.unit, origin, setting.description)


def _as_data(setting: Setting) -> dict[str, Any]:
    return {
        "key": setting.path,
        "value": setting.value,
        "unit": setting.unit or None,
        "origin": "given" if setting.given else "default",
        "meaning": setting.description,
    }


def shown(value: Any) -> str:
    """Value as TOML would write it; `-` for a limit that is not set."""
    return "-" if value is None else json.dumps(value, ensure_ascii=False)
