"""Orders that neither run nor are answered are noticed in the result store, and nobody is hurried for nothing."""

from concurrent.futures import Future

import pytest

from hpcmat.dispatch import unbegun
from hpcmat.dispatch.dispatcher import LostWorker
from hpcmat.dispatch.unbegun import LOOK_S, Unbegun
from hpcmat.dispatch.worker import Order
from hpcmat.records import Provenance, Resources, Task
from hpcmat.store.claims import Process
from hpcmat.store.results import ResultStore

KEY = "ab" * 32


class Clock:
    """Time that passes when told to."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """One order that is out, its future, the watch and the clock."""
    clock = Clock()
    monkeypatch.setattr(unbegun, "time", clock)
    task = Task("label-0001", "label", KEY, "m:f", "1", Resources(), Provenance("c", "d", "random"))
    future, watch = Future(), Unbegun()
    watch.add(Order(task, str(tmp_path), Process.current(), 1), future)
    return watch, future, clock, ResultStore(tmp_path)


def after(watch, clock, *pauses):
    """What the watch says after each of these pauses."""
    found = []
    for pause in pauses:
        clock.now += pause
        found.append(watch.overdue())
    return found


def test_an_order_that_nobody_begins_is_in_vain_at_the_second_look(watched):
    watch, _, clock, _ = watched
    assert after(watch, clock, LOOK_S / 2, LOOK_S / 2, LOOK_S / 2, LOOK_S / 2) == [False, False, False, True]


def test_a_task_that_runs_takes_its_time(watched):
    watch, _, clock, store = watched
    store.begin(KEY)
    assert after(watch, clock, *[LOOK_S] * 9) == [False] * 9


def test_an_answer_may_come_between_two_looks(watched):
    watch, future, clock, _ = watched
    assert after(watch, clock, LOOK_S) == [False]
    future.set_result("done")
    assert after(watch, clock, LOOK_S, LOOK_S) == [False, False]


def test_workers_that_are_slow_to_start_are_given_more_time_each_time(watched):
    watch, _, clock, _ = watched
    [order] = [out.order for out in watch._out.values()]
    for pause in (LOOK_S, 2 * LOOK_S, 4 * LOOK_S):
        assert after(watch, clock, pause * 0.9, pause, pause) == [False, False, True]
        watch.lose(LostWorker("ended"))
        watch.add(order, Future())


def test_after_a_new_start_everything_is_lost_that_had_no_answer(watched):
    watch, future, clock, _ = watched
    answered = Future()
    watch.add(next(iter(watch._out.values())).order, answered)
    answered.set_result("done")
    assert after(watch, clock, LOOK_S) == [False]
    watch.lose(LostWorker("ended"))
    assert isinstance(future.exception(), LostWorker)
    assert answered.result() == "done"
    assert after(watch, clock, LOOK_S, LOOK_S) == [False, False]
