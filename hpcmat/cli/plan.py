"""`hpcmat plan`: what will run, what it will cost and where it will go, before anything is spent."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcmat.cli.common import (
    DEFAULT_OUT,
    DEFAULT_STORE,
    Account,
    AsJson,
    CampaignFile,
    GuaranteedHours,
    Nodes,
    OutFolder,
    QueueName,
    SiteName,
    StoreFolder,
    WalltimeHours,
    print_columns,
    print_json,
)

if TYPE_CHECKING:
    from hpcmat.campaign.allocations import Errand, Wish
    from hpcmat.campaign.plan import Plan
    from hpcmat.campaign.specification import Specification
    from hpcmat.dispatch.batch import AllocationRequest, BatchJob
    from hpcmat.dispatch.sites import Machine, Site


def plan(  # noqa: PLR0913 - one parameter for each option of the command line
    campaign: CampaignFile,
    site: SiteName = "local",
    out: OutFolder = DEFAULT_OUT,
    store: StoreFolder = DEFAULT_STORE,
    nodes: Nodes = None,
    walltime: WalltimeHours = None,
    guaranteed: GuaranteedHours = None,
    queue: QueueName = "",
    account: Account = "",
    as_json: AsJson = False,
) -> None:
    """Show what will run, its cost, and the batch script where the site has a scheduler.

    The forecast is for the whole label budget, or for all candidates of a screening; a campaign that reaches its target
    ends earlier. Nothing is written.
    """
    from hpcmat.campaign.plan import make_plan
    from hpcmat.campaign.resources import placing_sentence
    from hpcmat.campaign.specification import load_specification
    from hpcmat.cli.submit import make_errand, make_wish
    from hpcmat.dispatch.sites import describe_machine, load_site

    spec = load_specification(campaign)
    where = load_site(site)
    machine = describe_machine(where)
    forecast = make_plan(spec, machine, store)
    batch = _batch(make_errand(campaign, out, store), where, make_wish(nodes, walltime, guaranteed, queue, account))
    placing = placing_sentence(where, spec, batch[0].nodes if batch else 1)
    limit = spec.budget.node_hours
    if as_json:
        data = _as_data(forecast, where, machine, _files(spec, out, store)) | {"budget_node_hours": limit}
        print_json(data | {"placing": placing, "allocation": _allocation_data(batch, forecast)})
        return
    print(f"{campaign}: campaign '{spec.name}' on site '{where.name}' ({machine.workers} workers)\n")
    _print_forecast(forecast)
    if limit is not None and forecast.node_hours > limit:
        print(f"  The budget of {limit} node-hours will end the campaign before all labels are computed.")
    if batch is not None:
        _print_allocation(*batch, forecast, _driver_sentence(machine, placing))
    elif placing:
        print(f"  {placing}")
    print()
    print_columns([(name, path) for name, path in _files(spec, out, store).items()])


def _batch(errand: Errand, site: Site, wish: Wish) -> tuple[AllocationRequest, BatchJob] | None:
    """What would be asked of the scheduler; None where there is none."""
    from hpcmat.campaign.allocations import allocation_request
    from hpcmat.dispatch.batch import batch_job

    if site.kind == "local":
        return None
    request = allocation_request(errand, site, wish)
    return request, batch_job(site, request)


def _driver_sentence(machine: Machine, placing: str) -> str:
    if placing:
        return f"the driver runs on the first node; {placing}"
    workers = f"{machine.workers} workers of {machine.cores_per_worker} core(s)"
    return f"the driver and {workers} run on the first node"


def _print_allocation(request: AllocationRequest, job: BatchJob, forecast: Plan, where: str) -> None:
    print(
        f"  {_count(request, forecast)} allocation(s) of {request.nodes} node(s) for {_duration(request.walltime_s)} "
        f"in queue '{job.queue}'; {where}\n\n  {' '.join(job.command)} SCRIPT, with this script:\n"
    )
    print("\n".join(f"    {line}".rstrip() for line in job.script.splitlines()))


def _allocation_data(batch: tuple[AllocationRequest, BatchJob] | None, forecast: Plan) -> dict[str, Any] | None:
    if batch is None:
        return None
    request, job = batch
    return {
        "count": _count(request, forecast),
        "nodes": request.nodes,
        "walltime_s": request.walltime_s,
        "queue": job.queue,
        "command": list(job.command),
        "script": job.script,
    }


def _count(request: AllocationRequest, forecast: Plan) -> int:
    from hpcmat.dispatch.batch.script import drain_margin_s

    return max(1, math.ceil(forecast.wall_s / (request.walltime_s - drain_margin_s(request.walltime_s))))


def _print_forecast(forecast: Plan) -> None:
    rows = [("tasks", "number", "stored", "seconds each", "known from")]
    rows += [
        (item.purpose, str(item.count), str(item.stored), f"{item.seconds_each:.2f}", item.source)
        for item in forecast.forecasts
    ]
    print_columns(rows)
    print(f"\n  {forecast.node_hours:.3g} node-hours, about {_duration(forecast.wall_s)} with all workers busy")
    if forecast.cheap_node_hours:
        print(f"  {forecast.cheap_node_hours:.3g} of them for cheap labels of all candidates")
    if any(item.source == "guess" for item in forecast.forecasts):
        print("  A guess is right within about a factor of three; records in the store replace it.")


def _files(spec: Specification, out: Path, store: Path) -> dict[str, str]:
    from hpcmat.campaign.folder import CampaignFolder

    folder = CampaignFolder(out)
    potential = {"potential": str(folder.potential)} if spec.kind == "potential" else {}
    return {"journal": str(folder.journal_file), "results": str(store), **potential, "report": str(folder.report)}


def _as_data(forecast: Plan, site: Site, machine: Machine, files: dict[str, str]) -> dict[str, Any]:
    return {
        "tasks": [asdict(item) for item in forecast.forecasts],
        "node_hours": forecast.node_hours,
        "cheap_node_hours": forecast.cheap_node_hours,
        "wall_s": forecast.wall_s,
        "site": {"name": site.name, "file": str(site.source), **asdict(machine)},
        "files": files,
    }


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
