"""Conditions a campaign names, seed by temperature: which is explored next, and which is judged next.

The potential is for all of them alike. Trajectories of the hotter ones end early while it does not know them, so that
frames would come from the others if nobody saw to it.
"""

from __future__ import annotations

from collections import Counter

from hpcmat.campaign.events import Candidate, Condition, ExploreSummary
from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.steering.chance import uniform_for


class Conditions:
    """Follows the explorations of one campaign; asked in the order of its journal.

    Parameters
    ----------
    campaign : names the temperatures.
    n_seeds : number of seed structures.
    """

    def __init__(self, campaign: Campaign, n_seeds: int) -> None:
        self._campaign = campaign
        self.in_turn = conditions_of(campaign, n_seeds)
        self._by_exploration: dict[str, tuple[int, TaskState]] = {}
        """Number and task of each exploration, by its content key."""
        self._explored: dict[Condition, TaskState] = {}
        """The last exploration of each condition that was decided with a potential."""
        self._judged: Counter[Condition | None] = Counter()
        """Validation labels decided."""
        self._seen = {"explore": 0, "validation": 0}

    def to_explore(self, state: CampaignState) -> Condition:
        """The condition of the next exploration.

        Each once, in turn; then the one whose last trajectory ended the earliest, if an older potential made it; then
        again in turn.
        """
        self._catch_up(state)
        number = state.index.number(("explore",))
        turn = self.in_turn[number % len(self.in_turn)]
        if self._campaign.explore.conditions == "in-turn" or state.model is None:
            return turn
        order = [*self.in_turn[number % len(self.in_turn) :], *self.in_turn[: number % len(self.in_turn)]]
        fresh = [condition for condition in order if condition not in self._explored]
        if fresh:
            return fresh[0]
        steps = {c: _steps_run(task) for c, task in self._explored.items() if task.decision.model != state.model.key}
        short = [c for c in order if steps.get(c, self._campaign.explore.steps) < self._campaign.explore.steps]
        return min(short, key=lambda condition: steps[condition]) if short else turn

    def to_judge(self, state: CampaignState) -> Candidate:
        """The reserved frame that is labelled next to measure the error.

        Of the condition with the fewest so far, so that each counts alike; of the trajectory that went the farthest,
        since one that ended early saw the beginning alone; the newest of these. Within one it is drawn: errors grow
        along a trajectory that melts.
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
            if task.decision.condition is not None and task.decision.model is not None:
                self._explored[task.decision.condition] = task
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
    """Steps of a trajectory; none while it runs or where it was given up."""
    return task.summary.steps_run if isinstance(task.summary, ExploreSummary) else 0
