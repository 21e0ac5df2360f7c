"""Campaigns on the farm."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import farm_tasks as tasks
import pytest
from campaign_events import Drive, campaign_of

from hpcmat.campaign.events import Finished
from hpcmat.dispatch.executor import Workers
from hpcmat.dispatch.farm.dispatcher import FarmDispatcher
from hpcmat.dispatch.farm.layout import FarmLayout
from hpcmat.dispatch.worker import Ending, Order
from hpcmat.errors import DispatchError
from hpcmat.records import Provenance, Resources, Task
from hpcmat.store.claims import Process
from hpcmat.store.results import ResultStore

LAYOUT = FarmLayout(managers=1, workers_per_manager=2)


def dispatcher_in(folder: Path) -> FarmDispatcher:
    return FarmDispatcher(LAYOUT, Workers(2, 3, (tasks.SETUP,)), folder, str(folder))


def order(store: ResultStore, number: int) -> Order:
    key = f"{number:064x}"
    resources, provenance = Resources(walltime_s=60.0), Provenance("campaign", "d", "random")
    task = Task(f"label-{number:04d}", "label", key, "worker_runners:give_result", "1", resources, provenance)
    return Order(task, str(store.root), Process.current(), cores_per_node=2)


def test_orders_are_carried_out_with_the_threads_asked_for(tmp_path):
    store = ResultStore(tmp_path / "store")
    dispatcher = dispatcher_in(tmp_path)
    with pytest.raises(DispatchError, match="enter it"):
        dispatcher.submit(order(store, 0))
    with dispatcher:
        assert dispatcher.healthy and dispatcher.workers == 2
        futures = [dispatcher.submit(order(store, number)) for number in range(4)]
        assert [future.result(timeout=60) for future in futures] == [Ending.DONE] * 4
        dispatcher.restart()
        assert dispatcher.submit(order(store, 4)).result(timeout=60) == Ending.DONE
    assert not dispatcher.healthy
    records = [store.read(f"{number:064x}") for number in range(5)]
    assert all(json.loads(record.outcome)["threads"] == "3" for record in records)
    assert {record.execution.worker for record in records} <= {"1/0", "1/1"}


def test_campaign_survives_the_death_of_the_farm(tmp_path):
    """Killed with tasks out: nothing is computed twice, nothing lost, and nobody is charged."""
    ledger = tmp_path / "ledger.txt"
    engine = "duration = { median_s = 0.2, sigma = 0.3 }"
    drive = Drive(tmp_path, campaign_of(ledger=ledger, engine=engine, labels=5))
    killed = []

    def kill_a_manager(event, state):
        if isinstance(event, Finished) and state.done("train") and not killed:
            killed.append(tasks.ranks_below(os.getpid())[-1])
            killed[0].send_signal(signal.SIGKILL)

    drive.observe = kill_a_manager
    with dispatcher_in(tmp_path / "farm") as drive.dispatcher:
        state = drive.run()
    assert state.ended.complete and killed
    ends = Counter(line.split()[1] for line in ledger.read_text().splitlines() if line.startswith("end"))
    assert ends == dict.fromkeys((task.key for task in state.done("train", "validation")), 1)
    assert all(attempt.failure.failure.free for _, attempt in state.failures)
