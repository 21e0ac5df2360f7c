"""Workers of one driver on a farm."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

from hpcmat.dispatch.executor import ParslDispatcher, Workers
from hpcmat.dispatch.farm.executor import FarmExecutor, FarmLost
from hpcmat.dispatch.farm.layout import FarmLayout
from hpcmat.dispatch.orphans import end_orphans
from hpcmat.dispatch.worker import Order, perform
from hpcmat.errors import DispatchError
from hpcmat.records import encode


class FarmDispatcher(ParslDispatcher):
    """The farm in the place of Parsl's executor, with the same control of orphans; a context manager.

    Orders go to the farm without Parsl's kernel between, which would only add to what each of them costs.

    Parameters
    ----------
    layout : FarmLayout
        How many managers and workers.
    workers : Workers
        Threads and shell lines of the workers; their count is the layout's.
    folder, campaign : as for `ParslDispatcher`.
    """

    def __init__(self, layout: FarmLayout, workers: Workers, folder: Path, campaign: str) -> None:
        super().__init__(workers, folder, campaign)
        self.workers = layout.workers
        self._layout = layout
        self._farm: FarmExecutor | None = None

    @property
    def healthy(self) -> bool:
        """Whether the farm was not given up; where it only died, it starts itself anew."""
        return self._farm is not None and not self._farm.bad_state_is_set

    def submit(self, order: Order) -> Future[str]:
        """Hand one order to a worker; the future gives its `Ending`, or raises where the worker was lost."""
        if self._farm is None:
            raise DispatchError("the dispatcher is not running; enter it as a context first")
        try:
            return self._farm.submit(perform, {}, encode(order))
        except FarmLost as error:
            # Given up since it was last asked for its health: the driver will see, and start another.
            lost: Future[str] = Future()
            lost.set_exception(error)
            return lost

    def _start(self) -> None:
        self._farm = FarmExecutor(self._layout, self._folder, self._setup)
        self._farm.start()

    def _stop(self) -> None:
        if self._farm is None:
            return
        self._farm.shutdown()
        self._farm = None
        end_orphans(epoch=self.epoch)
