"""Why Parsl's MPIExecutor is not used: its node scheduler fails on a mix that ours runs (test_executor.py)."""

import pickle
import queue

import pytest
from parsl.executors.high_throughput.mpi_resource_management import MPITaskScheduler


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\nprintf 'n1\\nn2\\nn3\\nn4\\n'\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SLURM_NODELIST", "n[1-4]")
    return MPITaskScheduler(queue.Queue(), queue.Queue())


def put(scheduler, number, nodes):
    scheduler.put_task({"task_id": number, "context": {"resource_spec": {"num_nodes": nodes}}})


def end(scheduler, number):
    scheduler.pending_result_q.put(pickle.dumps({"type": "result", "task_id": number}))
    return scheduler.get_result()


def test_task_that_still_does_not_fit_sends_it_into_recursion(scheduler):
    for number, nodes in enumerate([3, 1, 3]):
        put(scheduler, number, nodes)
    with pytest.raises(RecursionError):
        end(scheduler, 1)


def test_it_works_where_every_backlogged_task_fits(scheduler):
    """The control: it is the mix, not the use of the class, that breaks it."""
    for number, nodes in enumerate([3, 1, 3]):
        put(scheduler, number, nodes)
    assert pickle.loads(end(scheduler, 0))["task_id"] == 0
    assert scheduler.pending_task_q.qsize() == 3
