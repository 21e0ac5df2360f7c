"""`hpcmat doctor`: whether this machine can run campaigns, and what to do where it cannot."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hpcmat.cli.common import AsJson, print_columns, print_json
from hpcmat.errors import EXIT_DISPATCH


def doctor(
    site: Annotated[
        str | None, typer.Option("--site", metavar="NAME", help="Also examine a site; on one of its own nodes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Examine this machine.

    Each line is ok, warn or fail, with a remedy. The exit code is 4 if anything fails: campaigns cannot run then.
    """
    import os
    from pathlib import Path

    from hpcmat.cli.health import examine

    findings = tuple(examine(Path.cwd(), os.environ))
    if site is not None:
        from hpcmat.cli.health_site import examine_site
        from hpcmat.dispatch.sites import load_site

        findings += tuple(examine_site(load_site(site), Path.cwd(), os.environ))
    failed = sum(finding.status == "fail" for finding in findings)
    warned = sum(finding.status == "warn" for finding in findings)
    if as_json:
        print_json({"healthy": not failed, "findings": [asdict(finding) for finding in findings]})
    else:
        lines = [(f.status, f.check, f"{f.found} -> {f.remedy}" if f.remedy else f.found) for f in findings]
        print_columns(lines, indent=0)
        print(f"{len(findings)} checks, {warned} warnings, {failed} failures")
    if failed:
        raise typer.Exit(EXIT_DISPATCH)
