"""Who watches over tasks is lost with whoever should have forked him: no task is blamed for that."""

import multiprocessing

import pytest

from hpcmat.dispatch.executor import is_lost_worker
from hpcmat.dispatch.launchers.place import Place
from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.placement import shepherds
from hpcmat.dispatch.placement.shepherds import Shepherd
from hpcmat.dispatch.worker import Order
from hpcmat.records import Provenance, Resources, Task
from hpcmat.store.claims import Process


class DyingServer:
    """A server that was killed while it was being asked."""

    Pipe = staticmethod(multiprocessing.Pipe)

    def __init__(self, error):
        self._error = error

    def Process(self, **_):
        return self

    def start(self):
        raise self._error


@pytest.mark.parametrize("error", [EOFError("unexpected EOF"), ConnectionResetError(104, "reset by peer")])
def test_server_that_dies_while_asked_is_a_lost_worker(tmp_path, monkeypatch, error):
    monkeypatch.setattr(shepherds, "_SERVER", DyingServer(error))
    task = Task("label-0001", "label", "ab" * 32, "m:f", "1", Resources(), Provenance("c", "d", "random"))
    order = Order(task, str(tmp_path), Process.current(), 1)
    ended = Shepherd(order, Place(Launcher("srun"), ()), {}).run(lambda: None)
    assert is_lost_worker(ended.error)
