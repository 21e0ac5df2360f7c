"""How many labels a campaign needs, and what they cost, by policy: on teachers with dynamics in the loop and on pools.

Parts, each of which can be run alone with --parts:

targets     what each system's target is by its rule, and what can be attained.
campaigns   labels to the target force RMSE on fixed frames of the teacher's own dynamics: hpcmat against labels drawn
            at random and against draws from a trust window, as concurrent learning makes them (DP-GEN).
exploring   the same with audits that roll back, and with biased dynamics, against without.
pools       labels to what random draws reach with all labels, on sets of others (Zuo et al. 2020).
cost        node-hours to the target with and without looking at what labels cost, where it varies 36-fold.
flight      labels that the fit has seen when the error is down, with 1 to 64 in flight, on a fixed set of frames.
bound       how often the true error exceeds the bound at which a campaign stops.

Of labels in flight, those count that the fit has seen. What was decided and has not ended is a number of the machine,
always as large as the machine: where sixty-four labels are computed at a time and seven are enough, sixty-four are
decided before the first is known, and no choice can mend that. What choosing ahead costs is that a label was chosen
with an older potential, and this shows in the error at an equal number of labels. How much depends on the target, and
where curves are flat, a seed decides: labels to a single target vary by a factor of two. Each campaign counts with its
geometric mean over targets, those that labels in turn reach with a quarter to two thirds of the budget. Most of what is
decided far ahead is drawn at random, not chosen (`random_share` in hpcmat/steering/policies.py). Such labels teach less
at first and hold off misfit later: the ratio at each target is printed too.

Ratios have 90 % intervals by the bootstrap over seeds; a campaign that does not reach its target counts with its
budget, so that ratios err against the policy that is late.
"""

from __future__ import annotations

import math
import statistics
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from data_sets import data_folder
from rows import Row, parser, publish, row
from teacher_systems import (
    POLICIES,
    SYSTEMS,
    TARGET_FACTOR,
    FixedMachine,
    Policy,
    attainable,
    campaign_of,
    reference_frames,
    run,
)
from validation_streams import exceedances

from hpcmat.campaign.replay import Curve, Labels, Pace, replay
from hpcmat.campaign.replay import Policy as PoolPolicy
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.dataset import read_dataset
from hpcmat.surrogates.trainer import FitOptions, settings_for

PARTS = ("targets", "campaigns", "exploring", "pools", "cost", "flight", "bound")
IN_FLIGHT = (1, 8, 64)
RESAMPLES = 2000
ELEMENTS = ("Si", "Cu", "Li")
FLIGHT_TARGETS = (1 / 4, 1 / 3, 1 / 2, 2 / 3)
"""Shares of the budget after which the error of labels in turn is a target."""
FLIGHT_REFIT = 8
"""Labels between two fits where at least so many are in flight; one after another, each is followed by a fit."""
CELLS = "Cu (EMT), three cells"
TEACHERS = [name for name in SYSTEMS if name != CELLS]


def compared(case: str, metric: str, unit: str, values: Sequence[float], peer: tuple[str, Sequence[float]]) -> Row:
    """A row of medians over the same seeds; prints the interval of their ratio."""
    ours, theirs = np.array(values), np.array(peer[1])
    rng = np.random.default_rng(0)
    draws = rng.integers(len(ours), size=(RESAMPLES, len(ours)))
    ratios = np.median(ours[draws], axis=1) / np.median(theirs[draws], axis=1)
    low, high = np.quantile(ratios, [0.05, 0.95])
    print(
        f"{case}: {metric}, ratio to {peer[0]} between {low:.2f} and {high:.2f}; {_listed(ours)} and {_listed(theirs)}"
    )
    return row(case, metric, float(np.median(ours)), unit, (peer[0], float(np.median(theirs))))


def _seeds(options: Namespace) -> range:
    return range(options.first_seed, options.first_seed + options.seeds)


def _listed(values: np.ndarray) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def targets(options: Namespace) -> list[Row]:
    """The targets that are written down against the rule that gave them."""
    rows = []
    for name in options.systems:
        reached, written = attainable(name), SYSTEMS[name].target
        ruled = TARGET_FACTOR * reached
        assert abs(written / ruled - 1.0) < 0.02, f"{name}: the rule gives {ruled:.3g} eV/Å"
        rows.append(row(name, "target", written, "eV/Å", ("attainable", reached)))
    return rows


def labels_needed(name: str, policy: Policy, seed: int, options: Namespace, workers: int = 1) -> float:
    """Labels to the target of a system, or the budget where it is not reached."""
    target = SYSTEMS[name].target
    found = run(name, campaign_of(name, policy, seed, options.labels), workers, stop_below=target)
    return min(found.curve.labels_to(target), float(options.labels))


def campaigns(options: Namespace) -> list[Row]:
    """Each system under each policy."""
    rows = []
    for name in options.systems:
        needed: dict[str, list[float]] = {policy: [] for policy in POLICIES}
        for seed in _seeds(options):
            for policy in POLICIES:
                needed[policy].append(labels_needed(name, POLICIES[policy], seed, options))
                print(f"{name}, {policy}, seed {seed}: {needed[policy][-1]:.1f} labels", flush=True)
        metric = f"labels to {SYSTEMS[name].target:g} eV/Å (less is better)"
        rows += [
            compared(name, metric, "", needed["hpcmat"], (peer, needed[peer])) for peer in POLICIES if peer != "hpcmat"
        ]
    return rows


def exploring(options: Namespace) -> list[Row]:
    """Each system with what campaigns leave off."""
    rows, ours = [], POLICIES["hpcmat"]
    variants = {"roll back": replace(ours, roll_back=True)} | {
        f"bias {bias:g}": replace(ours, bias=bias) for bias in options.biases
    }
    for name in options.systems:
        needed = {
            variant: [labels_needed(name, policy, seed, options) for seed in _seeds(options)]
            for variant, policy in ({"without": ours} | variants).items()
        }
        metric = f"labels to {SYSTEMS[name].target:g} eV/Å (less is better)"
        peer = "without", needed["without"]
        rows += [compared(f"{name}, {variant}", metric, "", needed[variant], peer) for variant in variants]
    return rows


def pools(options: Namespace) -> list[Row]:
    """Replays on sets of others; their test sets judge."""
    folder, rows = data_folder(options.data, "zuo2020"), []
    pace = Pace(limit=options.pool_labels)
    for element in ELEMENTS:
        train, test = (read_dataset(folder / f"{element}_{part}.xyz.gz") for part in ("train", "test"))
        pool, judges = (tuple(frame.label for frame in each.frames) for each in (train, test))
        labels = Labels(pool, judges, settings_for(train, FitOptions(size="small")))
        curves = {
            rule: [replay(labels, PoolPolicy(rule), seed, pace) for seed in _seeds(options)]
            for rule in ("random", "trusted", "i-optimal")
        }
        target = statistics.median(curve.force_rmse[-1] for curve in curves["random"])
        needed = {
            rule: [min(curve.labels_to(target), float(pace.limit)) for curve in found] for rule, found in curves.items()
        }
        metric = f"labels to {target:.4f} eV/Å (less is better)"
        rows += [
            compared(f"{element} pool", metric, "", needed["i-optimal"], (peer, needed[peer]))
            for peer in ("random", "trusted")
        ]
    return rows


def cost(options: Namespace) -> list[Row]:
    """Cells of 8, 16 and 48 atoms, whose labels take as the square of that."""
    name, machine, spent = CELLS, FixedMachine(exponent=2.0), dict[bool, list[float]]()
    for aware in (False, True):
        policy = replace(POLICIES["hpcmat"], cost_aware=aware)
        spent[aware] = []
        for seed in _seeds(options):
            spent[aware].append(_node_hours(name, policy, seed, options, machine))
            print(f"{name}, cost-aware {aware}, seed {seed}: {spent[aware][-1]:.4g} node-hours", flush=True)
    metric = f"node-hours to {SYSTEMS[name].target:g} eV/Å (less is better)"
    return [compared(name, metric, "node-hours", spent[True], ("the same without costs", spent[False]))]


def _node_hours(name: str, policy: Policy, seed: int, options: Namespace, machine: FixedMachine) -> float:
    target = SYSTEMS[name].target
    found = run(name, campaign_of(name, policy, seed, options.labels), 1, machine, stop_below=target)
    reached = [hours for hours, error in zip(found.node_hours, found.curve.force_rmse, strict=True) if error <= target]
    return reached[0] if reached else found.state.node_hours


def flight(options: Namespace) -> list[Row]:
    """The same policy with more and more labels in flight, on frames of the teacher's dynamics."""
    rows = []
    for name in options.flight_systems:
        system, policy = campaign_of(name, POLICIES["hpcmat"], 0, 10).system, PoolPolicy("i-optimal")
        pool = reference_frames(name, trajectories=options.flight_trajectories, draw=1)
        settings = AceSettings(system.elements, SYSTEMS[name].cutoff, size="small")
        labels, curves = Labels(pool, reference_frames(name), settings), dict[int, list[Curve]]()
        for number in IN_FLIGHT:
            pace = Pace(batch=min(number, FLIGHT_REFIT), limit=options.flight_labels, in_flight=number)
            curves[number] = []
            for seed in options.flight_seeds:
                curves[number].append(replay(labels, policy, seed, pace))
                errors = _listed(np.array(curves[number][-1].force_rmse))
                print(f"{name}, {number} in flight, seed {seed}: {errors} eV/Å", flush=True)
        rows += _flight_rows(f"{name}, {len(pool)} candidates", curves)
    return rows


def _flight_rows(case: str, curves: dict[int, list[Curve]]) -> list[Row]:
    """Labels absorbed by the fit when the error is what labels one after another reach with parts of the budget."""
    limit = curves[1][0].labels[-1]
    late = [int(np.searchsorted(curves[1][0].labels, share * limit)) for share in FLIGHT_TARGETS]
    targets = np.median([np.array(curve.force_rmse)[late] for curve in curves[1]], axis=0)
    needed = {
        n: np.array([[min(each.labels_to(t), limit) for t in targets] for each in found]) for n, found in curves.items()
    }
    rows = []
    for number in IN_FLIGHT[1:]:
        at_each = np.median(needed[number], axis=0) / np.median(needed[1], axis=0)
        print(f"{case}, {number} in flight: ratio {_listed(at_each)} at {_listed(targets)} eV/Å")
        ours, in_turn = (np.exp(np.log(needed[n]).mean(axis=1)).tolist() for n in (number, 1))
        metric = f"labels to {targets[0]:.4g} ... {targets[-1]:.4g} eV/Å (less is better)"
        rows.append(compared(f"{case}, {number} in flight", metric, "", ours, ("1 in flight", in_turn)))
    return rows


def bound(options: Namespace) -> list[Row]:
    """The bound at which campaigns stop against the error over all frames of the same potential."""
    rows, n = [], options.streams
    for name in options.systems:
        found = exceedances(name, n, options.stream_seed)
        stopped = [each for each in found if each.stopped]
        share, ever = (float(np.mean([each.wrong for each in stopped])), float(np.mean([e.ever_wrong for e in found])))
        frames = statistics.median(each.frames for each in found)
        print(
            f"{name}: {len(stopped)} of {n} campaigns stopped, half of all by {frames:g} validation frames; true error "
            f"above the bound at any look in {100 * ever:.1f} %, at that of the stop in {100 * share:.1f} %",
            flush=True,
        )
        for metric, value in (("at the stop", share), ("at any look", ever)):
            error, promised = math.sqrt(value * (1 - value) / n), ("promised", 5.0)
            metric = f"true error above the 95 % bound {metric}"
            rows.append(row(f"{name}, {n} campaigns", metric, 100 * value, "%", promised, 100 * error))
    return rows


def check(options: Namespace) -> None:
    """Stop where the frames that judge are not what they should be."""
    for name in options.systems:
        frames = reference_frames(name)
        forces = [np.sqrt(np.mean(frame.forces**2)) for frame in frames]
        assert len(frames) >= 60 and max(forces) > 2 * min(forces), "hot and cold frames judge"


def main() -> None:
    """Run the parts and publish what they found."""
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    options.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=TEACHERS)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--first-seed", type=int, default=1, help="policies were developed on 1 to 5")
    options.add_argument("--labels", type=int, default=60, help="budget of a campaign")
    options.add_argument("--biases", nargs="+", type=float, default=[0.1, 0.25], help="of every second trajectory")
    options.add_argument("--pool-labels", type=int, default=60, help="labels at which replays end")
    options.add_argument("--streams", type=int, default=200, help="campaigns whose bound is tried")
    options.add_argument("--flight-systems", nargs="+", choices=list(SYSTEMS), default=["Si (Stillinger-Weber)"])
    options.add_argument("--flight-seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    options.add_argument("--flight-labels", type=int, default=200, help="labels at which these replays end")
    options.add_argument("--flight-trajectories", type=int, default=16, help="of each condition, ten frames each")
    options.add_argument("--stream-seed", type=int, default=1, help="of the trajectories that try the bound")
    options.add_argument("--data", type=Path, help="folder of the sets of others; or HPCMAT_DATA")
    given = options.parse_args()
    if set(given.parts) != {"pools"}:
        check(given)
    measured: dict[str, Callable[[Namespace], list[Row]]] = {
        "targets": targets,
        "campaigns": campaigns,
        "exploring": exploring,
        "pools": pools,
        "cost": cost,
        "flight": flight,
        "bound": bound,
    }
    publish([each for part in given.parts for each in measured[part](given)], given.json)


if __name__ == "__main__":
    main()
