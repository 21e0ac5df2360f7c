"""Shape of the tree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcmat.dispatch.farm.layout import FarmLayout, children_of, parent_of
from hpcmat.errors import InputError


@given(st.integers(1, 3000), st.integers(1, 70))
def test_every_rank_but_the_root_has_one_parent_that_knows_it(managers, fanout):
    layout = FarmLayout(managers, 1, fanout=fanout)
    below = [child for rank in range(layout.ranks) for child in children_of(rank, layout)]
    assert sorted(below) == list(range(1, layout.ranks))
    assert all(rank in children_of(parent_of(rank, fanout), layout) for rank in below)
    assert max(len(children_of(rank, layout)) for rank in range(layout.ranks)) <= fanout
    assert parent_of(0, fanout) is None


def test_whole_fugaku_is_three_levels_deep():
    layout = FarmLayout(158_976, 4)
    rank, depth = layout.ranks - 1, 0
    while rank:
        rank, depth = parent_of(rank, layout.fanout), depth + 1
    assert depth == 3
    assert layout.workers == 635_904


def test_launcher_is_told_the_number_of_ranks():
    layout = FarmLayout(7, 2, launcher=("srun", "--ntasks={ranks}", "--mpi=pmi2"))
    assert layout.command == ["srun", "--ntasks=7", "--mpi=pmi2"]


@pytest.mark.parametrize(
    "wrong", [{"managers": 0}, {"workers_per_manager": 0}, {"prefetch": -1}, {"fanout": 0}, {"silence_s": 5.0}]
)
def test_impossible_shapes_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        FarmLayout(**({"managers": 1, "workers_per_manager": 1} | wrong))
