"""Replays: policies differ in the order of labels and in nothing else."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from hpcmat.campaign.replay import Curve, Labels, Pace, Policy, _Grounds, replay
from hpcmat.engines.sampling import cold_start
from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.engines.structures import from_atoms, to_atoms
from hpcmat.errors import InputError
from hpcmat.records import Label, Method
from hpcmat.surrogates.ace import AceSettings

RULES = ["random", "i-optimal", "d-optimal", "uncertain", "farthest-point", "maxvol", "trusted"]


@cache
def labels():
    """Fourteen cells of silicon, mild and wild, of which four judge."""
    from ase.build import bulk

    seed = from_atoms(bulk("Si", a=5.431, cubic=True))
    structures = [*cold_start(seed, 0.02, 0.03, 7, 1), *cold_start(seed, 0.05, 0.2, 7, 2)]
    method = Method("teacher", "0", "{}", "0")
    found = []
    for structure in structures:
        atoms = to_atoms(structure)
        atoms.calc = StillingerWeber()
        found.append(
            Label(structure, atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(), method, "total")
        )
    return Labels(tuple(found[:5] + found[7:12]), tuple(found[5:7] + found[12:]), AceSettings(("Si",)))


PACE = Pace(start=4, batch=3, limit=10)


@cache
def curve(rule, seed=0):
    return replay(labels(), Policy(rule, 0.0 if rule != "random" else 1.0), seed, PACE)


@pytest.mark.parametrize("rule", RULES)
def test_all_begin_and_end_with_the_same_labels(rule):
    ours, random = curve(rule), curve("random")
    assert ours.labels == (4, 7, 10)
    assert ours.force_rmse[0] == random.force_rmse[0]
    assert ours.force_rmse[-1] == pytest.approx(random.force_rmse[-1], rel=0.02), "all labels, in another order"


def test_labels_in_flight_are_taken_in_but_not_seen_and_up_to_a_batch_of_them_changes_nothing():
    """With six in flight the second potential was not there when the labels of the last one were chosen."""
    policy = Policy("i-optimal", 0.0)
    ahead = replay(labels(), policy, 0, replace(PACE, in_flight=6))
    assert ahead.labels == curve("i-optimal").labels
    assert ahead.force_rmse[:2] == curve("i-optimal").force_rmse[:2]
    assert replay(labels(), policy, 0, replace(PACE, in_flight=PACE.batch)) == curve("i-optimal")
    alone = replay(labels(), policy, 0, replace(PACE, batch=6))
    assert ahead.force_rmse[-1] == pytest.approx(alone.force_rmse[-1]), "the same ten labels, in the same order"


@pytest.mark.parametrize(
    ("pace", "few"), [(replace(PACE, batch=6), False), (replace(PACE, batch=1, in_flight=6), True)]
)
def test_far_ahead_of_the_potential_replays_draw_and_else_they_choose(monkeypatch, pace, few):
    """With a share of draws of 1 %, where the next fit waits for all six that are in flight and where for one."""
    chosen, best = [], _Grounds.most_informative

    def counted(grounds, misfit_aware):
        chosen.append(best(grounds, misfit_aware))
        return chosen[-1]

    monkeypatch.setattr(_Grounds, "most_informative", counted)
    replay(labels(), Policy("i-optimal", 0.01), 1, pace)
    assert 1 <= len(chosen) <= 5 if few else len(chosen) == 6


def test_the_middle_depends_on_the_policy_and_the_beginning_on_the_seed():
    assert len({curve(rule).force_rmse[1] for rule in RULES}) > 2
    assert curve("random", 1).force_rmse[0] != curve("random").force_rmse[0]
    assert replay(labels(), Policy("i-optimal", 0.0), 0, PACE) == curve("i-optimal")


def test_labels_without_stress_can_be_replayed():
    bare = labels()
    pool = tuple(replace(label, stress=np.zeros(0)) for label in bare.pool)
    found = replay(replace(bare, pool=pool), Policy("i-optimal"), 0, PACE)
    assert all(math.isfinite(error) for error in found.force_rmse)


def test_too_few_labels_are_refused():
    with pytest.raises(InputError, match="are too few to replay"):
        replay(replace(labels(), pool=labels().pool[:3]), Policy("random"), 0, PACE)
    with pytest.raises(InputError, match="are too few to replay"):
        replay(replace(labels(), test=()), Policy("random"), 0, PACE)


def test_labels_to_a_target_are_interpolated():
    falling = Curve((4, 8, 12), (0.4, 0.2, 0.1))
    assert falling.labels_to(0.5) == 4
    assert falling.labels_to(0.2) == 8
    assert falling.labels_to(0.2 / math.sqrt(2)) == pytest.approx(10.0)
    assert falling.labels_to(0.05) == math.inf
