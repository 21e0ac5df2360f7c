"""`hpcmat replay`: policies on labels that exist, to see which would have needed fewer."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hpcmat.cli.common import AsJson, one_blas_thread, print_columns, print_json

if TYPE_CHECKING:
    from hpcmat.campaign.replay import Curve, Labels, Pace

Source = Annotated[
    Path, typer.Argument(metavar="FOLDER|FILE", help="Folder of a finished campaign, or a file of labelled frames.")
]
Test = Annotated[
    Path | None, typer.Option("--test", metavar="FILE", help="Labelled frames that judge, where a file is replayed.")
]
Policies = Annotated[
    list[str] | None, typer.Option("--policy", metavar="NAME", help="Acquisition; may be given more than once.")
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Replays of each policy, from different first labels.")]
Limit = Annotated[int, typer.Option("--labels", min=2, help="Labels at which a replay ends.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Labels between two fits.")]
Size = Annotated[Literal["small", "medium", "large"], typer.Option("--size", help="Size of the basis, for a file.")]

DEFAULT_POLICIES = ("random", "trusted", "i-optimal")


@dataclass(frozen=True, slots=True)
class Compared:
    """One policy: medians over its replays."""

    policy: str
    labels: tuple[int, ...]
    force_rmse_ev_per_ang: tuple[float, ...]
    labels_to_target: float | None
    """Labels at which the error falls to the target; None where it does not."""
    target_ev_per_ang: float


def replay(  # noqa: PLR0913 - one parameter for each option of the command line
    source: Source,
    test: Test = None,
    policy: Policies = None,
    seeds: Seeds = 3,
    labels: Limit = 60,
    batch: Batch = 5,
    size: Size = "small",
    as_json: AsJson = False,
) -> None:
    """Run policies again on the labels of a finished campaign or data set, and compare them.

    All start from the same labels, drawn at random, and choose from what was labelled; frames never trained on judge.
    What a campaign labelled was chosen by its own policy: other policies might have explored elsewhere.
    """
    one_blas_thread()
    from hpcmat.campaign.replay import Pace
    from hpcmat.campaign.spec import SteeringSpec
    from hpcmat.toml_input import parse_model

    for name in policy or ():
        parse_model(SteeringSpec, {"acquisition": name}, "--policy")
    found = _labels(source, test, size)
    compared = _compared(found, policy or list(DEFAULT_POLICIES), seeds, Pace(batch, batch, labels))
    if as_json:
        print_json([asdict(each) for each in compared])
        return
    print(f"{source}: {len(found.pool)} labels, judged by {len(found.test)}; medians of {seeds}\n")
    at = compared[0].labels
    rows = [("policy", *(f"at {number}" for number in at), f"labels to {compared[0].target_ev_per_ang:.4f} eV/Å")]
    print_columns([*rows, *(_cells(each) for each in compared)])


def _cells(each: Compared) -> tuple[str, ...]:
    reached = "not reached" if each.labels_to_target is None else f"{each.labels_to_target:.0f}"
    return (each.policy, *(f"{error:.4f}" for error in each.force_rmse_ev_per_ang), reached)


def _labels(source: Path, test: Path | None, size: Literal["small", "medium", "large"]) -> Labels:
    from hpcmat.campaign.folder import CampaignFolder
    from hpcmat.campaign.replay import Labels, labels_of
    from hpcmat.errors import InputError
    from hpcmat.store.results import ResultStore
    from hpcmat.surrogates.dataset import read_dataset
    from hpcmat.surrogates.trainer import FitOptions, settings_for

    if source.is_dir():
        state = CampaignFolder(source).read()
        assert state.created is not None, "a campaign that is read was created"
        return labels_of(state, ResultStore(state.created.store))
    if test is None:
        raise InputError(f"{source}: name the frames that judge with --test FILE, or the folder of a campaign")
    train, judges = read_dataset(source), read_dataset(test)
    pool, judging = (tuple(f.label for f in each.frames if len(f.label.forces)) for each in (train, judges))
    return Labels(pool, judging, settings_for(train, FitOptions(size=size)))


def _compared(labels: Labels, policies: list[str], seeds: int, pace: Pace) -> list[Compared]:
    from hpcmat.campaign.replay import Policy
    from hpcmat.campaign.replay import replay as replayed

    curves = {name: [replayed(labels, Policy(name), seed, pace) for seed in range(seeds)] for name in policies}
    # What the first policy reaches at last is a target that at least one of them can be judged by.
    target = statistics.median(curve.force_rmse[-1] for curve in curves[policies[0]])
    return [_summary(name, found, target) for name, found in curves.items()]


def _summary(name: str, curves: list[Curve], target: float) -> Compared:
    errors = zip(*(curve.force_rmse for curve in curves), strict=True)
    needed = statistics.median(curve.labels_to(target) for curve in curves)
    medians = tuple(statistics.median(each) for each in errors)
    return Compared(name, curves[0].labels, medians, needed if math.isfinite(needed) else None, target)
