"""What the commands share: options with one meaning everywhere, and output as text or as JSON."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

DEFAULT_OUT = Path("campaign")
"""Folder of a campaign when none is named."""
DEFAULT_STORE = Path("hpcmat-store")
"""Result store when none is named; campaigns started in one folder share it."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Parameters of `mallopt` in malloc.h."""

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN", help="Campaign file (TOML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
SiteName = Annotated[str, typer.Option("--site", metavar="NAME", help="Site: a name, or the path of its file.")]
OutFolder = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder of the campaign.")]
StoreFolder = Annotated[Path, typer.Option("--store", metavar="FOLDER", help="Result store, shared by campaigns.")]
Nodes = Annotated[int | None, typer.Option("--nodes", min=1, help="Nodes of the allocation; else the site's.")]
WalltimeHours = Annotated[
    float | None, typer.Option("--walltime", metavar="HOURS", min=0.01, help="Walltime; else the site's.")
]
GuaranteedHours = Annotated[
    float | None,
    typer.Option(
        "--guaranteed",
        metavar="HOURS",
        min=0.01,
        help="Less guaranteed walltime: a shorter wait, an earlier end (PJM).",
    ),
]
QueueName = Annotated[str, typer.Option("--queue", metavar="NAME", help="Queue; else the first that grants it.")]
Account = Annotated[str, typer.Option("--account", metavar="GROUP", help="Group or project to charge.")]


def one_blas_thread() -> None:
    """Keep linear algebra on one core; only before numpy is loaded.

    The cores have other work: a library whose threads spread over them would wait for itself.
    """
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")


def keep_freed_memory() -> None:
    """Have the C library hand freed blocks on; where it is not that of GNU, nothing happens.

    A fit makes and drops some 20 GB of large arrays. Each of them, taken from the system anew, is cleared page by page,
    which on a virtual machine is up to a sixth of all processor time.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for parameter, value in ((M_MMAP_THRESHOLD, 2**30), (M_TRIM_THRESHOLD, 2**31 - 1)):
            mallopt(parameter, value)


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(data, indent=2, ensure_ascii=False))


def print_columns(rows: Sequence[Sequence[str]], indent: int = 2) -> None:
    """Left-aligned columns; the last one keeps its length, so that nothing wraps in a log."""
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        print((" " * indent + "  ".join([*cells, row[-1]])).rstrip())
