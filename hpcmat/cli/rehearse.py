"""`hpcmat rehearse`: the whole campaign on a virtual clock, to know labels, node-hours and makespan before it runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from hpcmat.cli.common import (
    DEFAULT_STORE,
    AsJson,
    CampaignFile,
    StoreFolder,
    one_blas_thread,
    print_columns,
    print_json,
)

if TYPE_CHECKING:
    from hpcmat.campaign.rehearsals import Rehearsed

Sites = Annotated[
    list[str] | None, typer.Option("--site", metavar="NAME", help="Site; given more than once, they are compared.")
]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", metavar="NAME", help="Acquisition; given more than once, they are compared."),
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Rehearsals of each, with different seeds.")]
Teacher = Annotated[
    str | None, typer.Option("--teacher", metavar="NAME", help="Calculator in the place of the engine.")
]


def rehearse(  # noqa: PLR0913 - one parameter for each option of the command line
    campaign: CampaignFile,
    site: Sites = None,
    policy: Policies = None,
    seeds: Seeds = 1,
    store: StoreFolder = DEFAULT_STORE,
    teacher: Teacher = None,
    as_json: AsJson = False,
) -> None:
    """Run a campaign against a teacher in virtual time, and say what it needed.

    Labels are the teacher's; durations and failures are drawn from what the result store knows of this engine, or
    guessed. The campaign itself is not touched.
    """
    one_blas_thread()
    from hpcmat.campaign.rehearsals import Wanted, rehearse_all
    from hpcmat.campaign.spec import load_campaign

    wanted = Wanted(site or ["local"], policy or [], seeds, teacher)
    found = rehearse_all(load_campaign(campaign), wanted, store)
    if as_json:
        print_json([asdict(each) for each in found])
        return
    print(f"{campaign}: rehearsed on a virtual clock, medians of {seeds}\n")
    print_columns([_HEAD, *(_cells(each) for each in found)])
    if any(each.durations == "guessed" for each in found):
        print("\n  Durations are guessed; records of this engine in the store replace the guess.")


_HEAD = ("site", "workers", "policy", "labels", "node-hours", "makespan", "force RMSE", "ended by")


def _cells(found: Rehearsed) -> tuple[str, ...]:
    from hpcmat.report.text import duration

    error = "" if found.force_rmse_ev_per_ang is None else f"{found.force_rmse_ev_per_ang:.4f} eV/Å"
    return (
        found.site,
        str(found.workers),
        found.policy,
        f"{found.labels:g}",
        f"{found.node_hours:.3g}",
        duration(found.makespan_s),
        error,
        ", ".join(found.ended_by),
    )
