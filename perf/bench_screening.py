"""Search over a pool of candidates: how many of the best are found after how many labels, against peers.

Policies: `top` (probability of being among the best), `greedy` (best median), `improvement` (expected improvement),
`thompson`, `hypervolume` for several objectives, `random`, and `forest`: a random forest's greedy choice with its
default settings on the same descriptors, where scikit-learn is installed. Every seed draws its own first labels, the
same for all policies. Predictions are scored on all candidates that have no label, before each batch.

    python perf/bench_screening.py --objective K_VRH
    python perf/bench_screening.py --objective K_VRH --objective G_VRH --labels 200
    python perf/bench_screening.py --objective=-K_VRH --policy top --policy forest
    python perf/bench_screening.py --objective K_VRH~100 --labels 100 --first-seed 21
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ase.io
import numpy as np
from data_sets import data_folder

from hpcmat.campaign.screen.surrogates import Surrogates
from hpcmat.records import Structure
from hpcmat.steering.goals import Goal
from hpcmat.steering.screening import (
    best_batch,
    hypervolume,
    hypervolume_batch,
    improvement_batch,
    thompson_batch,
    top_probability,
)
from hpcmat.surrogates.properties.descriptors import Descriptors, describe_structures
from hpcmat.surrogates.properties.gaussian_process import Points
from hpcmat.surrogates.properties.model import PropertyModel, fit_property

DRAWS = {1: 512, 2: 128, 3: 64}
"""By number of objectives."""
REPORTED = (60, 100, 150, 200, 250)


@dataclass(frozen=True)
class Pool:
    """Candidates with values that a search uncovers one by one."""

    descriptors: Descriptors
    values: np.ndarray
    """(n, m) properties"""
    goals: tuple[Goal, ...]

    def utilities(self, values: np.ndarray) -> np.ndarray:
        """(..., m) what is to be maximised, of (..., m) properties."""
        return np.stack([goal.utility(values[..., i]) for i, goal in enumerate(self.goals)], axis=-1)

    def points(self) -> Points:
        """Standardised descriptors, all of one fidelity."""
        return Points(self.descriptors.standardised(), np.zeros(len(self.values)))


@dataclass
class Search:
    """One search and what it found."""

    pool: Pool
    labels: list[int]
    rng: np.random.Generator
    batch: int
    top: int
    found: dict[int, float] = field(default_factory=dict)
    scores: list[np.ndarray] = field(default_factory=list)
    """Errors over deviations of all candidates without a label, of each objective."""

    def free(self) -> np.ndarray:
        """(n,) which candidates have no label."""
        free = np.ones(len(self.pool.values), dtype=bool)
        free[self.labels] = False
        return free

    def fit(self) -> tuple[Points, list[PropertyModel]]:
        """Surrogates of all objectives; their predictions of what has no label are scored."""
        points, values, rest = self.pool.points(), self.pool.values, np.flatnonzero(self.free())
        some = points.part(np.array(self.labels))
        models = [fit_property(some, column[self.labels], self.pool.descriptors.groups) for column in values.T]
        scored = [model.scores(points.part(rest), column[rest]) for model, column in zip(models, values.T, strict=True)]
        self.scores.extend(scored)
        return points, models

    def known(self) -> np.ndarray:
        """(k, m) utilities of what has a label."""
        return self.pool.utilities(self.pool.values[self.labels])

    def draws(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws (S, r, m) of utilities of candidates without a label, and which they are: all, or the promising."""
        points, models = self.fit()
        rest = np.flatnonzero(self.free())
        nothing = np.zeros(len(rest), dtype=bool)
        rest = Surrogates(self.pool.descriptors).promising(rest, models, self.pool.goals, nothing)
        count = DRAWS[len(models)]
        drawn = np.stack([model.sample(points.part(rest), count, self.rng) for model in models], axis=-1)
        return self.pool.utilities(drawn), rest


Policy = Callable[[Search], list[int]]


def top(search: Search) -> list[int]:
    """Most probable members of the best."""
    draws, rest = search.draws()
    scores = top_probability(draws[..., 0], search.known()[:, 0], search.top)
    return [int(rest[p.index]) for p in best_batch(scores, np.ones(len(rest), dtype=bool), search.batch)]


def greedy(search: Search) -> list[int]:
    """Best median."""
    points, models = search.fit()
    rest = np.flatnonzero(search.free())
    median = models[0].intervals(points.part(rest))[0]
    merit = search.pool.goals[0].utility(median)
    return [int(rest[p.index]) for p in best_batch(merit, np.ones(len(rest), dtype=bool), search.batch)]


def improvement(search: Search) -> list[int]:
    """Joint expected improvement."""
    draws, rest = search.draws()
    known = search.known()[:, 0]
    return [int(rest[p.index]) for p in improvement_batch(draws[..., 0], known, np.array([], dtype=int), search.batch)]


def thompson(search: Search) -> list[int]:
    """The best of one draw each."""
    draws, rest = search.draws()
    return [int(rest[p.index]) for p in thompson_batch(draws[..., 0], np.ones(len(rest), dtype=bool), search.batch)]


def expected_hypervolume(search: Search) -> list[int]:
    """Joint expected hypervolume improvement."""
    draws, rest = search.draws()
    known, reference = search.known(), search.pool.utilities(search.pool.values).min(axis=0)
    picks = hypervolume_batch(draws, known, np.array([], dtype=int), reference, search.batch)
    return [int(rest[pick.index]) for pick in picks]


def at_random(search: Search) -> list[int]:
    """Any."""
    return [int(i) for i in search.rng.permutation(np.flatnonzero(search.free()))[: search.batch]]


def forest(search: Search) -> list[int]:
    """Best prediction of a random forest; of several objectives, the largest hypervolume of predictions."""
    from sklearn.ensemble import RandomForestRegressor

    points, rest = search.pool.points().values, np.flatnonzero(search.free())
    values, seed = search.pool.values, int(search.rng.integers(2**31))
    predicted = np.empty((len(rest), values.shape[1]))
    for objective, column in enumerate(values.T):
        model = RandomForestRegressor(random_state=seed).fit(points[search.labels], column[search.labels])
        predicted[:, objective] = model.predict(points[rest])
    predicted = search.pool.utilities(predicted)
    if values.shape[1] == 1:
        order = np.argsort(-predicted[:, 0])[: search.batch]
    else:
        known, reference = search.known(), search.pool.utilities(values).min(axis=0)
        order = [p.index for p in hypervolume_batch(predicted[None], known, np.array([], int), reference, search.batch)]
    return [int(i) for i in rest[order]]


SINGLE: dict[str, Policy] = {
    "top": top, "greedy": greedy, "improvement": improvement, "thompson": thompson, "forest": forest,
    "random": at_random,
}  # fmt: skip
SEVERAL: dict[str, Policy] = {"hypervolume": expected_hypervolume, "forest": forest, "random": at_random}


def run(pool: Pool, policy: Policy, seed: int, options: argparse.Namespace) -> Search:
    """One search to its end."""
    rng = np.random.default_rng(seed)
    n = len(pool.values)
    search = Search(pool, [int(i) for i in rng.permutation(n)[: options.first]], rng, options.batch, round(0.05 * n))
    search.found[len(search.labels)] = figure_of(search)
    while len(search.labels) < options.labels:
        search.labels.extend(policy(search))
        search.found[len(search.labels)] = figure_of(search)
    return search


def figure_of(search: Search) -> float:
    """Share of the best found, or of the whole pool's hypervolume."""
    values = search.pool.utilities(search.pool.values)
    if values.shape[1] == 1:
        best = set(np.argsort(-values[:, 0], kind="stable")[: search.top].tolist())
        return len(best & set(search.labels)) / search.top
    reference = values.min(axis=0)
    return hypervolume(values[search.labels], reference) / hypervolume(values, reference)


def read_pool(path: Path) -> tuple[list[dict[str, str]], Descriptors]:
    """Rows of a table with the column `poscar`, and their descriptors."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        rows = list(csv.DictReader(file))
    return rows, describe_structures([structure_of(row["poscar"]) for row in rows])


def structure_of(poscar: str) -> Structure:
    """Structure from the text of a POSCAR."""
    atoms = ase.io.read(io.StringIO(poscar), format="vasp")
    return Structure(tuple(atoms.get_chemical_symbols()), atoms.positions, atoms.cell.array)


def objective_of(name: str) -> tuple[str, Goal]:
    """What to look up, and its goal: `A`, `-A` for the least, `A~TARGET` for one value."""
    if name.startswith("-"):
        return name[1:], Goal("minimise")
    if "~" in name:
        column, target = name.split("~")
        return column, Goal("reach", float(target))
    return name, Goal("maximise")


def property_of(name: str, rows: list[dict[str, str]], descriptors: Descriptors) -> np.ndarray:
    """(n,) values: a column, a quotient `A/B` of two, or `descriptor:NAME`."""
    if name.startswith("descriptor:"):
        return descriptors.values[:, descriptors.names.index(name.removeprefix("descriptor:"))]
    if "/" in name:
        above, below = (property_of(part, rows, descriptors) for part in name.split("/"))
        return above / below
    return np.array([float(row[name]) for row in rows])


def describe(name: str, searches: list[Search], labels: int) -> str:
    """One line: figures after so many labels with 95 % intervals of the mean, and calibration."""
    marks = [n for n in REPORTED if n <= labels]
    figures = []
    for n in marks:
        values = np.array([s.found[n] for s in searches])
        half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
        figures.append(f"{values.mean():.3f} ± {half:.3f}")
    scores = [np.concatenate(s.scores) for s in searches if s.scores]
    z = f"z {np.mean([np.sqrt((s**2).mean()) for s in scores]):.2f}  " if scores else ""
    covered = f"95 % covers {np.mean([(np.abs(s) < 1.96).mean() for s in scores]):.3f}" if scores else ""
    return f"{name:13s}" + "  ".join(f"{n}: {f}" for n, f in zip(marks, figures, strict=True)) + f"   {z}{covered}"


def main() -> None:
    """Run all policies and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds `screening`")
    parser.add_argument("--pool", type=Path, help="another table with the column poscar")
    parser.add_argument("--objective", action="append", help="K_VRH, -K_VRH, K_VRH/G_VRH, K_VRH~200, descriptor:bond")
    parser.add_argument("--policy", action="append", help="all that fit when left out")
    parser.add_argument("--seeds", type=int, default=5, help="how many")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=20, help="labels drawn at random")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--labels", type=int, default=250)
    options = parser.parse_args()
    path = options.pool or data_folder(options.data, "screening") / "elastic_tensor.csv.gz"
    rows, descriptors = read_pool(path)
    names = options.objective or ["K_VRH"]
    properties, goals = zip(*(objective_of(name) for name in names), strict=True)
    pool = Pool(descriptors, np.column_stack([property_of(name, rows, descriptors) for name in properties]), goals)
    what = "share of the best 5 %" if len(names) == 1 else "share of the pool's hypervolume"
    print(f"{len(rows)} candidates, {', '.join(names)}: {what} after so many labels, {options.seeds} seeds")
    policies = SINGLE if len(names) == 1 else SEVERAL
    for name in options.policy or policies:
        start = time.process_time()
        seeds = range(options.first_seed, options.first_seed + options.seeds)
        searches = [run(pool, policies[name], seed, options) for seed in seeds]
        spent = (time.process_time() - start) / options.seeds
        print(f"{describe(name, searches, options.labels)}  {spent:.1f} s", flush=True)


if __name__ == "__main__":
    main()
