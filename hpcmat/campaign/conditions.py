"""Conditions a campaign names, seed by temperature: which is explored next, and which is judged next.

The potential is for all of them alike. Trajectories of the hotter ones end early while it does not know them, so that
frames would come from the others if nobody saw to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hpcmat.campaign.events import BIASED, Candidate, Condition, ExploreSummary
from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import OPEN, CampaignState, TaskState
from hpcmat.campaign.structures import distinct_materials
from hpcmat.records import Structure
from hpcmat.steering.chance import uniform_for


class Conditions:
    """Follows the explorations of one campaign; asked in the order of its journal.

    Parameters
    ----------
    campaign : names the temperatures.
    seeds : seed structures.
    """

    def __init__(self, campaign: Campaign, seeds: Sequence[Structure]) -> None:
        self._campaign = campaign
        self.in_turn = conditions_of(campaign, len(seeds))
        self.cold_seeds = distinct_materials(seeds)[: campaign.explore.cold_start]
        """Which of them the cold start is made of."""
        self._by_exploration: dict[str, tuple[int, TaskState]] = {}
        """Number and task of each exploration, by its content key."""
        self._explored: dict[Condition, TaskState] = {}
        """The last exploration of each condition that was decided with a potential, without a bias."""
        self._judged: Counter[Condition | None] = Counter()
        """Validation labels decided."""
        self._seen = {"explore": 0, "validation": 0}

    def to_explore(self, state: CampaignState) -> Condition:
        """The condition of the next exploration.

        Without a potential the seeds of the cold start. With one each condition once, in turn; then the one whose last
        trajectory ended the earliest, if an older potential made it; then again in turn.
        """
        self._catch_up(state)
        number = state.index.number(("explore",))
        if state.model is None and number < len(self.cold_seeds):
            return Condition(self._campaign.explore.temperatures_k[0], self.cold_seeds[number])
        turn = self.in_turn[number % len(self.in_turn)]
        if self._campaign.explore.conditions == "in-turn" or state.model is None:
            return turn
        order = [*self.in_turn[number % len(self.in_turn) :], *self.in_turn[: number % len(self.in_turn)]]
        fresh = [condition for condition in order if condition not in self._explored]
        if fresh:
            return fresh[0]
        steps = self._cut_short(state)
        short = [condition for condition in order if condition in steps]
        return min(short, key=lambda condition: steps[condition]) if short else turn

    def cut_short(self, state: CampaignState) -> int:
        """How many conditions ended early with an older potential and were not explored with the newest yet."""
        if self._campaign.explore.conditions == "in-turn" or state.model is None:
            return 0
        self._catch_up(state)
        return len(self._cut_short(state))

    def failed_audit(self, state: CampaignState, condition: Condition) -> bool:
        """Whether an audit took back what the last trajectory there found."""
        self._catch_up(state)
        last = self._explored.get(condition)
        return last is not None and state.index.audits.of(last.key) is not None

    def _cut_short(self, state: CampaignState) -> dict[Condition, int]:
        """Steps of the last trajectories that ended early, by older potentials; those that still run may yet last.

        One whose audit failed ended before the frame that failed.
        """
        assert state.model is not None, "what an older potential ended early waits for a newer one"
        newest, steps = state.model.key, dict[Condition, int]()
        for condition, task in self._explored.items():
            if task.decision.model != newest and task.status not in OPEN:
                taken_back = state.index.audits.of(task.key)
                steps[condition] = taken_back.steps if taken_back else _steps_run(task)
        return {condition: run for condition, run in steps.items() if run < self._campaign.explore.steps}

    def to_judge(self, state: CampaignState) -> Candidate:
        """The reserved frame that is labelled next to measure the error.

        Of the condition with the fewest so far, so that each counts alike; of the trajectory that went the farthest,
        since one that ended early saw the beginning alone; the newest of these. Within one it is drawn: errors grow
        along a trajectory that melts. What audits found has no say: a stream that shuns them would state too small an
        error.
        """
        self._catch_up(state)
        waiting = state.pool.newest(self._campaign.steering.pool_max, reserved=True)

        def merit(candidate: Candidate) -> tuple[int, int, int, float]:
            number, task = self._by_exploration[candidate.exploration]
            chance = uniform_for(self._campaign.seed, "judge", candidate.exploration, candidate.frame)
            return self._judged[task.decision.condition], -_steps_run(task), -number, chance

        return min(waiting, key=merit)

    def _condition_of(self, candidate: Candidate | None) -> Condition | None:
        found = self._by_exploration.get(candidate.exploration) if candidate else None
        return found[1].decision.condition if found else None

    def _catch_up(self, state: CampaignState) -> None:
        explorations = state.index.purposes.get("explore", [])
        for task in explorations[self._seen["explore"] :]:
            self._by_exploration[task.key] = len(self._by_exploration), task
            condition, by_potential = task.decision.condition, task.decision.model is not None
            if condition is not None and by_potential and task.decision.rule != BIASED:
                self._explored[condition] = task
        self._seen["explore"] = len(explorations)
        validation = state.index.purposes.get("validation", [])
        for task in validation[self._seen["validation"] :]:
            self._judged[self._condition_of(task.decision.candidate)] += 1
        self._seen["validation"] = len(validation)


def conditions_of(campaign: Campaign, n_seeds: int) -> tuple[Condition, ...]:
    """Every temperature, and every change of temperature, with each seed."""
    held = [(temperature, None) for temperature in campaign.explore.temperatures_k]
    courses = [*held, *campaign.explore.quenches_k]
    return tuple(Condition(first, seed, last) for first, last in courses for seed in range(n_seeds))


def _steps_run(task: TaskState) -> int:
    """Steps of a trajectory; none where it was given up."""
    return task.summary.steps_run if isinstance(task.summary, ExploreSummary) else 0
