"""One worker process computes label after label with the GPAW that it has loaded once."""

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import gpaw_runners
import numpy as np
import pytest
from ase.build import bulk

from hpcmat.dispatch.worker import Ending, Order, perform
from hpcmat.engines.labelling import LabelRequest, run_label
from hpcmat.engines.settings import GpawSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.records import Label, Provenance, Resources, Task, decode, encode
from hpcmat.store.claims import Process
from hpcmat.store.results import ResultStore

pytestmark = pytest.mark.dft

SETTINGS = GpawSettings(cutoff_ev=150.0, kpoint_spacing_per_ang=2.0)


def request(shift):
    atoms = bulk("Si", "diamond", 5.40)
    atoms.positions[1] += shift
    return encode(LabelRequest(from_atoms(atoms), SETTINGS))


def order(store, key, text):
    task = Task(
        "label-0001",
        "label",
        key,
        "gpaw_runners:label_and_tell",
        text,
        Resources(walltime_s=120.0),
        Provenance("campaign", "label-0001", "random"),
    )
    return encode(Order(task, str(store.root), Process.current(), cores_per_node=2))


def test_a_worker_is_reused_and_gives_the_labels_of_fresh_processes(tmp_path):
    store = ResultStore(tmp_path / "store")
    requests = {"aa" * 32: request([0.06, 0.0, 0.0]), "bb" * 32: request([0.0, -0.15, 0.1])}
    told, labels = [], []
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as worker:
        pid = worker.submit(os.getpid).result()
        assert not worker.submit(gpaw_runners.gpaw_is_loaded).result()
        for key, text in requests.items():
            assert worker.submit(perform, order(store, key, text)).result() == Ending.DONE
            [attempt] = store.attempts(key)
            told.append(json.loads((attempt.folder / "process.json").read_text()))
            labels.append(decode(Label, attempt.record.outcome))
        fresh = []
        for number, text in enumerate(requests.values()):
            (tmp_path / str(number)).mkdir()
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
                fresh.append(decode(Label, other.submit(run_label, text, tmp_path / str(number), 1).result()))
    assert told == [{"worker": pid, "loaded": True}] * 2
    for ours, theirs in zip(labels, fresh, strict=True):
        assert ours.energy == pytest.approx(theirs.energy, abs=1e-9)
        np.testing.assert_allclose(ours.forces, theirs.forces, rtol=0, atol=1e-8)
    assert abs(labels[0].energy - labels[1].energy) > 1e-3
