"""The check that MPI's world has the size asked for.

A launcher that does not fit the MPI library starts N worlds of one rank, with exit status 0: N times the same
calculation, each of which overwrites the others' files. `python -m hpcmat.dispatch.launchers.world` under a launcher
checks it alone; with `SCRIPT ARGUMENTS...` (or `-m MODULE ARGUMENTS...`) it checks and then runs a Python program.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence

from hpcmat.dispatch.launchers.request import WORLD_SIZE_VARIABLE
from hpcmat.errors import DispatchError

RANK_VARIABLE = "HPCMAT_RANK"
"""Tells a program run after the check its rank, so that it needs no MPI of its own to know it."""
WRONG_WORLD_EXIT = 83
"""Exit status of every rank of a world of the wrong size."""


def check_world(size: int, expected: str | None) -> None:
    """Compare the size of the world with the variable that the launch set.

    Raises
    ------
    DispatchError
        Where they differ, or where nothing says what to expect.
    """
    if not (expected or "").isdecimal():
        raise DispatchError(f"{WORLD_SIZE_VARIABLE} is {expected!r}: the size of MPI's world is unchecked; set it")
    if size != int(expected or 0):
        raise DispatchError(
            f"MPI's world has {size} ranks instead of {expected}: launcher and MPI library do not fit each other; "
            "use the launcher that belongs to the library, or another --mpi option of srun"
        )


def check_own_world() -> None:
    """Start MPI and check the world of this process; every rank of a wrong one leaves with `WRONG_WORLD_EXIT`."""
    from mpi4py import MPI

    try:
        check_world(MPI.COMM_WORLD.Get_size(), os.environ.get(WORLD_SIZE_VARIABLE))
    except DispatchError as error:
        print(f"hpcmat: {error}", file=sys.stderr, flush=True)
        # Not Abort: a rank that is alone would end only itself, and the others must say so too.
        sys.exit(WRONG_WORLD_EXIT)
    os.environ[RANK_VARIABLE] = str(MPI.COMM_WORLD.Get_rank())


def main(arguments: Sequence[str]) -> None:
    """Check, then become the Python program of the arguments, if there is one."""
    check_own_world()
    if not arguments:
        return
    if arguments[0] == "-m":
        sys.argv = list(arguments[1:])
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
