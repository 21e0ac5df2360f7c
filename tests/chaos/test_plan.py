"""Plans are drawn from their seed alone, and hold what was asked for."""

import pytest

from chaos.plan import OF_SLURM, Kind, draw_plan


@pytest.mark.parametrize(("faults", "per_campaign"), [(200, 20), (33, 20), (4, 20)])
def test_plan_holds_so_many_faults(faults, per_campaign):
    plans = draw_plan(5, faults, per_campaign)
    assert sum(len(plan.faults) for plan in plans) == faults
    assert draw_plan(5, faults, per_campaign) == plans
    assert draw_plan(6, faults, per_campaign) != plans


def test_every_campaign_meets_every_kind_that_it_can_meet():
    for plan in draw_plan(7, 200):
        kinds = {fault.kind for fault in plan.faults}
        assert kinds == (set(Kind) if plan.site != "local" else set(Kind) - set(OF_SLURM))


def test_faults_strike_while_labels_are_left():
    for plan in draw_plan(8, 200):
        numbers = [fault.number for fault in plan.faults]
        assert numbers == sorted(numbers)
        assert numbers[-1] < plan.labels
