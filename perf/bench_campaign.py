"""Utilisation and makespan of a whole campaign whose labels take log-normal times, against a barrier per round.

Both campaigns run in the same call, on the same number of workers, with the same teacher standing in for first
principles, the same sequence of durations, the same budget of labels and one fit per so many labels. The peer waits
for all labels of a round before it fits, and for the fit before it explores, as most active-learning codes do.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections import Counter
from pathlib import Path

from rows import parser, publish, row

from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.lifecycle import Start, run_campaign
from hpcmat.campaign.spec import load_campaign
from hpcmat.campaign.state import CampaignState
from hpcmat.dispatch.sites import Site
from hpcmat.report.progress import Progress

CAMPAIGN = """
kind = "potential"
name = "bench-{schedule}"
seed = {seed}
[system]
elements = ["Si"]
structures = [{{ crystal = "diamond", element = "Si", a_ang = 5.431 }}]
reference = {{ points = 0 }}
[engine]
name = "teacher"
calculator = "stillinger-weber"
ledger = "{ledger}"
duration = {{ median_s = {median}, sigma = {sigma}, drawn_by = "order" }}
[explore]
# The target is out of reach, so that the budget decides; its usual place as this threshold would end every
# exploration at its first frame.
sigma_stop_ev_per_ang = 0.1
[steering]
schedule = "{schedule}"
batch_size = {batch}
refit_every = {batch}
[target]
force_rmse_ev_per_ang = 1e-6
min_validation = 2
[budget]
labels = {labels}
"""


def measure(schedule: str, options: Namespace, root: Path) -> tuple[CampaignState, float, float]:
    """Run one campaign; returns its state, the utilisation of its workers and its makespan, s."""
    folder = root / schedule
    folder.mkdir()
    ledger = folder / "ledger.txt"
    file = folder / "campaign.toml"
    file.write_text(CAMPAIGN.format(schedule=schedule, ledger=ledger, **vars(options)))
    site = Site(name="bench", workers=options.workers)
    start = Start(CampaignFolder(folder / "campaign"), folder / "store", site)
    with Progress(start.folder, quiet=True) as progress:
        state = run_campaign(load_campaign(file), start, progress)
    check(state, ledger, options.labels)
    spans = [task.execution for task in state.tasks.values() if task.execution is not None]
    makespan = max(span.finished for span in spans) - min(span.started for span in spans)
    return state, sum(span.wall_s for span in spans) / (options.workers * makespan), makespan


def check(state: CampaignState, ledger: Path, labels: int) -> None:
    """Stop where the campaign is not what it should be: a figure for a wrong answer is worth nothing."""
    assert state.ended is not None and state.ended.complete
    executed = Counter(line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("end"))
    keys = {task.key for task in state.done("train", "validation")}
    assert len(keys) == labels and set(executed) == keys and set(executed.values()) == {1}
    assert state.models, "the campaign learned nothing"


def main() -> None:
    """Run both campaigns and publish the comparison."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--labels", type=int, default=120)
    options.add_argument("--median", type=float, default=2.0, help="median duration of a label, s")
    options.add_argument("--sigma", type=float, default=1.0, help="standard deviation of its logarithm")
    options.add_argument("--batch", type=int, default=8, help="labels per fit, and per round of the peer")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpcmat-bench-") as root:
        _, peer_use, peer_makespan = measure("barrier", given, Path(root))
        _, use, makespan = measure("asynchronous", given, Path(root))
    case = f"{given.labels} labels, log-normal {given.median:g} s sigma {given.sigma:g}, {given.workers} workers"
    publish(
        [
            row(case, "utilisation (more is better)", 100 * use, "%", ("barrier", 100 * peer_use)),
            row(case, "makespan (less is better)", makespan, "s", ("barrier", peer_makespan)),
        ],
        given.json,
    )


if __name__ == "__main__":
    main()
