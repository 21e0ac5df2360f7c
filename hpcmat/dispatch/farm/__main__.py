"""One rank of a farm: `mpiexec -n RANKS python -m hpcmat.dispatch.farm RENDEZVOUS_FILE`."""

from __future__ import annotations

import sys
from multiprocessing.connection import Client
from pathlib import Path
from selectors import DefaultSelector

from hpcmat.dispatch.farm.layout import Rendezvous
from hpcmat.dispatch.farm.processes import WorkerProcesses, start_fork_server
from hpcmat.errors import DispatchError
from hpcmat.records import decode


def main() -> None:
    """Serve as manager, the first rank as the root too, until the driver wants no more."""
    meeting = decode(Rendezvous, Path(sys.argv[1]).read_text())
    context = start_fork_server()
    # Importing them starts MPI, from which point on this process must not be forked.
    from hpcmat.dispatch.farm.manager import DriverAbove, Manager, RankAbove, Superior
    from hpcmat.dispatch.farm.ranks import Ranks

    layout, selector = meeting.layout, DefaultSelector()
    ranks = Ranks(layout)
    try:
        # First, since whoever listens takes the silence until they are there for death.
        workers = WorkerProcesses(context, ranks.rank, layout.workers_per_manager, selector)
        if ranks.parent is None:
            connection = Client((layout.address, meeting.port), authkey=bytes.fromhex(meeting.key))
            superior: Superior = DriverAbove(connection, selector)
        else:
            superior = RankAbove(ranks, ranks.parent)
        Manager(ranks, layout, superior, selector).serve(workers)
    except DispatchError as error:
        ranks.abort(str(error))
    ranks.finish()


if __name__ == "__main__":
    main()
