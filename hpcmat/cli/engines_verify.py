"""What `hpcmat engines verify` does."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import typer

from hpcmat.cli.common import print_columns, print_json
from hpcmat.errors import EXIT_DISPATCH


def verify_campaign(campaign: Path, out: Path | None, as_json: bool) -> None:
    """Compare, print, and leave with exit code 4 where something disagrees."""
    from hpcmat.campaign.spec import load_campaign
    from hpcmat.campaign.structures import seed_structures
    from hpcmat.engines.verification import tight_settings, verify
    from hpcmat.store.atomic import make_folder

    spec = load_campaign(campaign)
    smallest = min(seed_structures(spec), key=len)
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpcmat-verify-")))
        comparisons = verify(tight_settings(spec.engine), smallest, make_folder(folder))
    right = all(comparison.agrees for comparison in comparisons)
    if as_json:
        rows = [asdict(comparison) | {"agrees": comparison.agrees} for comparison in comparisons]
        print_json({"engine": spec.engine.name, "agrees": right, "comparisons": rows})
    else:
        print_columns(
            [("quantity", "stated", "differences", "tolerance", "unit", "verdict")]
            + [
                (
                    c.quantity,
                    f"{c.stated:.4f}",
                    f"{c.differences:.4f}",
                    f"{c.tolerance:.4f}",
                    c.unit,
                    _verdict(c.agrees),
                )
                for c in comparisons
            ]
        )
        if len(comparisons) == 1:
            print("no stress: the engine gives none with these settings, or none that is trusted")
    if not right:
        raise typer.Exit(EXIT_DISPATCH)


def _verdict(agrees: bool) -> str:
    return "agrees" if agrees else "WRONG"
