"""`hpcmat engines`: the codes that compute labels: which are here, whether their numbers are right, what they wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpcmat.cli.common import AsJson, CampaignFile, one_blas_thread, print_columns, print_json

AttemptFolder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Work folder of one attempt.")]
WorkFolder = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="Keep the calculations in this folder.")
]
CampaignFiles = Annotated[list[Path], typer.Argument(metavar="CAMPAIGN...", help="Campaign files (TOML).")]
EngineNames = Annotated[
    list[str] | None,
    typer.Option("--engine", metavar="NAME", help="Another engine, with the physics of the first campaign's settings."),
]
Copies = Annotated[
    int, typer.Option("--copies", min=2, help="Copies of each seed, strained and rattled as in the cold start.")
]
Published = Annotated[
    bool, typer.Option("--reference", help="Compare the equation of state with the published one of WIEN2k.")
]
EnergyTolerance = Annotated[
    float,
    typer.Option(metavar="MEV", min=1e-6, help="Largest error of a difference of energies, meV/atom."),
]
ForceTolerance = Annotated[
    float | None,
    typer.Option(metavar="MEV", min=1e-6, help="Largest error of a force, meV/Å; a tenth of the target if unset."),
]
StressTolerance = Annotated[
    float | None, typer.Option(metavar="GPA", min=1e-6, help="Largest error of a stress, GPa; any if unset.")
]
TightCutoff = Annotated[
    float | None, typer.Option(metavar="EV", min=1.0, help="Cutoff of the tight settings, eV; twice the campaign's.")
]
TightSpacing = Annotated[
    float | None,
    typer.Option(metavar="SPACING", min=1e-3, help="Spacing of their k-points, 1/Å; half the campaign's."),
]
Write = Annotated[bool, typer.Option("--write", help="Write what is found into the campaign file.")]

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
def compare(
    campaigns: CampaignFiles,
    engine: EngineNames = None,
    copies: Copies = 2,
    reference: Published = False,
    out: WorkFolder = None,
    as_json: AsJson = False,
) -> None:
    """Run several engines on the structures of the first campaign and report how they differ.

    Compared with the first campaign's engine are those of the other campaigns, then those named. The exit code is 4 if
    a calculation failed.
    """
    one_blas_thread()
    from hpcmat.cli.engines_compare import Wanted, compare_engines

    compare_engines(campaigns, Wanted(engine or [], copies, reference, out), as_json)


@engines.command()
def converge(  # noqa: PLR0913 - one parameter for each option of the command line
    campaign: CampaignFile,
    energy_tolerance: EnergyTolerance = 1.0,
    force_tolerance: ForceTolerance = None,
    stress_tolerance: StressTolerance = None,
    tight_cutoff: TightCutoff = None,
    tight_spacing: TightSpacing = None,
    copies: Copies = 2,
    write: Write = False,
    out: WorkFolder = None,
    as_json: AsJson = False,
) -> None:
    """Find the cheapest cutoff and k-spacing whose labels are within tolerance of those of tight settings.

    The outcome is recorded beside the campaign file, where `hpcmat check` looks for it. The exit code is 4 if nothing
    that was tried is within tolerance.
    """
    one_blas_thread()
    from hpcmat.cli.engines_converge import Wanted, converge_campaign

    wanted = Wanted(
        energy_tolerance, force_tolerance, stress_tolerance, tight_cutoff, tight_spacing, copies, write, out
    )
    converge_campaign(campaign, wanted, as_json)


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
