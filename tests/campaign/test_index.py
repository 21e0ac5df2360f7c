"""What is kept up event by event equals what can be counted afresh."""

from itertools import count

from campaign_events import (
    campaign_of,
    candidate,
    created,
    decided,
    explored,
    failed,
    finished,
    fitted,
    fold,
    run_started,
    submitted,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcmat.campaign.pool import Pool
from hpcmat.campaign.scheduling import view_of
from hpcmat.campaign.state import OPEN

CREATED = created(campaign_of())
PURPOSES = ("train", "validation", "reference", "explore", "fit")
STEPS = st.lists(
    st.tuples(st.sampled_from(["decide", "start", "finish", "fail", "give up"]), st.integers(0, 99)), max_size=60
)


def history(steps):
    """A sequence of events that could be a journal's: each step names an act and picks whom it befalls."""
    state, clock = fold(CREATED, run_started()), count(2)

    def happen(event):
        state.apply(event, float(next(clock)))

    for act, pick in steps:
        running = [task for task in state.open_tasks if task.status == "running"]
        startable = list(state.startable)
        if act == "decide":
            happen(decision_of(PURPOSES[pick % 5], state))
        elif act == "start" and startable:
            happen(submitted(startable[pick % len(startable)].id))
        elif running:
            happen(ending_of(act, running[pick % len(running)]))
    return state


def decision_of(purpose, state):
    number = len(state.tasks)
    changes = {}
    if purpose in {"train", "validation"}:
        waiting = [c for c in state.pool if c.reserved == (purpose == "validation")]
        changes = {"candidate": waiting[number % len(waiting)]} if waiting else {}
    if purpose == "fit":
        changes = {"train": tuple(task.key for task in state.done("train"))}
    if purpose == "explore":
        changes = {"model": state.model.key if state.model else None}
    return decided(f"{purpose}-{number}", purpose, **changes)


def ending_of(act, task):
    if act == "give up":
        return failed(task.id, None)
    if act == "fail":
        return failed(task.id)
    found = [candidate(frame, reserved=frame % 3 == 0, exploration=task.key) for frame in range(4)]
    return finished(task.id, {"explore": explored(*found), "fit": fitted()}.get(task.purpose, finished("x").summary))


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_counts_equal_those_of_all_tasks(steps):
    state = history(steps)
    tasks = list(state.tasks.values())
    assert state.open_tasks == [task for task in tasks if task.open]
    assert {t.id for t in state.startable} == {t.id for t in tasks if t.status in {"decided", "waiting"}}
    for purpose in PURPOSES:
        of_purpose = [task for task in tasks if task.purpose == purpose]
        assert state.of_purpose(purpose) == of_purpose
        assert state.index.number((purpose,)) == len(of_purpose)
        assert state.index.number((purpose,), *OPEN) == sum(task.open for task in of_purpose)
        ended = sorted((t for t in of_purpose if not t.open), key=lambda t: t.finished)
        assert state.index.ended.get(purpose, []) == ended
    assert state.index.all_ended == sorted((t for t in tasks if not t.open), key=lambda t: t.finished)
    assert abs(state.node_hours - sum(task.node_hours for task in tasks)) < 1e-12
    assert state.models == sorted(state.done("fit"), key=lambda task: task.finished)
    fitted_keys = set(state.model.decision.train) if state.model else set()
    beyond = [t.id for t in state.of_purpose("train") if t.status != "failed" and t.key not in fitted_keys]
    assert list(state.index.beyond_fit) == beyond


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_schedule_sees_what_can_be_counted(steps):
    state = history(steps)
    view = view_of(state, references=5)
    kept = [t for t in state.of_purpose("train", "validation", "reference") if t.status != "failed"]
    fits = [t for t in state.of_purpose("fit") if t.status != "failed"]
    since = [t for t in kept if t.purpose != "reference" and (not fits or t.decided > fits[-1].decided)]
    assert view.train == sum(t.purpose == "train" for t in kept)
    assert view.labels_open == sum(t.open for t in kept)
    assert view.labels_since_fit == len(since)
    assert view.train_fitted == (len(fits[-1].decision.train) if fits else 0)
    taken = {t.decision.candidate for t in state.of_purpose("train", "validation")}
    left = [c for c in state.candidates if c not in taken]
    assert view.pool_train == sum(not c.reserved for c in left)
    assert view.pool_validation == sum(c.reserved for c in left)
    assert state.pool.newest(3) == [c for c in left if not c.reserved][-3:]
    assert list(state.pool.reserved()) == [c for c in left if c.reserved]


def test_order_of_the_pool_is_that_of_decisions_not_of_ends():
    pool = Pool()
    pool.expect("first")
    pool.expect("second")
    pool.add((candidate(0, exploration="second"),))
    pool.add((candidate(0, exploration="first"), candidate(1, exploration="first")))
    assert [c.exploration for c in pool] == ["first", "first", "second"]
    assert [c.exploration for c in pool.newest(2)] == ["first", "second"]


def test_candidate_taken_before_its_exploration_is_known_never_enters():
    pool = Pool()
    pool.take(candidate(1))
    pool.add((candidate(0), candidate(1)))
    assert [c.frame for c in pool] == [0] and len(pool) == 1
