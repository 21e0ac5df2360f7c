"""What a rehearsal says of a campaign against the campaign itself: labels, node-hours and makespan.

Three runs on the machine at hand, each with a result store of its own: a short one of another seed, from which the
durations of tasks are learned; rehearsals of the campaign with these, and with the guesses that stand in where nothing
was measured; and the campaign itself, with its own engine. Rows are what was rehearsed from measured durations, beside
what came true. All of them are wall times: on a machine that others use at the same time they mean little.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rows import Row, parser, publish, row

from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.lifecycle import Start, run_campaign
from hpcmat.campaign.rehearsals import Rehearsed, Wanted, rehearse_all
from hpcmat.campaign.spec import Campaign, load_campaign
from hpcmat.campaign.state import CampaignState
from hpcmat.campaign.stopping import labels_done
from hpcmat.dispatch.sites import load_site
from hpcmat.report.progress import Progress

ANOTHER_SEED = 1000
"""Added to the seed for the short run, so that the campaign repeats none of its calculations."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What a campaign needed, rehearsed or real."""

    labels: float
    node_hours: float
    makespan_s: float


def run(campaign: Campaign, root: Path) -> Needed:
    """A real campaign with a new result store, which is `root / "store"`."""
    root.mkdir()
    start = Start(CampaignFolder(root / "campaign"), root / "store", load_site("local"))
    with Progress(start.folder, quiet=True) as progress:
        state = run_campaign(campaign, start, progress)
    check(state)
    return Needed(labels_done(state), state.node_hours, state.last_time - state.walltime_origin)


def check(state: CampaignState) -> None:
    """Stop where the campaign did not end, or paid for nothing."""
    assert state.ended is not None and state.ended.complete and state.stopping is not None
    assert all(task.adopted != "earlier campaign" for task in state.tasks.values()), "each run pays for itself"


def pilot_of(campaign: Campaign, labels: int) -> Campaign:
    """A short campaign of the same kind that shares no calculation with it, reference cells left out."""
    system = campaign.system.model_copy(
        update={"reference": campaign.system.reference.model_copy(update={"points": 0})}
    )
    budget = campaign.budget.model_copy(update={"labels": labels})
    changes = {"system": system, "budget": budget, "seed": campaign.seed + ANOTHER_SEED}
    return campaign.model_copy(update=changes)


def rehearsed(campaign: Campaign, seeds: int, store: Path) -> Needed:
    """Medians of rehearsals."""
    (found,) = rehearse_all(campaign, Wanted(["local"], [], seeds), store)
    assert isinstance(found, Rehearsed)
    print(f"rehearsed with {found.durations} durations: ended by {', '.join(found.ended_by)}")
    return Needed(found.labels, found.node_hours, found.makespan_s)


def compared(case: str, foreseen: Needed, real: Needed) -> list[Row]:
    """Rows of what was foreseen beside what came true."""
    return [
        row(case, "labels", foreseen.labels, "", ("real", real.labels)),
        row(case, "node-hours", foreseen.node_hours, "node-hours", ("real", real.node_hours)),
        row(case, "makespan", foreseen.makespan_s, "s", ("real", real.makespan_s)),
    ]


def main() -> None:
    """Run, rehearse, run, and publish the comparison."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("campaign", type=Path, help="campaign file, for example jobs/campaigns/si-quickstart.toml")
    options.add_argument("--pilot", type=int, default=20, help="labels of the short run")
    options.add_argument("--seeds", type=int, default=5, help="rehearsals, of which the median counts")
    options.add_argument("--runs", type=int, default=1, help="real campaigns, with seeds that follow one another")
    given = options.parse_args()
    campaign = load_campaign(given.campaign)
    with tempfile.TemporaryDirectory(prefix="hpcmat-bench-") as folder:
        root = Path(folder)
        run(pilot_of(campaign, given.pilot), root / "pilot")
        foreseen = {
            "measured": rehearsed(campaign, given.seeds, root / "pilot" / "store"),
            "guessed": rehearsed(campaign, given.seeds, root / "nothing"),
        }
        seeds = [campaign.seed + number for number in range(given.runs)]
        real = [run(campaign.model_copy(update={"seed": seed}), root / f"real-{seed}") for seed in seeds]
    median = Needed(*(statistics.median(getattr(each, slot) for each in real) for slot in Needed.__slots__))
    rows = [
        each
        for durations, needed in foreseen.items()
        for each in compared(f"{campaign.name}, rehearsed with {durations} durations", needed, median)
    ]
    publish(rows, given.json)


if __name__ == "__main__":
    main()
