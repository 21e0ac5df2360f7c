"""Records: what is written is read back to the last bit, and what is not a record is refused."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from hpcmat.records import (
    SCHEMA_VERSION,
    Execution,
    Failure,
    FailureKind,
    Governance,
    Label,
    Method,
    Provenance,
    Record,
    Resources,
    Structure,
    Task,
    canonical_json,
    decode,
    encode,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
METHOD = Method("teacher", "ase 3", "{}", "0" * 64, ("Si.PBE abc",))
EXECUTION = Execution(2, "host", 7, 100.0, 136.0, cores=2, cores_per_node=4)


def label_of(positions, cell, forces, energy) -> Label:
    structure = Structure(("Si",) * len(positions), positions, cell)
    return Label(structure, energy, forces, np.zeros(6), METHOD)


@given(
    arrays(np.float64, (3, 3), elements=FINITE),
    arrays(np.float64, (3, 3), elements=FINITE),
    arrays(np.float64, (3, 3), elements=FINITE),
    FINITE,
)
def test_every_float_of_a_label_comes_back_exactly(positions, cell, forces, energy):
    label = label_of(positions, cell, forces, energy)
    back = decode(Label, encode(label))
    for name in ("positions", "cell"):
        assert getattr(back.structure, name).tobytes() == getattr(label.structure, name).tobytes()
    assert back.forces.tobytes() == forces.tobytes()
    assert math.copysign(1.0, back.energy) == math.copysign(1.0, energy)
    assert back.energy == energy
    assert encode(back) == encode(label)


@given(st.text(), st.text(), st.floats(0, 1e12), st.sampled_from(FailureKind))
def test_failure_and_record_come_back_equal(message, log, started, kind):
    failure = Failure(kind, message, log, -9)
    assert decode(Failure, encode(failure)) == failure
    record = Record(
        "ab" * 32,
        "label",
        "{}",
        encode(failure),
        False,
        Execution(1, "host", 7, started, started + 1.0),
        Provenance("c", "d", "r", ("x",), 3, 0.25, 10, 4),
        Governance(("A. Person",), "CC0-1.0", "open"),
        (("out.txt", "0" * 64),),
        (("numpy", "2"),),
    )
    assert decode(Record, encode(record)) == record
    assert decode(Failure, decode(Record, encode(record)).outcome) == failure


def test_record_carries_all_that_sharing_needs():
    record = Record(
        "k", "label", "{}", "{}", True, EXECUTION, Provenance("c", "d", "i-optimal", ("x", "m")), Governance()
    )
    data = json.loads(encode(record))
    assert data["schema_version"] == SCHEMA_VERSION
    assert "eV/Å³ (stress positive under tension, Voigt xx yy zz yz xz xy)" in data["units"]
    assert data["governance"] == {"creators": [], "licence": "CC-BY-4.0", "tier": "closed"}
    assert data["provenance"]["selected_by"] == "i-optimal"
    assert data["provenance"]["derived_from"] == ["x", "m"]
    assert {"started", "finished", "host", "cpu_s", "cores", "energy_joules"} <= data["execution"].keys()
    assert data["execution"]["energy_joules"] is None


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_number_that_is_not_finite_is_no_energy(bad):
    with pytest.raises(ValidationError, match="energy"):
        decode(Label, encode(label_of(np.zeros((1, 3)), np.eye(3), np.zeros((1, 3)), bad)))


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda data: data.pop("energy"), "energy"),
        (lambda data: data.update(energy="low"), "energy"),
        (lambda data: data.update(forces="none"), "could not convert"),
        (lambda data: data.update(kind="failure"), "kind"),
        (lambda data: data["structure"].pop("cell"), "cell"),
    ],
)
def test_what_is_not_a_label_is_refused(change, where):
    data = json.loads(encode(label_of(np.zeros((1, 3)), np.eye(3), np.zeros((1, 3)), 1.0)))
    assert decode(Label, json.dumps(data)).energy == 1.0
    change(data)
    with pytest.raises(ValueError, match=where):
        decode(Label, json.dumps(data))


def test_arrays_of_records_cannot_be_changed():
    structure = Structure(("Si",), np.zeros((1, 3)), np.eye(3))
    back = decode(Structure, encode(structure))
    with pytest.raises(ValueError, match="read-only"):
        back.positions[0, 0] = 1.0


def test_task_comes_back_equal():
    task = Task("label-0001", "label", "k", "m:f", '{"a": 1}', Resources(2, 4, 1, 60.0), Provenance("c", "d", "r"))
    assert decode(Task, encode(task)) == task


@pytest.mark.parametrize(
    ("nodes", "cores", "expected"),
    [(1, 2, 0.5 * 0.01), (1, 4, 0.01), (2, 4, 2 * 0.01), (3, 1, 3 * 0.01)],
)
def test_node_hours_are_shares_of_a_node_or_whole_nodes(nodes, cores, expected):
    execution = Execution(1, "h", 1, 0.0, 36.0, nodes=nodes, cores=cores, cores_per_node=4)
    assert execution.wall_s == 36.0
    assert execution.node_hours == pytest.approx(expected)


def test_only_the_faults_of_the_machine_are_free():
    free = {kind for kind in FailureKind if kind.free}
    assert free == {FailureKind.NODE_LOST, FailureKind.PREEMPTED, FailureKind.KILLED, FailureKind.DISK_FULL}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_canonical_json_depends_on_content_alone(data):
    other = dict(reversed(data.items()))
    text = canonical_json(json.dumps(data, indent=2))
    assert text == canonical_json(json.dumps(other))
    assert json.loads(text) == data
    assert canonical_json(text) == text
    assert canonical_json(json.dumps(data | {"one more": 1})) != text or data.get("one more") == 1
