"""What the ranks of the tests do."""

import os
import subprocess
from pathlib import Path

from mpi4py import MPI


def sum_of_ranks(offset):
    world = MPI.COMM_WORLD
    return world.Get_size(), world.allreduce(world.Get_rank() + offset)


def fail_on_last_rank():
    world = MPI.COMM_WORLD
    if world.Get_rank() == world.Get_size() - 1:
        raise ValueError(f"rank {world.Get_rank()} is unwell")
    world.Barrier()


def hang(folder):
    """Every rank, and a child of a session of its own that ignores the request to end."""
    script = "trap '' TERM; while :; do sleep 1; done"
    child = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    rank = MPI.COMM_WORLD.Get_rank()
    (Path(folder) / f"pids-{rank}.new").write_text(f"{os.getpid()} {child.pid}")
    (Path(folder) / f"pids-{rank}.new").rename(Path(folder) / f"pids-{rank}")
    child.wait()


def environment(*names):
    return [os.environ.get(name) for name in names]
