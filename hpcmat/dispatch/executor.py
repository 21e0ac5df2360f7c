"""Tasks to workers through Parsl: the only module that imports it.

The driver keeps the queue and never hands over more tasks than there are workers, so that a worker that falls free
gets the best task that exists then. Parsl's memoization stays off: its keys do not know what a function computes.
"""

from __future__ import annotations

import atexit
import os
import sys
import sysconfig
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import parsl
from parsl.config import Config
from parsl.errors import ParslError
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

from hpcmat.dispatch.dispatcher import Dispatcher, LostWorker, Workers
from hpcmat.dispatch.orphans import end_orphans
from hpcmat.dispatch.placement.outcome import TaskFailed
from hpcmat.dispatch.unbegun import Unbegun
from hpcmat.dispatch.worker import Order, perform
from hpcmat.errors import DispatchError
from hpcmat.records import Resources, Task, encode

__all__ = ["ParslDispatcher", "Workers", "is_lost_worker"]

ENDED = "Parsl was ended; its tasks are taken up anew"


class ParslDispatcher(Dispatcher):
    """Workers of one driver on the local machine; a context manager.

    Parameters
    ----------
    workers : Workers
        How many tasks run at once, and in which environment.
    folder : Path
        Where Parsl keeps its logs.
    campaign : str
        Identity of the campaign on this machine, for orphan control.
    """

    def __init__(self, workers: Workers, folder: Path, campaign: str) -> None:
        super().__init__(folder, campaign, workers.count)
        self._setup, self._threads = workers.shell(), workers.threads
        self._kernel: Any = None
        self._app: Callable[[str], Future[str]] | None = None
        self._unbegun = Unbegun()

    @property
    def cores(self) -> int:
        """Those of all workers."""
        return self.workers * self._threads

    def resources(self, task: Task) -> Resources:
        """One process with the threads of a worker."""
        return replace(task.resources, threads=self._threads)

    @property
    def healthy(self) -> bool:
        """Whether Parsl can still run tasks; if not, `restart` before submitting."""
        executor = self._kernel.executors["workers"]
        dead = executor.interchange_proc.poll() is not None or executor.bad_state_is_set
        return not dead and not self._unbegun.overdue()

    def submit(self, order: Order) -> Future[str]:
        """Hand one order to a worker; the future gives its `Ending`, or raises where the worker was lost."""
        if self._app is None:
            raise DispatchError("the dispatcher is not running; enter it as a context first")
        answer: Future[str] = Future()
        self._unbegun.add(order, answer)
        self._app(encode(order)).add_done_callback(partial(_pass_on, answer))
        return answer

    def _prepare(self) -> None:
        _find_parsl_scripts()

    def _start(self) -> None:
        try:
            self._kernel = parsl.DataFlowKernel(self._config())
        # Where the interchange dies while it starts, Parsl raises a bare one.
        except Exception as error:
            raise DispatchError(
                f"Parsl did not start here ({error}); see {self._folder}, and give the same command again"
            ) from error
        self._app = parsl.python_app(perform, data_flow_kernel=self._kernel, executors=["workers"], cache=False)

    def _stop(self) -> None:
        if self._kernel is None:
            return
        # Workers are killed before Parsl is asked to clean up: it would wait for idle ones, and a running task is
        # a child of its own that does not need them.
        end_orphans(epoch=self.epoch)
        self._stopped.end_all()
        executor = self._kernel.executors["workers"]
        if self._unbegun.pending:
            # Parsl's clean-up leaves their futures undone, and whoever waits for them would wait for ever.
            executor.interchange_proc.kill()
            executor.interchange_proc.wait()
        if executor.interchange_proc.poll() is None:
            self._kernel.cleanup()
        else:
            # Parsl's clean-up asks the interchange for its managers and waits for the answer of a dead one for ever.
            executor.set_bad_state_and_fail_all(LostWorker(ENDED))
            atexit.unregister(self._kernel.atexit_cleanup)
        self._kernel = self._app = None
        # An order that Parsl's threads were handing over when its interchange died has a future that nobody ends.
        self._unbegun.lose(LostWorker(ENDED))

    def _unmarked(self) -> tuple[int, ...]:
        # The interchange renames itself, and its environment goes with its name.
        kernel = self._kernel
        return () if kernel is None else (kernel.executors["workers"].interchange_proc.pid,)

    def _config(self) -> Config:
        provider = LocalProvider(
            init_blocks=1, min_blocks=1, max_blocks=1, launcher=SimpleLauncher(), worker_init=self._setup
        )
        executor = HighThroughputExecutor(
            label="workers",
            provider=provider,
            address="127.0.0.1",
            interchange_launch_cmd=[sys.executable, "-m", "hpcmat.dispatch.interchange"],
            max_workers_per_node=self.workers,
            cores_per_worker=1e-6,
            encrypted=False,
            heartbeat_period=2,
            heartbeat_threshold=10,
            poll_period=10,
            worker_logdir_root=str(self._folder),
            block_error_handler=False,
        )
        return Config(
            executors=[executor],
            retries=0,
            strategy="simple",
            strategy_period=1,
            run_dir=str(self._folder),
            initialize_logging=False,
            usage_tracking=0,
        )


def _pass_on(answer: Future[str], future: Future[str]) -> None:
    """Give what Parsl's future came to, unless the order was lost before."""
    error = CancelledError() if future.cancelled() else future.exception()
    with suppress(InvalidStateError):
        if error is None:
            answer.set_result(future.result())
        else:
            answer.set_exception(error)


def is_lost_worker(error: BaseException) -> bool:
    """Whether a future failed because of the machine: its worker, its manager or Parsl itself went away."""
    if isinstance(error, TaskFailed):
        return error.failure.failure.free
    return isinstance(error, (LostWorker, WorkerLost, ManagerLost, ParslError, CancelledError))


def _find_parsl_scripts() -> None:
    """Put this environment's scripts on the PATH: Parsl calls its own by name, and nobody need activate it."""
    scripts = sysconfig.get_path("scripts")
    paths = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if scripts not in paths:
        os.environ["PATH"] = os.pathsep.join([scripts, *paths])
