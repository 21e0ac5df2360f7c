"""`hpcmat plan`: what will run, what it will cost and where it will go, before anything is spent."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcmat.cli.common import (
    DEFAULT_OUT,
    DEFAULT_STORE,
    AsJson,
    CampaignFile,
    OutFolder,
    SiteName,
    StoreFolder,
    print_columns,
    print_json,
)

if TYPE_CHECKING:
    from hpcmat.campaign.plan import Plan
    from hpcmat.dispatch.sites import Machine, Site


def plan(
    campaign: CampaignFile,
    site: SiteName = "local",
    out: OutFolder = DEFAULT_OUT,
    store: StoreFolder = DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show what will run and its cost.

    The forecast is for the whole label budget; a campaign that reaches its target ends earlier. Nothing is written.
    """
    from hpcmat.campaign.plan import make_plan
    from hpcmat.campaign.spec import load_campaign
    from hpcmat.dispatch.sites import describe_machine, load_site

    spec = load_campaign(campaign)
    where = load_site(site)
    machine = describe_machine(where)
    forecast = make_plan(spec, machine, store)
    limit = spec.budget.node_hours
    if as_json:
        print_json(_as_data(forecast, where, machine, _files(out, store)) | {"budget_node_hours": limit})
        return
    print(f"{campaign}: campaign '{spec.name}' on site '{where.name}' ({machine.workers} workers)\n")
    _print_forecast(forecast)
    if limit is not None and forecast.node_hours > limit:
        print(f"  The budget of {limit} node-hours will end the campaign before all labels are computed.")
    print()
    print_columns([(name, path) for name, path in _files(out, store).items()])


def _print_forecast(forecast: Plan) -> None:
    rows = [("tasks", "number", "stored", "seconds each", "known from")]
    rows += [
        (item.purpose, str(item.count), str(item.stored), f"{item.seconds_each:.2f}", item.source)
        for item in forecast.forecasts
    ]
    print_columns(rows)
    print(f"\n  {forecast.node_hours:.3g} node-hours, about {_duration(forecast.wall_s)} with all workers busy")
    if any(item.source == "guess" for item in forecast.forecasts):
        print("  A guess is right within about a factor of three; records in the store replace it.")


def _files(out: Path, store: Path) -> dict[str, str]:
    from hpcmat.campaign.folder import CampaignFolder

    folder = CampaignFolder(out)
    return {
        "journal": str(folder.journal_file),
        "results": str(store),
        "potential": str(folder.potential),
        "report": str(folder.report),
    }


def _as_data(forecast: Plan, site: Site, machine: Machine, files: dict[str, str]) -> dict[str, Any]:
    return {
        "tasks": [asdict(item) for item in forecast.forecasts],
        "node_hours": forecast.node_hours,
        "wall_s": forecast.wall_s,
        "site": {"name": site.name, "file": str(site.source), **asdict(machine)},
        "files": files,
    }


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
