"""Nodes as batch systems name them."""

import pytest

from hpcmat.dispatch.placement.nodes import Node, Share, expand_hostlist, nodes_of_allocation, pjm_coordinates
from hpcmat.errors import DispatchError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n[1-3,07],login", ["n1", "n2", "n3", "n07", "login"]),
        ("gpu-[09-11]-x", ["gpu-09-x", "gpu-10-x", "gpu-11-x"]),
        ("r[0-1]n[2,4]", ["r0n2", "r0n4", "r1n2", "r1n4"]),
        ("a,b,a", ["a", "b"]),
    ],
)
def test_short_form_of_slurm(text, names):
    assert list(expand_hostlist(text)) == names


@pytest.mark.parametrize("text", ["n[1-", "n[a-b]", " ", "n[1-2-3]"])
def test_what_is_no_short_form_is_refused(text):
    with pytest.raises(DispatchError, match="not understood"):
        expand_hostlist(text)


def test_nodes_from_slurm_and_pbs(tmp_path):
    assert nodes_of_allocation({"SLURM_JOB_NODELIST": "n[1-2]"}, 4, 1) == (Node("n1", 4, 1), Node("n2", 4, 1))
    (tmp_path / "nodes").write_text("a\na\nb\n")
    assert nodes_of_allocation({"PBS_NODEFILE": str(tmp_path / "nodes")}, 4) == (Node("a", 4), Node("b", 4))


@pytest.mark.parametrize("text", [None, ""])
def test_list_of_pbs_that_is_missing_or_empty_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "nodes").write_text(text)
    with pytest.raises(DispatchError, match="PBS_NODEFILE"):
        nodes_of_allocation({"PBS_NODEFILE": str(tmp_path / "nodes")}, 4)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"PJM_NODE": "3"}, [(0,), (1,), (2,)]),
        ({"PJM_NODE": "4", "PJM_NODE_X": "2", "PJM_NODE_Y": "2"}, [(0, 0), (0, 1), (1, 0), (1, 1)]),
        ({"PJM_NODE_X": "1", "PJM_NODE_Y": "1", "PJM_NODE_Z": "2"}, [(0, 0, 0), (0, 0, 1)]),
    ],
)
def test_coordinates_of_pjm(environment, expected):
    assert list(pjm_coordinates(environment)) == expected
    nodes = nodes_of_allocation(environment | {"PJM_JOBID": "1"}, 48)
    assert [node.coordinates for node in nodes] == expected


@pytest.mark.parametrize("environment", [{}, {"PJM_NODE": "5", "PJM_NODE_X": "2", "PJM_NODE_Y": "2"}])
def test_shape_that_contradicts_the_number_of_nodes_is_refused(environment):
    with pytest.raises(DispatchError, match="PJM_NODE"):
        pjm_coordinates(environment)


def test_no_batch_system_is_said():
    with pytest.raises(DispatchError, match="give the list of nodes"):
        nodes_of_allocation({}, 4)


def test_share_is_whole_with_all_cores_and_gpus():
    node = Node("n", 4, 2)
    assert Share(node, 4, (0, 1)).whole
    assert not Share(node, 4, (0,)).whole
    assert not Share(node, 3, (0, 1)).whole
