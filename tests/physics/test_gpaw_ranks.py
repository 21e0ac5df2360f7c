"""GPAW on two ranks, placed and started as campaigns do it: the answer of one process."""

import numpy as np
import pytest
from ase.build import bulk
from label_orders import dispatcher, label_order

from hpcmat.dispatch.worker import Ending
from hpcmat.engines.base import Job
from hpcmat.engines.gpaw import LOG_NAME, GpawEngine
from hpcmat.engines.settings import GpawSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.records import Failure, FailureKind, Label, decode
from hpcmat.store.results import ResultStore

pytestmark = pytest.mark.dft

SETTINGS = GpawSettings(cutoff_ev=200.0, kpoint_spacing_per_ang=1.2, energy_tolerance_ev=1e-7, density_tolerance=1e-7)


def silicon():
    atoms = bulk("Si", "diamond", 5.40)
    atoms.positions[1] += [0.06, 0.09, -0.05]
    return from_atoms(atoms)


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """A dispatcher and its store."""
    folder = tmp_path_factory.mktemp("placed")
    with dispatcher(folder) as started:
        yield started, ResultStore(folder / "store")


def test_two_ranks_give_the_answer_of_one_process(placed, tmp_path):
    started, store = placed
    order = label_order(store, silicon(), SETTINGS)
    future = started.submit(order)
    serial = GpawEngine(SETTINGS).calculate(silicon(), Job(tmp_path))
    assert future.result(timeout=600) == Ending.DONE
    (attempt,) = store.attempts(order.task.key)
    assert attempt.record.accepted, attempt.record.outcome
    ranks = decode(Label, attempt.record.outcome)
    assert abs(ranks.energy - serial.energy) < 1e-6
    assert np.abs(ranks.forces - serial.forces).max() < 1e-5
    assert np.abs(ranks.stress - serial.stress).max() < 1e-6
    assert ranks.method == serial.method
    assert (attempt.record.execution.nodes, attempt.record.execution.cores) == (1, 2)
    assert "\ncores:  2\n" in (attempt.folder / LOG_NAME).read_text(), "negative control: one process did it all"


def test_more_ranks_than_k_points_are_refused_by_type(placed):
    started, store = placed
    gamma = SETTINGS.model_copy(update={"kpoint_spacing_per_ang": 9.0})
    order = label_order(store, silicon(), gamma)
    assert started.submit(order).result(timeout=600) == Ending.DONE
    (attempt,) = store.attempts(order.task.key)
    failure = decode(Failure, attempt.record.outcome)
    assert failure.failure is FailureKind.BAD_SETTINGS
    assert "use fewer ranks" in failure.message
