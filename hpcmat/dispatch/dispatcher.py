"""What every way of running tasks offers the driver, and the control of what a killed driver leaves behind."""

from __future__ import annotations

import os
import time
import uuid
from abc import ABC, abstractmethod
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hpcmat.dispatch.batch.script import drain_time
from hpcmat.dispatch.orphans import CAMPAIGN_VARIABLE, EPOCH_VARIABLE, end_orphans, end_warden, start_warden
from hpcmat.dispatch.stopped import StoppedWatch
from hpcmat.dispatch.worker import Order
from hpcmat.errors import DispatchError
from hpcmat.records import Resources, Task

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Workers:
    """How many tasks run at once, with how many threads each, after which shell lines."""

    count: int
    threads: int = 1
    setup: tuple[str, ...] = ()

    def shell(self) -> str:
        """Shell text run before the workers start."""
        return "\n".join([*(f"export {name}={self.threads}" for name in THREAD_VARIABLES), *self.setup])


class LostWorker(DispatchError):
    """Whoever carried an order out went away; what became of it, the result store tells."""


class Dispatcher(ABC):
    """Runs the tasks of one driver; a context manager.

    Parameters
    ----------
    folder : Path
        Where it keeps its logs.
    campaign : str
        Identity of the campaign on this machine, for orphan control.
    workers : int
        How many tasks run at once at most.
    """

    def __init__(self, folder: Path, campaign: str, workers: int) -> None:
        self.workers = workers
        self.epoch = uuid.uuid4().hex
        self._folder = folder
        self._campaign = campaign
        self._drain_at = drain_time(os.environ)
        self._stopped = StoppedWatch(campaign, self._unmarked)

    def __enter__(self) -> Self:
        self._before = {name: os.environ.get(name) for name in (EPOCH_VARIABLE, CAMPAIGN_VARIABLE)}
        os.environ[CAMPAIGN_VARIABLE] = self._campaign
        self._prepare()
        os.environ[EPOCH_VARIABLE] = self.epoch
        end_orphans(campaign=self._campaign, spare=self.epoch)
        self._warden = start_warden(self.epoch)
        self._stopped.start()
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._stopped.close()
        end_warden(self._warden)
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

    @property
    @abstractmethod
    def healthy(self) -> bool:
        """Whether it can still run tasks; if not, `restart` before submitting."""

    @property
    def draining(self) -> bool:
        """Whether the allocation ends so soon that nothing should begin any more."""
        return self._drain_at is not None and time.time() >= self._drain_at

    @property
    def room(self) -> int:
        """How many tasks may be out now: as many as run, and those that could begin at once."""
        return self.workers

    @property
    def nodes(self) -> int:
        """Nodes of the allocation."""
        return 1

    @property
    def cores(self) -> int:
        """Cores that tasks share out among them."""
        return self.workers

    def resources(self, task: Task) -> Resources:
        """What this task will occupy here; part of no content key."""
        return task.resources

    @property
    def held(self) -> int:
        """How many of the tasks that are out will not begin: they could not end before the allocation does."""
        return 0

    def give_back(self) -> None:  # noqa: B027 - most hold no task that has not begun
        """Begin nothing of what has not begun yet; its futures give `Ending.DECLINED`."""

    def restart(self) -> None:
        """Start anew; tasks that are running go on and can be adopted from the result store."""
        self._stop()
        self._start()

    @abstractmethod
    def submit(self, order: Order) -> Future[str]:
        """Hand over one order; the future gives its `Ending`, or raises where nobody could carry it out."""

    def _unmarked(self) -> tuple[int, ...]:
        """Processes of this driver that do not bear its marks."""
        return ()

    def _prepare(self) -> None:  # noqa: B027 - most have nothing of the kind
        """Start what has a way of its own to end with the driver, before processes are marked to be ended with it."""

    @abstractmethod
    def _start(self) -> None:
        """Be ready to take orders."""

    @abstractmethod
    def _stop(self) -> None:
        """End everything but tasks that run."""
