"""Which branch gets which task."""

from hypothesis import given
from hypothesis import strategies as st

from hpcmat.dispatch.farm.messages import TaskMessage
from hpcmat.dispatch.farm.routing import Router

PLACES = st.dictionaries(st.integers(0, 9), st.integers(0, 5), max_size=10)


def router_of(places, tasks):
    router = Router()
    for branch, count in places.items():
        router.offer(branch, count)
    router.accept(TaskMessage(number, b"") for number in range(tasks))
    return router


@given(PLACES, st.integers(0, 40))
def test_every_place_is_used_and_none_twice(places, tasks):
    router = router_of(places, tasks)
    dealt = router.deal()
    numbers = sorted(task.number for given in dealt.values() for task in given)
    assert numbers == list(range(min(tasks, sum(places.values())))), "first come, first dealt"
    assert all(len(given) <= places[branch] for branch, given in dealt.items())
    assert router.waiting == tasks - len(numbers)
    if router.waiting:
        assert router.deal() == {}


@given(PLACES, st.integers(1, 40))
def test_the_emptiest_branch_comes_first(places, tasks):
    """After dealing no branch has two places more left than one that was given something had before its last."""
    dealt = router_of(places, tasks).deal()
    left = {branch: count - len(dealt.get(branch, ())) for branch, count in places.items()}
    assert all(max(left.values()) <= left[branch] + 1 for branch in dealt)


def test_a_dead_branch_gets_nothing_until_it_offers_again():
    router = router_of({"a": 1, "b": 1}, 0)
    router.withdraw("a")
    router.accept([TaskMessage(0, b""), TaskMessage(1, b"")])
    assert list(router.deal()) == ["b"]
    router.offer("a")
    assert list(router.deal()) == ["a"]
