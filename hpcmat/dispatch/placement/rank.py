"""One rank of a task that is a Python function: `python -m hpcmat.dispatch.placement.rank FOLDER`.

It checks the world, calls the function and leaves the result of rank 0, or the first error, in the folder. The other
ranks learn of an error by being ended: they might wait for the failed one for ever.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from pathlib import Path

from mpi4py import MPI

from hpcmat.dispatch.launchers.world import check_own_world
from hpcmat.dispatch.placement.calls import CALL_FILE, ERROR_FILE, RESULT_FILE, Call, RankError, write_once


def main(folder: Path) -> None:
    """Do the work of this rank."""
    check_own_world()
    rank = MPI.COMM_WORLD.Get_rank()
    try:
        call: Call = pickle.loads((folder / CALL_FILE).read_bytes())
        value = call.function(*call.arguments, **call.named)
        if rank == 0:
            write_once(folder / RESULT_FILE, value)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the caller must hear of it and the ranks must end
        traceback.print_exc()
        _leave(folder, RankError(rank, error, traceback.format_exc()))
        sys.stderr.flush()
        MPI.COMM_WORLD.Abort(1)


def _leave(folder: Path, failed: RankError) -> None:
    try:
        write_once(folder / ERROR_FILE, failed)
    except Exception:  # noqa: BLE001 - an error that cannot be sent is sent as its text
        plain = RuntimeError(f"{type(failed.error).__name__}: {failed.error}")
        write_once(folder / ERROR_FILE, RankError(failed.rank, plain, failed.trace))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
