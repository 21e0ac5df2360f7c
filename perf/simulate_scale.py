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

import heapq
import math
import statistics
import tempfile
from argparse import Namespace
from collections import Counter, deque
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from bench_campaign import CAMPAIGN, check
from busy_driver import Material, busy_driver
from driver_costs import Costs, Stopwatch, costs_of, dispatch_s
from rows import Row, parser, publish, row

from hpcmat.campaign.choosing import IN_A_ROW
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.lifecycle import Start, run_campaign
from hpcmat.campaign.scheduling import rules_of
from hpcmat.campaign.spec import load_campaign
from hpcmat.campaign.state import CampaignState, fit_summaries
from hpcmat.dispatch.sites import Site
from hpcmat.report.progress import Progress
from hpcmat.steering.ranking import TOLERANCE as CHANGE
from hpcmat.steering.schedule import Action, Rules, View, next_action

FUGAKU = 158_976
SIZES = (128, 1024, 4096, 16_384, 65_536, FUGAKU)
TOLERANCE = 0.05
"""By so much may the simulation miss the utilisation of the small campaign before its word on large ones counts."""
GROUP_S = 0.1
"""As in the driver: longest time for which decisions are gathered into one transaction."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is simulated, besides the costs."""

    rules: Rules
    durations: dict[Action, tuple[float, ...]]
    """Durations of tasks for each purpose, s, taken in turn."""
    candidates: int
    """Frames that one exploration finds."""
    reserved: float
    """Share of them for validation."""
    launch_s: float
    """From the moment a task is handed over until it begins."""
    return_s: float
    features: float
    """Coefficients of the potential, to which all leverages sum; more where the chosen labels have more than others."""
    pool_max: int
    """Candidates that are judged."""


@dataclass(slots=True)
class Outcome:
    """What came of a simulated campaign."""

    makespan_s: float
    utilisation: float
    """Busy share of all workers, from the first task's start to the last one's end."""
    steady: float
    """The same between the end of the ramp and the last decision of a label."""
    ramp_s: float
    """Until all had work for the first time after a potential had explored; before it, the first labels are waited for,
    the first fit, and the first explorations, which all end at once."""
    driver_busy: float
    tasks: int


@dataclass(slots=True)
class Simulation:
    """One campaign; `run` once."""

    campaign: Campaign
    costs: Costs
    now: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    running: list[tuple[float, Action, int]] = field(default_factory=list)
    """Heap of (end, what, number)."""
    spans: list[tuple[float, float]] = field(default_factory=list)
    fitted: int = 0
    scored_fitted: int = 0
    fit_number: int = 0
    gone: int = 0
    """Labels that the potential before the newest one had taken in."""
    explorations_of_model: int = 0
    explored: bool = False
    model_labels: int = 0
    busy: float = 0.0
    free: int = 0
    outbox: deque[Action] = field(default_factory=deque)
    group_began: float = math.inf
    last_decision: float = 0.0
    full: float | None = None
    change: float = math.inf
    """Sum of the leverages of labels decided since all candidates were judged."""
    chosen: int = 0
    """How many they are."""
    in_a_row: int = 0
    """How many since a task ended."""

    def run(self) -> Outcome:
        """To the end of the budget of labels."""
        self.free = self.campaign.rules.workers
        while True:
            self._collect()
            self._spend(self.costs.pass_ + self.costs.pass_per_task * self.counts["decided"])
            self._fill()
            if not self.running:
                return self._outcome()
            self.now = max(self.now, self.running[0][0])

    def _spend(self, seconds: float) -> None:
        self.now += seconds
        self.busy += seconds

    def _collect(self) -> None:
        ended = 0
        while self.running and self.running[0][0] <= self.now:
            _, action, _ = heapq.heappop(self.running)
            self._spend(self.costs.absorption)
            self._take_in(action)
            self.free += 1
            self.in_a_row = 0
            ended += 1
        if ended:
            self._spend(self.costs.commit)

    def _take_in(self, action: Action) -> None:
        self.counts[f"{action} open"] -= 1
        self.counts[f"{action} done"] += 1
        if action is Action.EXPLORE:
            self._spend(self.costs.exploration)
            self.change = math.inf
            self.explored = self.fit_number > 0
            found = self.campaign.candidates if self.fit_number else self.campaign.rules.cold_start
            reserved = round(self.campaign.reserved * found) if self.fit_number else 0
            self.counts["pool train"] += found - reserved
            self.counts["pool validation"] += reserved
        if action is Action.FIT:
            self.fit_number += 1
            self.explorations_of_model = 0
            self.change = math.inf
            gone, self.gone = self.fitted - self.gone, self.fitted
            beyond = self.counts[f"{Action.TRAIN}"] - self.fitted
            self._spend(self.costs.counting * min(2 * gone, beyond) + self.costs.fit * self.fitted)

    def _fill(self) -> None:
        while self.free:
            action = next_action(self._view(), self.campaign.rules)
            if action is None:
                break
            self._spend(self.costs.decision + self.costs.decision_per_task * self.counts["decided"])
            self._decide(action)
            if self.now - self.group_began > GROUP_S:
                self._hand_over()
        self._hand_over()
        if not self.free and self.full is None and self.explored:
            self.full = self.now

    def _decide(self, action: Action) -> None:
        self.counts["decided"] += 1
        self.counts[f"{action} open"] += 1
        self.counts[f"{action}"] += 1
        if action in {Action.TRAIN, Action.VALIDATION}:
            self.counts["pool train" if action is Action.TRAIN else "pool validation"] -= 1
            self.model_labels += 1
            self.last_decision = self.now
        if action is Action.TRAIN and self.fit_number:
            self._rank()
        if action is Action.EXPLORE:
            self.explorations_of_model += 1
        if action is Action.FIT:
            self.fitted = self.counts[f"{Action.TRAIN} done"]
            self.scored_fitted = self.counts[f"{Action.VALIDATION} done"]
            self.model_labels = 0
        self.free -= 1
        self.group_began = min(self.group_began, self.now)
        self.outbox.append(action)

    def _rank(self) -> None:
        """As the planner does: all candidates are judged anew where the ranking is outdated."""
        outdated = self.change > CHANGE and (math.isinf(self.change) or self.in_a_row < IN_A_ROW)
        if outdated or 2 * self.chosen > min(self.campaign.pool_max, self.counts["pool train"]):
            self._spend(self.costs.ranking)
            self.change, self.chosen = 0.0, 0
        self.change += self.campaign.features / self.counts[f"{Action.TRAIN}"]
        self.chosen += 1
        self.in_a_row += 1

    def _hand_over(self) -> None:
        if not self.outbox:
            return
        self._spend(self.costs.commit)
        while self.outbox:
            self._spend(self.costs.submission)
            action = self.outbox.popleft()
            series = self.campaign.durations[action]
            number = self.counts[f"{action} started"]
            self.counts[f"{action} started"] += 1
            begin = self.now + self.campaign.launch_s
            end = begin + series[number % len(series)]
            self.spans.append((begin, end))
            heapq.heappush(self.running, (end + self.campaign.return_s, action, len(self.spans)))
        self.group_began = math.inf

    def _view(self) -> View:
        count = self.counts
        train, validation = count[Action.TRAIN], count[Action.VALIDATION]
        done = train + validation >= self.campaign.rules.labels
        labels_open = count[f"{Action.TRAIN} open"] + count[f"{Action.VALIDATION} open"]
        return View(
            train=train,
            validation=validation,
            labels_open=labels_open,
            train_done=count[f"{Action.TRAIN} done"],
            scored_done=count[f"{Action.VALIDATION} done"],
            train_fitted=self.fitted,
            scored_fitted=self.scored_fitted,
            fits_open=count[f"{Action.FIT} open"],
            explorations=count[Action.EXPLORE],
            explorations_open=count[f"{Action.EXPLORE} open"],
            explorations_of_model=self.explorations_of_model,
            has_model=self.fit_number > 0,
            explored=self.explored,
            pool_train=count["pool train"],
            pool_validation=count["pool validation"],
            references_left=0,
            labels_since_fit=self.model_labels,
            draining=done and not labels_open,
        )

    def _outcome(self) -> Outcome:
        spans = np.array(self.spans)
        workers, first, last = self.campaign.rules.workers, spans[:, 0].min(), spans[:, 1].max()
        full = self.full if self.full is not None else first
        inside = np.clip(spans, full, self.last_decision)
        steady = (inside[:, 1] - inside[:, 0]).sum() / (workers * (self.last_decision - full))
        whole = (spans[:, 1] - spans[:, 0]).sum() / (workers * (last - first))
        return Outcome(last - first, whole, steady, full - first, self.busy / self.now, len(spans))


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
