"""What an app may ask for."""

import pytest
from parsl.executors.errors import InvalidResourceSpecification
from parsl.executors.high_throughput.mpi_prefix_composer import compose_all, validate_resource_spec

from hpcmat.dispatch.launchers.dialects import Blame
from hpcmat.dispatch.placement.fences import Fences
from hpcmat.dispatch.placement.specification import parse_specification
from hpcmat.dispatch.placement.state import Demand


@pytest.mark.parametrize(
    ("given", "ranks"),
    [({}, 1), ({"num_ranks": 6}, 6), ({"num_nodes": 2, "num_ranks": 8}, 4), ({"num_nodes": 3, "ranks_per_node": 2}, 2)],
)
def test_ranks_of_a_node_are_a_whole_number(given, ranks):
    found = parse_specification(given).ranks
    assert found == ranks
    assert type(found) is int


def test_parsl_itself_derives_a_broken_number():
    """The peer's defect: `4.0` ranks per node, which srun refuses."""
    given = {"num_nodes": 2, "num_ranks": 8}
    validate_resource_spec(given)
    assert "--ntasks-per-node 4.0 " in compose_all("srun", given, ["a", "b"])["PARSL_SRUN_PREFIX"]


@pytest.mark.parametrize(
    "given",
    [
        {"num_nodes": 0},
        {"num_nodes": "2"},
        {"num_nodes": True},
        {"num_nodes": 3, "num_ranks": 2},
        {"num_nodes": 2, "num_ranks": 4, "ranks_per_node": 4},
        {"walltime_s": float("nan")},
        {"walltime_s": -1.0},
        {"launcher_options": "--overlap"},
    ],
)
def test_what_is_not_clean_is_refused(given):
    with pytest.raises(InvalidResourceSpecification):
        parse_specification(given)


def test_demand_follows_from_launcher_and_size():
    part = parse_specification({"num_ranks": 2, "threads": 3, "gpus_per_node": 1})
    assert part.demand(shares_nodes=True) == Demand(1, 6, 1, whole=False)
    assert part.demand(shares_nodes=False).whole
    assert parse_specification({"num_nodes": 2, "ranks_per_node": 2}).demand(shares_nodes=True) == Demand(2, 2)


def test_prediction_never_exceeds_the_walltime():
    assert parse_specification({"walltime_s": 10.0, "predicted_s": 50.0}).expected_s == 10.0
    assert parse_specification({"walltime_s": 10.0}).expected_s == 10.0


def test_named_nodes_are_fenced_at_once_and_suspects_when_it_happens_again():
    fences = Fences().judge(Blame(certain=("a",))).judge(Blame(suspected=("b", "c")))
    assert fences.fenced == {"a"}
    assert fences.judge(Blame(suspected=("b", "d"))).fenced == {"a", "b"}
    assert fences.clear(["b"]).judge(Blame(suspected=("b", "d"))).fenced == {"a"}
