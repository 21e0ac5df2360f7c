"""What it costs to start an MPI task: placement executor and Parsl's MPIExecutor, each beyond the bare launcher.

Part `launches` of bench_dispatch.py. One task at a time, from submission to result, on one machine with Hydra; the
three take turns, so that whatever else the machine does falls on all of them. The peer's task is a Python function that
starts the launcher with the prefix that Parsl composes for it: its simple path, on which nothing has to wait (with
tasks of several sizes it may hang).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from argparse import Namespace
from importlib import metadata
from pathlib import Path

import parsl
from dispatch_peers import one_block, wall_s
from parsl.config import Config
from parsl.executors import MPIExecutor
from rows import Row, row

from hpcmat.dispatch.launchers.request import Launcher
from hpcmat.dispatch.placement.executor import PlacementExecutor, mpi_command
from hpcmat.dispatch.placement.nodes import Node

CHECK = [sys.executable, "-m", "hpcmat.dispatch.launchers.world"]
"""Fails unless MPI's world has the size asked for."""


def run_under_parsl(command: list[str], ranks: int, parsl_resource_specification: dict[str, int]) -> int:
    """What an app of MPIExecutor does: start its program itself; returns the exit code."""
    import os
    import shlex
    import subprocess

    environment = os.environ | {"HPCMAT_WORLD_SIZE": str(ranks)}
    return subprocess.run([*shlex.split(os.environ["PARSL_MPI_PREFIX"]), *command], env=environment).returncode


def launcher() -> str:
    """Hydra of the wheel, which belongs to the MPI library of mpi4py here."""
    return next(str(file.locate()) for file in metadata.files("mpich") or () if file.name == "mpiexec.hydra")


def peer_config(folder: Path) -> Config:
    """Parsl's MPIExecutor on one node."""
    (folder / "nodes").write_text("localhost\n")
    os.environ.pop("SLURM_NODELIST", None)
    os.environ["PBS_NODEFILE"] = str(folder / "nodes")
    executor = MPIExecutor(provider=one_block(), address="127.0.0.1", max_workers_per_block=1, mpi_launcher="mpiexec")
    return Config(executors=[executor], run_dir=str(folder), usage_tracking=0, initialize_logging=False)


def compare(options: Namespace, folder: Path) -> list[Row]:
    """Rows of this part."""
    return _rows_of(_measure(options, folder), options)


def _measure(options: Namespace, folder: Path) -> dict[str, list[float]]:
    """Seconds of each task by way; stops where one of the ways does not give the world asked for."""
    ranks = str(options.ranks)
    prefix = [launcher(), "-n", ranks, "-ppn", ranks, "-hosts", "localhost"]
    ours = PlacementExecutor([Node("localhost", options.ranks)], Launcher("hydra", launcher()))
    ours.run_dir = str(folder)
    ours.start()
    with parsl.load(peer_config(folder)) as kernel:
        app = parsl.python_app(run_under_parsl, data_flow_kernel=kernel)
        wanted = {"num_nodes": 1, "num_ranks": options.ranks}

        def bare(command: list[str]) -> None:
            environment = os.environ | {"HPCMAT_WORLD_SIZE": ranks}
            subprocess.run([*prefix, *command], check=True, env=environment, stdin=subprocess.DEVNULL)

        def placed(command: list[str]) -> None:
            ours.submit(mpi_command, wanted, command).result()

        def peer(command: list[str]) -> None:
            if app(command, options.ranks, parsl_resource_specification=dict(wanted)).result():
                raise AssertionError("a task of the peer failed")

        ways = {"bare": bare, "placed": placed, "peer": peer}
        for way in ways.values():
            way(CHECK)
        turns = [
            {name: wall_s(lambda way=way: way(["true"])) for name, way in ways.items()} for _ in range(options.launches)
        ]
    ours.shutdown()
    return {name: [turn[name] for turn in turns] for name in ways}


def _rows_of(spent: dict[str, list[float]], options: Namespace) -> list[Row]:
    """Overheads: medians of the differences within a turn."""
    beyond = {
        name: statistics.median(1e3 * (way - bare) for way, bare in zip(spent[name], spent["bare"], strict=True))
        for name in ("placed", "peer")
    }
    case = f"{options.launches} tasks of {options.ranks} ranks that do nothing, one at a time"
    bare = 1e3 * statistics.median(spent["bare"])
    return [
        row(case, "whole task (less is better)", bare + beyond["placed"], "ms", ("bare launcher", bare)),
        row(case, "beyond the launcher (less is better)", beyond["placed"], "ms", ("MPIExecutor", beyond["peer"])),
    ]
