"""Dispatch beside its peers: starts of MPI tasks, and small tasks through the farm; all or one of these parts."""

from __future__ import annotations

import os
import sysconfig
import tempfile
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

from rows import parser, publish

PARTS = {"launches": "launches", "small": "small_tasks"}
"""Module of each part."""


def main() -> None:
    """Measure and publish."""
    options = parser(__doc__)
    options.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=f"of {', '.join(PARTS)}")
    options.add_argument("--launches", type=int, default=100, help="MPI tasks that are started")
    options.add_argument("--ranks", type=int, default=2, help="of each of these")
    options.add_argument("--tasks", type=int, default=5000, help="small tasks handed over at once")
    options.add_argument("--singles", type=int, default=300, help="small tasks sent one at a time, for the latency")
    options.add_argument("--workers", type=int, default=2)
    options.add_argument(
        "--prefetch", type=int, default=16, help="tasks waiting at a manager for each worker, both sides"
    )
    given = options.parse_args()
    _find_programs()
    rows = []
    for part in given.parts or PARTS:
        temporary = tempfile.TemporaryDirectory(prefix="hpcmat-bench-", ignore_cleanup_errors=True)
        # What one part sets would mislead the launchers of the next.
        with temporary as folder, patch.dict(os.environ):
            rows += import_module(PARTS[part]).compare(given, Path(folder))
    publish(rows, given.json)


def _find_programs() -> None:
    """Put launcher and scripts of this environment first, and the modules beside this one where workers look."""
    for name, first in (("PATH", sysconfig.get_path("scripts")), ("PYTHONPATH", str(Path(__file__).parent))):
        os.environ[name] = os.pathsep.join([first, os.environ.get(name, os.defpath if name == "PATH" else "")])


if __name__ == "__main__":
    main()
