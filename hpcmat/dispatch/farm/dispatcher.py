"""Workers of one driver on a farm."""

from __future__ import annotations

import shlex
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from hpcmat.dispatch.dispatcher import THREAD_VARIABLES
from hpcmat.dispatch.executor import ParslDispatcher, Workers
from hpcmat.dispatch.farm.executor import FarmExecutor, FarmLost
from hpcmat.dispatch.farm.layout import FarmLayout
from hpcmat.dispatch.launchers.dialects import compose
from hpcmat.dispatch.launchers.request import LaunchRequest, TextFile
from hpcmat.dispatch.orphans import end_orphans
from hpcmat.dispatch.placement.dispatcher import Allocation
from hpcmat.dispatch.placement.nodes import Share
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

    @classmethod
    def on(cls, allocation: Allocation, workers: Workers, folder: Path, campaign: str) -> FarmDispatcher:
        """A farm in an allocation, with the driver on its first node.

        Parameters
        ----------
        allocation : each of its nodes gets a manager, for which all cores are kept.
        workers : those of each node.
        """
        words, exports, files = _managers(allocation, workers, folder)
        layout = FarmLayout(len(allocation.nodes), workers.count, launcher=words, files=files)
        return cls(layout, replace(workers, setup=(*exports, *workers.setup)), folder, campaign)

    @property
    def nodes(self) -> int:
        """One for each manager."""
        return self._layout.managers

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


def _managers(
    allocation: Allocation, workers: Workers, folder: Path
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[TextFile, ...]]:
    """The launcher's words before the command of the managers, shell lines to run before it, and what it reads."""
    shares = tuple(Share(node, node.cores, tuple(range(node.gpus))) for node in allocation.nodes)
    cores = min(node.cores for node in allocation.nodes)
    # Not as many threads as a manager has cores: these are for its workers.
    environment = dict.fromkeys(THREAD_VARIABLES, str(workers.threads)) | dict(allocation.environment)
    variables = tuple(environment.items())
    request = LaunchRequest(("farm",), len(shares), 1, shares, folder.absolute(), cores, variables)
    launch = compose(allocation.launcher, request)
    exports = tuple(f"export {name}={shlex.quote(value)}" for name, value in launch.environment)
    return launch.command[:-1], exports, launch.files
