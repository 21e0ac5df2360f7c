"""What `hpcmat engines compare` does."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from hpcmat.cli.common import print_columns, print_json
from hpcmat.errors import EXIT_DISPATCH, InputError

if TYPE_CHECKING:
    from hpcmat.campaign.spec import Campaign
    from hpcmat.engines.settings import EngineSettings
    from hpcmat.engines.study.comparison import Studied
    from hpcmat.surrogates.equation_of_state import EquationOfState


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options of the command."""

    engines: Sequence[str]
    copies: int
    published: bool
    out: Path | None


def compare_engines(campaigns: Sequence[Path], wanted: Wanted, as_json: bool) -> None:
    """Compare, print, and leave with exit code 4 where a calculation failed."""
    from hpcmat.campaign.spec import load_campaign
    from hpcmat.campaign.structures import reference_structures, seed_structures
    from hpcmat.campaign.studies import study_frames
    from hpcmat.engines.study.comparison import compare
    from hpcmat.engines.study.wien2k import published_state
    from hpcmat.store.atomic import make_folder

    specs = [load_campaign(path) for path in campaigns]
    first = specs[0]
    engines = _engines(specs, wanted)
    frames, volumes = study_frames(first, wanted.copies), reference_structures(first)
    published = None
    if wanted.published:
        _require_published(engines, bool(volumes))
        published = published_state(seed_structures(first)[first.system.reference.structure])
    with ExitStack() as stack:
        temporary = None if wanted.out else stack.enter_context(tempfile.TemporaryDirectory(prefix="hpcmat-compare-"))
        studied = compare(engines, frames, volumes, make_folder(wanted.out or Path(str(temporary))))
    if as_json:
        print_json(_as_data(studied, published))
    else:
        _print(studied, published, len(frames), len(volumes))
    if not all(each.complete for each in studied):
        raise typer.Exit(EXIT_DISPATCH)


def _engines(specs: Sequence[Campaign], wanted: Wanted) -> list[EngineSettings]:
    from hpcmat.campaign.structures import reference_structures, seed_structures
    from hpcmat.engines.registry import check_engine
    from hpcmat.engines.settings.translation import settings_for

    first = specs[0]
    engines = [spec.engine for spec in specs]
    for name in wanted.engines:
        if name not in {engine.name for engine in engines}:
            engines.append(settings_for(name, first.engine))
    if len(engines) < 2 and not wanted.published:
        raise InputError(
            "one engine alone is compared with nothing; add --engine NAME, another campaign, or --reference"
        )
    for engine in engines:
        check_engine(engine, first.system.elements, (*seed_structures(first), *reference_structures(first)))
    return engines


def _require_published(engines: Sequence[EngineSettings], volumes: bool) -> None:
    if not volumes:
        raise InputError("--reference needs an equation of state; set system.reference.points to at least 5")
    for engine in engines:
        functional = getattr(engine, "xc", "PBE")
        if functional != "PBE":
            raise InputError(f"the published equations of state are of PBE, {engine.name} has {functional}; set PBE")


def _title(number: int, each: Studied) -> str:
    return f"{number + 1} {each.settings.name}"


def _print(studied: Sequence[Studied], published: EquationOfState | None, frames: int, volumes: int) -> None:
    names = [_title(number, each) for number, each in enumerate(studied)]
    print(f"{frames} strained and rattled structures; differences from {names[0]}\n")
    head: tuple[str, ...] = (
        "engine",
        "labels",
        "energy rms, max (meV/atom)",
        "force rms, max (meV/Å)",
        "stress max (GPa)",
        "CPU-s",
    )
    print_columns([head, *(_apart_cells(name, each) for name, each in zip(names, studied, strict=True))])
    if volumes:
        print(f"\nequation of state from {volumes} volumes\n")
        columns = ("engine", "V0 (Å³/atom)", "B0 (GPa)", "B1", "scatter (meV/atom)", f"Δ to {names[0]} (meV/atom)")
        head = (*columns, *(["Δ to WIEN2k (meV/atom)"] if published else []))
        rows = [_state_cells(name, each, published) for name, each in zip(names, studied, strict=True)]
        print_columns([head, *rows, *([_published_cells(published)] if published else [])])
    for name, each in zip(names, studied, strict=True):
        _print_failures(name, each, volumes > 0)


def _apart_cells(name: str, each: Studied) -> tuple[str, ...]:
    labels = f"{sum(label is not None for label in each.frames.labels)}"
    cpu = f"{each.frames.cpu_s + each.volumes.cpu_s:.1f}"
    if each.apart is None:
        return (name, labels, "", "", "", cpu)
    apart = each.apart
    return (
        name,
        labels,
        f"{_number(apart.energy_rms_mev_per_atom)}, {_number(apart.energy_max_mev_per_atom)}",
        f"{_number(apart.force_rms_mev_per_ang)}, {_number(apart.force_max_mev_per_ang)}",
        _number(apart.stress_max_gpa),
        cpu,
    )


def _state_cells(name: str, each: Studied, published: EquationOfState | None) -> tuple[str, ...]:
    from hpcmat.engines.study.differences import delta_mev_per_atom

    state = each.state
    numbers = ["-"] * 4
    if state is not None:
        scatter = _number(1000.0 * state.scatter)
        numbers = [
            f"{state.volume:.3f}",
            f"{state.bulk_modulus_gpa:.2f}",
            f"{state.bulk_modulus_derivative:.2f}",
            scatter,
        ]
    apart = "" if each.apart is None else _number(each.delta_mev_per_atom)
    return (name, *numbers, apart, *([_number(delta_mev_per_atom(state, published))] if published else []))


def _published_cells(published: EquationOfState) -> tuple[str, ...]:
    return (
        "WIEN2k, published",
        f"{published.volume:.3f}",
        f"{published.bulk_modulus_gpa:.2f}",
        f"{published.bulk_modulus_derivative:.2f}",
        "",
        "",
        "",
    )


def _print_failures(name: str, each: Studied, volumes: bool) -> None:
    for kind, calculated in (("structure", each.frames), ("volume", each.volumes)):
        for number, failure in calculated.failures:
            print(f"\n{name}: {kind} {number}: {failure.failure}: {failure.message}")
    if volumes and each.state is None:
        print(f"\n{name}: no equation of state: {each.state_missing}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _as_data(studied: Sequence[Studied], published: EquationOfState | None) -> dict[str, Any]:
    return {
        "published": asdict(published) if published else None,
        "engines": [_engine_data(each, published) for each in studied],
    }


def _engine_data(each: Studied, published: EquationOfState | None) -> dict[str, Any]:
    from hpcmat.engines.study.differences import delta_mev_per_atom

    failures = [
        {"of": kind, "number": number, "failure": str(failure.failure), "message": failure.message}
        for kind, calculated in (("structure", each.frames), ("volume", each.volumes))
        for number, failure in calculated.failures
    ]
    return {
        "engine": each.settings.name,
        "settings": each.settings.model_dump(mode="json"),
        "differences": asdict(each.apart) if each.apart else None,
        "equation_of_state": asdict(each.state) if each.state else None,
        "delta_mev_per_atom": each.delta_mev_per_atom,
        "delta_to_published_mev_per_atom": delta_mev_per_atom(each.state, published),
        "cpu_s": each.frames.cpu_s + each.volumes.cpu_s,
        "failures": failures,
    }
