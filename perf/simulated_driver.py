"""The driver of a campaign, event by event: its loop, the schedule of the product, and what each event costs."""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np
from driver_costs import Costs

from hpcmat.campaign.choosing import IN_A_ROW
from hpcmat.steering.ranking import TOLERANCE as CHANGE
from hpcmat.steering.schedule import Action, Rules, View, next_action

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
            cut_short=0,
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
