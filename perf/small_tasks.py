"""No-op tasks through the farm beside Parsl's HTEX, mpi4py.futures and a process pool, all in the same call.

Part `small` of bench_dispatch.py. Throughput is that of tasks handed over at once, latency that of one task at a time,
both after a first task has come back. Farm and HTEX are measured with Parsl's kernel above them, as applications meet
them, and without it, as our driver meets the farm. Rates fall on a busy machine; the order of the systems and their
ratios are what counts.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from dispatch_peers import one_block, wall_s
from rows import Row, row

MARK = "HPCMAT_BENCH"
os.environ.setdefault(MARK, str(os.getpid()))

Submit = Callable[[int], "Future[int]"]


@dataclass(frozen=True, slots=True)
class Figures:
    """What one system reached."""

    tasks_per_s: float
    latency_ms: float
    cpu_ms: float
    """Processor time of all its processes per task at full rate; NaN where they cannot be told apart."""


def no_op(number: int) -> int:
    """The task."""
    return number


def measure(submit: Submit, tasks: int, singles: int) -> Figures:
    """Throughput and latency of a system that has started; stops where an answer is wrong."""
    assert submit(-1).result(120) == -1
    before, began = family_cpu_s(), time.perf_counter()
    futures = [submit(number) for number in range(tasks)]
    assert [future.result(300) for future in futures] == list(range(tasks))
    wall, used = time.perf_counter() - began, family_cpu_s() - before
    spent = []
    for number in range(singles):
        one: list[int] = []
        spent.append(wall_s(lambda number=number, one=one: one.append(submit(number).result(60))))
        assert one == [number]
    return Figures(tasks / wall, 1e3 * statistics.median(spent), 1e3 * used / tasks)


def family_cpu_s() -> float:
    """Processor time of this process, its descendants and all that bear its mark, as HTEX's workers do, s."""
    me = psutil.Process()
    total = 0.0
    for process in {me, *me.children(recursive=True), *filter(_is_marked, psutil.process_iter())}:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def _is_marked(process: psutil.Process) -> bool:
    try:
        return bool(process.environ().get(MARK) == os.environ[MARK])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@contextmanager
def farm(options: Namespace, root: Path) -> Iterator[Submit]:
    """The farm as our driver uses it."""
    with _farm_executor(options, root) as executor:
        executor.start()
        yield lambda number: executor.submit(no_op, {}, number)


@contextmanager
def htex(options: Namespace, root: Path) -> Iterator[Submit]:
    """HTEX without Parsl's kernel, whose strategy would have started its workers."""
    executor = _htex_executor(options)
    executor.run_dir = str(root)
    executor.provider.script_dir = str(root)
    executor.start()
    executor.scale_out_facade(1)
    try:
        yield lambda number: executor.submit(no_op, {}, number)
    finally:
        executor.scale_in_facade(1)
        executor.shutdown()


@contextmanager
def under_kernel(make: Callable[[], object], root: Path) -> Iterator[Submit]:
    """An executor below Parsl's kernel."""
    import parsl

    config = parsl.Config(
        executors=[make()], run_dir=str(root), initialize_logging=False, usage_tracking=0, strategy_period=0.5
    )
    with parsl.DataFlowKernel(config) as kernel:
        yield parsl.python_app(no_op, data_flow_kernel=kernel, cache=False)


@contextmanager
def process_pool(options: Namespace, _root: Path) -> Iterator[Submit]:
    """The process pool of the standard library: one machine only, and the floor for any of the others."""
    with ProcessPoolExecutor(options.workers) as pool:
        yield lambda number: pool.submit(no_op, number)


def mpi_pool(options: Namespace) -> Figures:
    """The pool of mpi4py, in a job of its own: its driver is a rank."""
    command = ["mpiexec", "-n", str(options.workers + 1), sys.executable, "-m", "mpi4py.futures", "-m", "small_tasks"]
    given = [str(options.tasks), str(options.singles)]
    done = subprocess.run([*command, *given], check=True, capture_output=True, text=True, timeout=600)
    rate, latency = map(float, done.stdout.split())
    return Figures(rate, latency, float("nan"))


def inside_mpi(tasks: int, singles: int) -> None:
    """The part of `mpi_pool` that runs as rank 0."""
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        figures = measure(lambda number: pool.submit(no_op, number), tasks, singles)
    print(figures.tasks_per_s, figures.latency_ms)


def _farm_executor(options: Namespace, root: Path):
    from hpcmat.dispatch.farm.executor import FarmExecutor
    from hpcmat.dispatch.farm.layout import FarmLayout

    # A manager for each worker, so that messages between ranks are part of it.
    return FarmExecutor(FarmLayout(options.workers, 1, options.prefetch), root)


def _htex_executor(options: Namespace):
    from parsl.executors import HighThroughputExecutor

    return HighThroughputExecutor(
        label="htex",
        provider=one_block(),
        address="127.0.0.1",
        max_workers_per_node=options.workers,
        cores_per_worker=1e-6,
        prefetch_capacity=options.prefetch * options.workers,
        encrypted=False,
    )


def compare(options: Namespace, folder: Path) -> list[Row]:
    """Rows of this part."""
    return list(_compared(options, _run_all(options, folder)))


def _run_all(options: Namespace, root: Path) -> dict[str, Figures]:
    """All systems, one after the other, in this call."""
    systems = {
        "process pool": process_pool(options, root),
        "farm": farm(options, root),
        "HTEX": htex(options, root),
        "farm under Parsl": under_kernel(lambda: _farm_executor(options, root), root),
        "HTEX under Parsl": under_kernel(lambda: _htex_executor(options), root),
    }
    found = {}
    for name, system in systems.items():
        with system as submit:
            found[name] = measure(submit, options.tasks, options.singles)
    found["mpi4py.futures"] = mpi_pool(options)
    return found


def _compared(options: Namespace, found: dict[str, Figures]) -> Iterator[Row]:
    """The farm beside each of the others, of which HTEX is the one to beat."""
    case = f"{options.tasks} no-op tasks, {options.workers} workers, prefetch {options.prefetch}"
    pairs = [
        ("farm", "HTEX"),
        ("farm under Parsl", "HTEX under Parsl"),
        ("farm", "mpi4py.futures"),
        ("farm", "process pool"),
    ]
    for ours, peer in pairs:
        mine, its = found[ours], found[peer]
        label = f"{ours}, {case}"
        yield row(label, "throughput (more is better)", mine.tasks_per_s, "tasks/s", (peer, its.tasks_per_s))
        yield row(label, "latency, median (less is better)", mine.latency_ms, "ms", (peer, its.latency_ms))
        if its.cpu_ms > 0:
            yield row(label, "processor time per task (less is better)", mine.cpu_ms, "ms", (peer, its.cpu_ms))


if __name__ == "__main__":
    # By its own name, under which workers find the task; as part of `__main__` it would travel as code each time.
    from small_tasks import inside_mpi

    inside_mpi(*map(int, sys.argv[1:]))
