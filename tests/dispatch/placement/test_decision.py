"""Decisions of placement, in simulated time."""

import itertools
import random
from dataclasses import replace

import pytest
from packing_bound import dual_feasible, lower_bound
from placement_mixes import random_mix
from placement_simulation import overused, simulate

from hpcmat.dispatch.placement import decision
from hpcmat.dispatch.placement.decision import decide
from hpcmat.dispatch.placement.nodes import Node, Share
from hpcmat.dispatch.placement.state import Demand, Policy, Request, Reservation, Running, State

FOUR = tuple(Node(f"n{i}", 4) for i in range(4))


def task(number, nodes, predicted=10.0, submitted=0.0, **more):
    return Request(number, Demand(nodes), submitted, predicted, more.pop("limit_s", 1000.0), **more)


def part(number, cores, predicted=10.0, gpus=0):
    return Request(number, Demand(1, cores, gpus, whole=False), 0.0, predicted, 1000.0)


def on(request, *nodes, started=0.0):
    shares = tuple(Share(node, node.cores) for node in nodes)
    return Running(request, shares, started)


def names(running):
    return {share.node.name for share in running.shares}


def test_thousand_mixes_are_packed_within_five_percent_of_the_bound():
    """Each loses less than 5 % of what no packing can beat; what is printed says which mix, and by how much."""
    results = []
    for seed in range(1000):
        mix = random_mix(seed)
        trace, state = simulate(mix.nodes, mix.requests)
        assert not state.waiting and len(trace.spans) == len(mix.requests), f"never ran: {state.waiting} of {mix}"
        assert overused(trace, mix.nodes) == [], f"nodes used twice in {mix}"
        bound = lower_bound(mix.nodes, mix.requests)
        assert trace.makespan >= bound * (1 - 1e-9), f"bound {bound} s above {trace.makespan} s of {mix}"
        results.append((bound / trace.makespan, bound, mix))
    results.sort(key=lambda result: result[0])
    worst = "\n".join(f"{ratio:.4f} of the best, {bound:.0f} s at least: {mix}" for ratio, bound, mix in results[:10])
    ratios = [ratio for ratio, _, _ in results]
    assert sum(ratios) / len(ratios) >= 0.99, worst
    assert ratios[0] >= 0.95, worst


HARD = (26, 118, 334, 411, 453, 573, 761, 895, 929, 992)
"""Mixes in which filling the nodes now leaves gaps beside all that comes later."""


def test_without_looking_ahead_the_hard_mixes_would_not_pass(monkeypatch):
    """The control: the same rules, with the largest that fits started at once."""
    monkeypatch.setattr(decision, "applies", lambda *_: False)
    for seed in HARD:
        mix = random_mix(seed)
        trace, _ = simulate(mix.nodes, mix.requests)
        assert lower_bound(mix.nodes, mix.requests) < 0.95 * trace.makespan


def test_a_node_is_held_back_where_that_ends_sooner():
    """Small tasks started one by one keep tasks of two from running beside those of three."""
    five = (*FOUR, Node("n4", 4))
    running = (on(task(8, 3, 10.0), *five[:3]), on(task(9, 1, 10.0), five[3]))
    pairs = [task(1, 3, 100.0), task(2, 3, 100.0), task(3, 2, 100.0), task(4, 2, 100.0)]
    queue = (*pairs, *(task(number, 1, 95.0) for number in range(10, 15)))
    state = State(0.0, five, queue, running)
    assert not decide(state, Policy()).starts
    assert decide(state, Policy(ends_at=300.0)).starts, "not all of it can end in time: as much as possible at once"
    fewer = State(0.0, five, queue[:-4], running)
    assert decide(fewer, Policy()).starts, "control: a single small task is best begun now"


def test_queue_in_order_of_arrival_would_not_pass():
    """The control: without backfill and with nothing but the order of arrival, a tenth and more is lost."""
    lost = []
    for seed in range(0, 42):
        mix = random_mix(seed)
        bound = lower_bound(mix.nodes, mix.requests)
        lost.append(1 - bound / first_come_first_served(mix))
    assert sum(lost) / len(lost) > 0.1


def first_come_first_served(mix):
    """Makespan on nodes in whole, each task waiting for all before it to have started."""
    free_at, begun = [0.0] * len(mix.nodes), 0.0
    for request in mix.requests:
        free_at.sort()
        count = request.demand.nodes
        begun = max(begun, free_at[count - 1])
        free_at[:count] = [begun + request.predicted_s] * count
    return max(free_at)


def test_weights_of_the_bound_are_dual_feasible():
    """No sizes that fit together weigh more than 1; a function that is not one would."""
    for total in range(2, 13):
        for weight in dual_feasible(range(1, total + 1), total):
            assert heaviest(weight, total) <= 1 + 1e-9
    assert heaviest({x: (x / 12) ** 0.9 for x in range(1, 13)}, 12) > 1.1


def heaviest(weight, total):
    best = [0.0] * (total + 1)
    for filled in range(1, total + 1):
        best[filled] = max(best[filled - x] + weight[x] for x in range(1, filled + 1))
    return best[total]


@pytest.mark.parametrize("priorities", [(0, 1), (0,)])
@pytest.mark.parametrize("seed", range(15))
def test_nothing_starves_though_predictions_are_wrong_and_tasks_keep_coming(seed, priorities):
    """A task waits for those before it and for those within one ageing step, never for the stream of small ones."""
    rng = random.Random(seed)
    nodes, ageing = FOUR, 100.0
    large = task(0, 4, 20.0, submitted=50.0, limit_s=60.0)
    small = [
        task(i, rng.choice([1, 1, 1, 2, 3]), 20.0, rng.uniform(0, 3000), limit_s=60.0, priority=rng.choice(priorities))
        for i in range(1, 400)
    ]
    actual = {r.id: rng.uniform(1.0, 60.0) for r in small}
    trace, state = simulate(nodes, [large, *small], actual, Policy(ageing_s=ageing))
    assert not state.waiting
    assert overused(trace, nodes) == []
    # Those that may come first: of a priority higher by one, within two ageing steps; then one limit to drain.
    ahead = [r for r in small if r.submitted <= large.submitted + 2 * ageing]
    work = sum(r.demand.nodes * actual[r.id] for r in ahead)
    assert trace.spans[0][0] <= large.submitted + 2 * ageing + work + 2 * 60.0


@pytest.mark.parametrize("seed", range(21))
def test_reserved_task_starts_when_promised(seed):
    """With right predictions and nobody more urgent coming, backfill delays no promise."""
    mix = random_mix(seed)
    rng = random.Random(seed)
    arrivals = sorted(rng.uniform(0, 500.0) for _ in mix.requests)
    requests = [replace(r, submitted=at, priority=-r.id) for r, at in zip(mix.requests, arrivals, strict=True)]
    trace, _ = simulate(mix.nodes, requests, policy=Policy(ageing_s=1e9))
    assert trace.promises
    for promise in trace.promises.values():
        assert trace.spans[promise.task][0] <= promise.at + 1e-6


def test_backfill_takes_what_ends_before_the_promise_and_nothing_longer():
    busy = on(task(1, 3, predicted=100.0), *FOUR[:3])
    reserved = task(2, 4, predicted=50.0, priority=1)
    state = State(0.0, FOUR, (reserved, task(3, 1, 100.0), task(4, 1, 100.1)), (busy,))
    decision = decide(state, Policy())
    assert decision.reservation == Reservation(2, 100.0, frozenset(node.name for node in FOUR))
    assert [start.request.id for start in decision.starts] == [3]


def test_nodes_that_a_reservation_leaves_serve_long_tasks():
    running = (on(task(1, 2, predicted=100.0), *FOUR[:2]), on(task(5, 1, predicted=10.0), FOUR[2]))
    state = State(0.0, FOUR, (task(2, 3, 50.0, priority=1), task(3, 1, 9999.0)), running)
    decision = decide(state, Policy())
    assert decision.reservation.nodes == {"n0", "n1", "n2"}
    assert names(decision.starts[0]) == {"n3"}


def test_broken_promise_fixes_the_nodes():
    """Late tasks are waited for, and nothing new is put on the nodes however short it claims to be."""
    late = on(task(1, 3, predicted=10.0, limit_s=500.0), *FOUR[:3])
    promised = Reservation(2, 10.0, frozenset(node.name for node in FOUR))
    state = State(20.0, FOUR, (task(2, 4, priority=1), task(3, 1, predicted=0.1)), (late,), promised)
    decision = decide(state, Policy())
    assert decision.starts == ()
    assert decision.reservation == promised
    kept_so_far = decide(replace(state, now=9.0), Policy())
    assert [start.request.id for start in kept_so_far.starts] == [3]


def test_waiting_raises_priority():
    queue = (task(1, 4, submitted=0.0), task(2, 4, submitted=900.0, priority=2))
    first = [decide(State(now, FOUR, queue), Policy(ageing_s=600.0)).starts[0].request.id for now in (1000.0, 1250.0)]
    assert first == [2, 1]


def test_parts_fill_a_node_in_use_before_another_is_begun():
    decision = decide(State(0.0, FOUR, tuple(part(i, 2) for i in range(3))), Policy())
    assert [names(start) for start in decision.starts] == [{"n0"}, {"n0"}, {"n1"}]


def test_gpus_are_handed_out_once_and_left_to_those_who_need_them():
    nodes = (Node("with", 4, 2), Node("without", 4))
    queue = (part(1, 1), part(2, 1, gpus=1), part(3, 1, gpus=1), part(4, 1, gpus=1))
    decision = decide(State(0.0, nodes, queue), Policy())
    got = {start.request.id: (start.shares[0].node.name, start.shares[0].gpus) for start in decision.starts}
    assert got == {1: ("without", ()), 2: ("with", (0,)), 3: ("with", (1,))}


def test_launches_at_a_time_are_limited():
    queue = tuple(task(i, 1) for i in range(10))
    trace, _ = simulate(FOUR, queue, policy=Policy(max_concurrent=2))
    assert trace.makespan == 50.0
    assert simulate(FOUR, queue)[0].makespan == 30.0


def test_walltime_left_decides_what_may_start():
    policy = Policy(ends_at=100.0)
    saves = task(3, 1, 500.0, checkpoint_s=90.0)
    decision = decide(State(0.0, FOUR, (task(1, 1, 101.0), task(2, 1, 100.0), saves)), policy)
    assert {start.request.id for start in decision.starts} == {2, 3}
    assert [h.task for h in decision.hopeless] == [1]
    assert "allocation ends" in decision.hopeless[0].reason


DRAIN = Policy(drains_at=100.0, lasts_s=1000.0)


def test_what_could_not_end_before_the_drain_waits_and_is_not_given_up():
    saves = task(3, 1, 500.0, checkpoint_s=90.0)
    queue = (task(1, 1, 101.0), task(2, 1, 100.0), saves, task(4, 2, 500.0))
    for policy in (replace(DRAIN, ends_at=700.0), DRAIN):
        found = decide(State(0.0, FOUR, queue), policy)
        assert {start.request.id for start in found.starts} == {2, 3}, "the margin belongs to what is late"
        assert (found.hopeless, found.reservation) == ((), None)
    assert len(decide(State(0.0, FOUR, queue[:3]), Policy(ends_at=700.0)).starts) == 3, "control: without a drain"


def test_nothing_begins_once_the_allocation_drains():
    queue = (task(1, 1, 0.0), task(2, 1, 5000.0))
    assert decide(State(100.0, FOUR, queue), DRAIN) == decision.Decision()
    assert len(decide(State(99.0, FOUR, queue), DRAIN).starts) == 2, "control: a second before"


def test_what_no_allocation_is_long_enough_for_does_not_wait_for_one():
    """Predictions err, and it would wait in each of them for ever."""
    starts = decide(State(0.0, FOUR, (task(1, 1, 900.0), task(2, 1, 901.0))), DRAIN).starts
    assert [start.request.id for start in starts] == [2]


def test_no_node_idles_for_a_task_that_has_to_wait_for_the_next_allocation():
    busy = on(task(1, 3, predicted=60.0), *FOUR[:3])
    state = State(0.0, FOUR, (task(2, 4, 50.0, priority=1), task(3, 1, 90.0)), (busy,))
    assert [start.request.id for start in decide(state, DRAIN).starts] == [3]
    assert decide(state, replace(DRAIN, drains_at=200.0)).starts == ()


@pytest.mark.parametrize("seed", range(20))
def test_of_every_mix_all_that_can_ends_before_the_drain_and_the_rest_waits(seed):
    mix = random_mix(seed)
    drain = 0.6 * simulate(mix.nodes, mix.requests)[0].makespan
    trace, state = simulate(mix.nodes, mix.requests, policy=Policy(drains_at=drain, lasts_s=1e9))
    assert not trace.hopeless and {*trace.spans} | {r.id for r in state.waiting} == {r.id for r in mix.requests}
    assert max(end for _, end, _ in trace.spans.values()) <= drain
    assert state.waiting, "control: not all of it could"
    idle_from = dict.fromkeys((node.name for node in mix.nodes), 0.0)
    for _, end, shares in trace.spans.values():
        idle_from |= {s.node.name: max(end, idle_from[s.node.name]) for s in shares}
    free = sorted(idle_from.values())
    assert all(free[r.demand.nodes - 1] + r.predicted_s > drain for r in state.waiting), "it could have run there"


def test_no_node_idles_for_a_task_that_could_not_end():
    busy = on(task(1, 3, predicted=60.0), *FOUR[:3])
    state = State(0.0, FOUR, (task(2, 4, 50.0, priority=1), task(3, 1, 90.0)), (busy,))
    assert [start.request.id for start in decide(state, Policy(ends_at=100.0)).starts] == [3]
    assert decide(state, Policy(ends_at=200.0)).starts == ()


def test_fenced_nodes_get_nothing_and_take_away_hope():
    state = State(0.0, FOUR, (task(1, 4), task(2, 3), task(3, 1)), fenced=frozenset(["n1"]))
    decision = decide(state, Policy())
    assert [h.task for h in decision.hopeless] == [1]
    assert set().union(*(names(start) for start in decision.starts)) == {"n0", "n2", "n3"}


@pytest.mark.parametrize("seed", range(20))
def test_node_failures_lose_no_task(seed):
    """Tasks are given up only where the nodes that are left are too few."""
    rng = random.Random(seed)
    mix = random_mix(seed)
    fallen = rng.sample([node.name for node in mix.nodes], len(mix.nodes) // 2)
    trace, state = simulate(mix.nodes, mix.requests, fences=[(rng.uniform(0, 500.0), name) for name in fallen])
    left = len(mix.nodes) - len(fallen)
    assert not state.waiting
    ids = {r.id: r.demand.nodes for r in mix.requests}
    assert set(ids) == {*trace.spans, *trace.hopeless}
    assert all(ids[number] > left for number in trace.hopeless)


def test_order_of_arrival_does_not_change_the_packing():
    queue = [task(1, 3), task(2, 1), task(3, 2), task(4, 2)]
    makespans = {simulate(FOUR, list(order))[0].makespan for order in itertools.permutations(queue)}
    assert makespans == {20.0}
