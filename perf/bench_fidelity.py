"""Search over a pool with a cheap and a dear value of each candidate: cost until most of the best are found.

The dear value is a column of the table. Cheap values are made from it and always the same: `scatter:S` is 0.8 times
the dear one times exp(S ε) with ε standard normal, `shuffled` the dear values of other candidates, which say nothing,
and any other word another column. Costs are in dear calculations. The search decides as campaigns do, in batches whose
members are in flight together; without cheap values it is that of `bench_screening.py --policy top`.

    python perf/bench_fidelity.py --objective K_VRH --cheap scatter:0.1 --cheap G_VRH --cheap shuffled
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from bench_screening import DRAWS, objective_of, property_of, read_pool
from data_sets import data_folder
from rows import Row, publish, row
from scipy.stats import spearmanr

from hpcmat.campaign.screen.surrogates import Known, Surrogates
from hpcmat.steering.fidelity import Step, best_step
from hpcmat.steering.goals import Goal
from hpcmat.steering.screening import top_probability

SHARE = 0.95
"""Of the best 5 % that must be found."""


@dataclass
class Search:
    """One search and what it spent."""

    surrogates: Surrogates
    goal: Goal
    values: np.ndarray
    """(n,) dear"""
    cheap: np.ndarray | None
    """(n,) cheap"""
    cost: float
    """Of a cheap calculation."""
    rng: np.random.Generator
    dear_known: list[int] = field(default_factory=list)
    cheap_known: list[int] = field(default_factory=list)
    spent: float = 0.0
    progress: list[tuple[float, float]] = field(default_factory=list)
    """(cost, share of the best found) after each batch."""

    @property
    def top(self) -> int:
        """How many are the best."""
        return round(0.05 * len(self.values))

    def found(self) -> float:
        """Share of the best that are known."""
        best = np.argsort(-self.goal.utility(self.values), kind="stable")[: self.top]
        return len(set(best.tolist()) & set(self.dear_known)) / self.top

    def begin(self, count: int) -> None:
        """Any candidates, at both fidelities."""
        self.dear_known = [int(i) for i in self.rng.permutation(len(self.values))[:count]]
        self.spent = float(count)
        if self.cheap is not None:
            self.cheap_known = list(self.dear_known)
            self.spent += count * self.cost
        self.progress.append((self.spent, self.found()))

    def batch(self, budget: float) -> None:
        """Calculations of about this cost, decided while all of them are in flight."""
        model, rows, draws = self._drawn()
        dear: list[int] = []
        cheap: list[int] = []
        spent = 0.0
        while spent < budget:
            step, row = self._step(model, rows, draws, (dear, cheap))
            if step == "wait":
                break
            (dear if step == "dear" else cheap).append(row)
            spent += 1.0 if step == "dear" else self.cost
        self.dear_known += dear
        self.cheap_known += cheap
        self.spent += spent
        self.progress.append((self.spent, self.found()))

    def _drawn(self):
        known = Known(np.array(self.dear_known), self.values[self.dear_known])
        some = self.cheap[self.cheap_known] if self.cheap is not None else np.empty(0)
        model = self.surrogates.fit(known, Known(np.array(self.cheap_known, dtype=int), some))
        rows = np.setdiff1d(np.arange(len(self.values)), self.dear_known)
        rows = self.surrogates.promising(rows, [model], [self.goal], np.zeros(len(rows), dtype=bool))
        drawn = model.sample(self.surrogates.asked(rows, model), DRAWS[1], self.rng)
        return model, rows, self.goal.utility(drawn)

    def _step(self, model, rows, draws, flying) -> tuple[str, int]:
        dear, cheap = flying
        chances = top_probability(draws, self.goal.utility(self.values[self.dear_known]), self.top)
        free = ~np.isin(rows, dear)
        rows, chances = rows[free], chances[free]
        if not model.paired:
            return "dear", int(rows[chances.argmax()])
        askable = np.ones(len(self.values), dtype=bool)
        askable[self.cheap_known + cheap] = False
        outlook = self.surrogates.outlook(model, Known(rows, chances), np.array(cheap, dtype=int), askable)
        step: Step = best_step(outlook, self.cost, self.rng)
        return step.kind, step.candidate


def cheap_of(name: str, dear: np.ndarray, rows, descriptors) -> np.ndarray | None:
    """(n,) cheap values by name."""
    rng = np.random.default_rng(2024)
    if name == "none":
        return None
    if name == "shuffled":
        return rng.permutation(dear)
    if name.startswith("scatter:"):
        return 0.8 * dear * np.exp(float(name.removeprefix("scatter:")) * rng.standard_normal(len(dear)))
    return property_of(name, rows, descriptors)


def run(search: Search, options: argparse.Namespace) -> Search:
    """One search until most of the best are found or the limit is reached."""
    search.begin(options.first)
    while search.found() < SHARE and search.spent < options.limit:
        search.batch(options.batch)
    check(search)
    return search


def cost_to(search: Search, share: float) -> float:
    """Cost at which so much was found."""
    return next((cost for cost, found in search.progress if found >= share), np.inf)


def check(search: Search) -> None:
    """Stop where a search paid twice for a calculation, or did not pay for one."""
    for known in (search.dear_known, search.cheap_known):
        assert len(set(known)) == len(known), "each candidate is computed once at a fidelity"
    paid = len(search.dear_known) + search.cost * len(search.cheap_known)
    assert np.isclose(search.spent, paid), "all that is known was paid for"


def describe(searches: list[Search]) -> str:
    """One line: median cost to three shares, and how many calculations of each kind."""
    marks = [(share, float(np.median([cost_to(s, share) for s in searches]))) for share in (0.5, 0.8, SHARE)]
    dear, cheap = (np.mean([len(getattr(s, name)) for s in searches]) for name in ("dear_known", "cheap_known"))
    figures = "  ".join(f"{100 * share:.0f} %: {cost:6.1f}" for share, cost in marks)
    return f"{figures}   {dear:.0f} dear, {cheap:.0f} cheap"


def main() -> None:
    """Run all kinds of cheap values; print a line each, and costs beside that without any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the rows as JSON to this file")
    parser.add_argument("--data", type=Path, help="folder that holds `screening`")
    parser.add_argument("--objective", default="K_VRH", help="as of bench_screening.py")
    parser.add_argument("--cheap", action="append", help="scatter:S, shuffled, or a column")
    parser.add_argument("--ratio", type=float, default=20.0, help="cost of a dear calculation in cheap ones")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=20, help="candidates drawn at random, known at both fidelities")
    parser.add_argument("--batch", type=float, default=10.0, help="cost in flight together")
    parser.add_argument("--limit", type=float, default=300.0, help="cost at which a search ends in any case")
    options = parser.parse_args()
    rows, descriptors = read_pool(data_folder(options.data, "screening") / "elastic_tensor.csv.gz")
    column, goal = objective_of(options.objective)
    dear = property_of(column, rows, descriptors)
    print(f"{len(rows)} candidates, {options.objective}: median cost to a share of the best 5 %, {options.seeds} seeds")
    medians: dict[str, float] = {}
    for name in ["none", *(options.cheap or ["scatter:0.1", "shuffled"])]:
        cheap, start = cheap_of(name, dear, rows, descriptors), time.process_time()
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        searches = [
            run(
                Search(Surrogates(descriptors), goal, dear, cheap, 1 / options.ratio, np.random.default_rng(seed)),
                options,
            )
            for seed in seeds
        ]
        spent = (time.process_time() - start) / options.seeds
        order = 0.0 if cheap is None else spearmanr(cheap, dear)[0]
        print(f"{name:14s} rank correlation {order:5.2f}   {describe(searches)}   {spent:.0f} s", flush=True)
        medians[name] = float(np.median([min(cost_to(s, SHARE), options.limit) for s in searches]))
    publish(_rows(options.objective, medians), options.json)


def _rows(objective: str, medians: dict[str, float]) -> list[Row]:
    metric = f"median cost to {100 * SHARE:.0f} % of the best 5 % (less is better)"
    peer = "no cheap values", medians.pop("none")
    return [row(f"{objective}, {name}", metric, cost, "dear calculations", peer) for name, cost in medians.items()]


if __name__ == "__main__":
    main()
