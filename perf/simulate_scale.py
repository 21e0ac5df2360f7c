"""A campaign on up to 158,976 nodes, simulated event by event from what each event costs the driver.

The driver is simulated as its loop runs: it takes in all results that have come, asks whether to stop, decides tasks
for free workers by the schedule of the product itself, commits each group of decisions to the journal, hands them
over, and waits. First the simulation repeats a small campaign of the teacher, run for real in the same call, and must
find its utilisation; then it goes to scale, with the costs of a driver that meets many ends at once: the product's,
on thousands of absent workers, with the posterior that so many labels leave.

Assumed, and printed with the result: one task per node; tasks, explorations and fits last as given; whatever the
number of nodes, workers answer at once (the tree of the farm adds milliseconds); no failures; the journal's disk is
this machine's. All processor time of the driver counts as if its threads took turns, as Python's do.
"""

from __future__ import annotations

import statistics
import tempfile
from argparse import Namespace
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from bench_campaign import CAMPAIGN, check
from busy_driver import Material, busy_driver
from driver_costs import Costs, Stopwatch, costs_of, dispatch_s
from rows import Row, parser, publish, row
from simulated_driver import Campaign, Simulation

from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.lifecycle import Start, run_campaign
from hpcmat.campaign.scheduling import rules_of
from hpcmat.campaign.spec import load_campaign
from hpcmat.campaign.state import CampaignState, fit_summaries
from hpcmat.dispatch.sites import Site
from hpcmat.report.progress import Progress
from hpcmat.steering.schedule import Action, Rules

FUGAKU = 158_976
SIZES = (128, 1024, 4096, 16_384, 65_536, FUGAKU)
TOLERANCE = 0.05
"""By so much may the simulation miss the utilisation of the small campaign before its word on large ones counts."""


def measured(options: Namespace, root: Path) -> tuple[CampaignState, Costs, Rules]:
    """A small campaign run for real: its state, its costs, its rules."""
    root.mkdir(exist_ok=True)
    ledger, file = root / "ledger.txt", root / "campaign.toml"
    filled = {"schedule": "asynchronous", "ledger": ledger, "batch": options.refit_every, **vars(options)}
    file.write_text(CAMPAIGN.format(**filled))
    campaign = load_campaign(file)
    start = Start(CampaignFolder(root / "campaign"), root / "store", Site(name="simulated", workers=options.workers))
    with Stopwatch().watching() as watch, Progress(start.folder, quiet=True) as progress:
        state = run_campaign(campaign, start, progress)
    check(state, ledger, options.labels)
    return state, costs_of(watch, campaign, fit_summaries(state)[-1].n_features), rules_of(campaign, options.workers)


def measured_busy(state: CampaignState, options: Namespace, root: Path) -> tuple[Costs, float]:
    """What a driver costs that meets many ends at once, and how much more than the mean a label's leverage can be."""
    driver = busy_driver(state.campaign, Material.of(state), root / "busy", options.absent, options.known)
    with Stopwatch().watching() as watch:
        driver.watch(options.passes, options.ends)
    costs = costs_of(watch, state.campaign, fit_summaries(state)[-1].n_features)
    parsl = dispatch_s(state.campaign, Site(name="simulated", workers=options.workers), root / "dispatch")
    return replace(costs, submission=costs.submission + parsl), driver.leverage(options.known)


def repeated(state: CampaignState, rules: Rules) -> Campaign:
    """The campaign that was measured, for the simulation to repeat: each task as long as it was."""
    durations: dict[Action, list[float]] = {action: [] for action in Action}
    for task in sorted(state.tasks.values(), key=lambda t: t.submitted or 0.0):
        if task.execution is not None:
            durations[Action(task.purpose)].append(task.execution.wall_s)
    found = [task.summary.candidates for task in state.done("explore")]
    reserved = sum(c.reserved for candidates in found for c in candidates)
    total = sum(map(len, found))
    series = {action: tuple(times) for action, times in durations.items()}
    # The first tasks wait for the workers to start, before the clock of the makespan does.
    ran = [task for task in state.tasks.values() if task.execution is not None][rules.workers :]
    launch = statistics.fmean(task.execution.started - task.submitted for task in ran)
    back = statistics.fmean(task.finished - task.execution.finished for task in ran)
    features, pool = fit_summaries(state)[-1].n_features, state.campaign.steering.pool_max
    return Campaign(rules, series, round(total / len(found)), reserved / total, launch, back, features, pool)


def utilisation(state: CampaignState, workers: int) -> tuple[float, float]:
    """Busy share of the workers of a real campaign, and its makespan, s."""
    spans = [task.execution for task in state.tasks.values() if task.execution is not None]
    makespan = max(span.finished for span in spans) - min(span.started for span in spans)
    return sum(span.wall_s for span in spans) / (workers * makespan), makespan


def at_scale(nodes: int, small: Campaign, options: Namespace) -> Campaign:
    """As many nodes as workers, with settings that a campaign of that size would have."""
    rules = replace(
        small.rules,
        workers=nodes,
        labels=nodes * options.rounds,
        # Enough for every node to have two tasks before the first potential.
        cold_start=2 * nodes,
        refit_every=max(small.rules.refit_every, nodes // 4),
        pool_min=nodes,
    )
    draws = np.random.default_rng(options.seed).normal(size=4096)
    labels = tuple(options.task_s * np.exp(options.spread * draws - options.spread**2 / 2))
    durations = {Action.TRAIN: labels, Action.VALIDATION: labels, Action.EXPLORE: (options.explore_s,)}
    durations[Action.FIT] = (options.fit_s,)
    return replace(small, rules=rules, durations=durations, launch_s=options.latency_s, return_s=options.latency_s)


def print_costs(costs: dict[str, Costs], small: Campaign, options: Namespace) -> None:
    """What the simulation rests on."""
    for where, found in costs.items():
        for name, seconds in asdict(found).items():
            print(f"measured in a {where}: {name.strip('_')} {1e3 * seconds:.4g} ms")
    print(f"measured: {1e3 * small.launch_s:.3g} ms until a task begins, {1e3 * small.return_s:.3g} ms after its end")
    assumptions = [
        f"one task per node, labels of {options.task_s:g} s, log-normal with sigma {options.spread:g}",
        f"explorations of {options.explore_s:g} s that find {small.candidates} candidates each",
        f"fits of {options.fit_s:g} s, one at a time",
        f"{options.latency_s:g} s between driver and worker each way",
        f"{options.rounds} labels per node, and a cold start of two frames per node",
        f"costs of a driver with {options.absent} workers and a potential of {options.known} labels, of whose tasks "
        f"{options.ends} end in each pass",
        "no failures; the driver's threads take turns",
    ]
    print("\n".join(f"assumed at scale: {assumption}" for assumption in assumptions))


def scaled(options: Namespace, small: Campaign, costs: Costs) -> list[Row]:
    """Two rows for each size."""
    rows = []
    for nodes in options.nodes:
        outcome = Simulation(at_scale(nodes, small, options), costs).run()
        case = f"{nodes} nodes, {outcome.tasks} tasks"
        steady, whole = 100 * outcome.steady, 100 * outcome.utilisation
        rows.append(row(case, "utilisation between ramp and drain", steady, "%", ("whole campaign", whole)))
        spent = outcome.driver_busy * outcome.makespan_s / outcome.tasks
        needed = ("affordable", 1e3 * options.task_s / nodes)
        rows.append(row(case, "driver's time per task (less is better)", 1e3 * spent, "ms", needed))
        times = f"of {outcome.makespan_s:.0f} s, of which the ramp takes {outcome.ramp_s:.0f} s"
        print(f"{case}: driver busy {100 * outcome.driver_busy:.1f} % {times}")
    return rows


def main() -> None:
    """Measure, repeat, scale."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--labels", type=int, default=60, help="of the small campaign")
    options.add_argument("--median", type=float, default=2.0, help="its labels' median duration, s")
    options.add_argument("--sigma", type=float, default=0.5, help="standard deviation of its logarithm")
    for name, number in {"refit-every": 8, "workers": 2, "seed": 0, "passes": 24}.items():
        options.add_argument(f"--{name}", type=int, default=number)
    options.add_argument("--nodes", type=int, nargs="+", default=list(SIZES))
    options.add_argument("--rounds", type=int, default=10, help="labels per node at scale")
    assumed = {"task-s": 600.0, "spread": 0.3, "explore-s": 60.0, "fit-s": 60.0, "latency-s": 0.05}
    for name, value in assumed.items():
        options.add_argument(f"--{name}", type=float, default=value)
    options.add_argument("--absent", type=int, default=2048, help="workers of the busy driver")
    options.add_argument("--known", type=int, default=200_000, help="labels that its potential has taken in")
    options.add_argument("--ends", type=int, default=64, help="tasks that end in each of its passes")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="hpcmat-simulate-") as root:
        state, costs, rules = measured(given, Path(root))
        busy, leverage = measured_busy(state, given, Path(root))
        busy = replace(busy, counting=costs.counting)
    small = repeated(state, rules)
    print_costs({"small campaign": costs, "busy driver": busy}, small, given)
    print(f"measured in a busy driver: leverage of up to {leverage:.3g} times the mean, features / labels")
    use, makespan = utilisation(state, given.workers)
    again = Simulation(small, costs).run()
    if abs(again.utilisation / use - 1) > TOLERANCE:
        raise SystemExit(
            f"simulated utilisation {again.utilisation:.3f}, measured {use:.3f}: apart by more than {TOLERANCE:g}; "
            "run again where the machine is less busy"
        )
    case = f"{given.labels} labels on {given.workers} workers, simulated"
    rows = [
        row(case, "utilisation", 100 * again.utilisation, "%", ("measured", 100 * use)),
        row(case, "makespan", again.makespan_s, "s", ("measured", makespan)),
    ]
    rows += scaled(given, replace(small, features=leverage * small.features), busy)
    publish(rows, given.json)


if __name__ == "__main__":
    main()
