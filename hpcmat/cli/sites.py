"""`hpcmat sites`: the machines that have a site file, and whether each file is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hpcmat.cli.common import AsJson, print_columns, print_json
from hpcmat.errors import EXIT_BAD_INPUT, InputError

if TYPE_CHECKING:
    from hpcmat.dispatch.sites import Site


def sites(as_json: AsJson = False) -> None:
    """List and check the sites.

    `ran` says where jobs of a file ran; most were written from manuals. The exit code is 2 if a file is wrong.
    """
    from hpcmat.dispatch.sites import known_sites

    rows = [_examine(name, path) for name, path in known_sites().items()]
    wrong = [row for row in rows if row["problem"]]
    if as_json:
        print_json(rows)
    else:
        head = ("site", "scheduler", "cores", "GPUs", "nodes", "hours", "ran", "description")
        print_columns([head, *(_shown(row) for row in rows if not row["problem"])], indent=0)
        for row in wrong:
            print(f"{row['site']}: {row['problem']}")
    if wrong:
        raise typer.Exit(EXIT_BAD_INPUT)


def _examine(name: str, path: Path) -> dict[str, Any]:
    from hpcmat.dispatch.sites import load_site

    try:
        return _row(load_site(path)) | {"problem": ""}
    except InputError as error:
        return {"site": name, "file": str(path), "problem": str(error)}


def _row(site: Site) -> dict[str, Any]:
    queues = site.batch.queues if site.batch is not None else ()
    nodes = [queue.max_nodes for queue in queues if queue.max_nodes is not None]
    hours = [queue.max_walltime_h for queue in queues if queue.max_walltime_h is not None]
    return {
        "site": site.name,
        "file": str(site.source),
        "description": site.description,
        "kind": site.kind,
        "verified": site.verified or None,
        "launcher": site.launcher,
        "cores_per_node": site.cores_per_node,
        "memory_gib": site.memory_gib,
        "gpus_per_node": site.gpus_per_node,
        "queues": [queue.model_dump(exclude_defaults=True) for queue in queues],
        "max_nodes": max(nodes, default=None),
        "max_walltime_h": max(hours, default=None),
    }


def _shown(row: dict[str, Any]) -> tuple[str, ...]:
    numbers = (row["cores_per_node"], row["gpus_per_node"], row["max_nodes"], row["max_walltime_h"])
    cells = (
        "-" if number is None else f"{number:g}" if isinstance(number, float) else str(number) for number in numbers
    )
    return (row["site"], row["kind"], *cells, row["verified"] or "here", row["description"])
