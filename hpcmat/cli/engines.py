"""`hpcmat engines`: the codes that compute labels: which are here, whether their numbers are right, what they wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcmat.cli.common import AsJson, CampaignFile, print_columns, print_json

AttemptFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Work folder of one attempt.")]
WorkFolder = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Keep the calculations in this folder.")
]

engines = typer.Typer(
    name="engines",
    help="First-principles codes: which are here, whether their numbers are right, old outputs read again.",
    rich_markup_mode=None,
    add_completion=False,
)


@engines.command("list")
def list_(as_json: AsJson = False) -> None:
    """Show which codes are installed, and how to get the others."""
    from dataclasses import asdict

    from hpcmat.cli.health import check_engines

    findings = list(check_engines())
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        print_columns([(f.status, f.check, f"{f.found} -> {f.remedy}" if f.remedy else f.found) for f in findings], 0)


@engines.command()
def verify(campaign: CampaignFile, out: WorkFolder = None, as_json: AsJson = False) -> None:
    """Compare forces and stress of the campaign's engine with finite differences of its energy.

    Five calculations of the smallest seed structure, rattled and sheared, at twice the cutoff. The exit code is 4 if
    one disagrees: the build or its pseudopotentials are not to be trusted then.
    """
    from hpcmat.cli.engines_verify import verify_campaign

    verify_campaign(campaign, out, as_json)


@engines.command()
def parse(folder: AttemptFolder, as_json: AsJson = False) -> None:
    """Read the output of one attempt again; runs nothing."""
    import json

    from hpcmat.engines.external.parsing import parse as parse_folder
    from hpcmat.records import Failure, encode

    result = parse_folder(folder)
    if as_json:
        print_json(json.loads(encode(result)))
    elif isinstance(result, Failure):
        print(f"{folder}: {result.failure}: {result.message}")
    else:
        stress = "with" if result.stress.size else "without"
        print(
            f"{folder}: {result.energy:.6f} eV, {len(result.structure)} atoms, {stress} stress, "
            f"{result.scf_steps} steps, {'; '.join(result.notes)}"
        )
