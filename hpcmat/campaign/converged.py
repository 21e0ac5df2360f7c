"""Settings of an engine that a study of convergence found good, kept beside the campaign file."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.specification import Specification
from hpcmat.engines.base import physics_of
from hpcmat.engines.registry import engine_for
from hpcmat.engines.settings import EngineSettings
from hpcmat.engines.study.convergence import CUTOFF_KEY, SPACING_KEY, Tolerances
from hpcmat.engines.study.differences import Differences
from hpcmat.errors import InputError, StorageError
from hpcmat.records import decode, encode
from hpcmat.store.atomic import write_text

_TABLE = re.compile(r"\s*\[+\s*([^\]]*?)\s*\]+")


@dataclass(frozen=True, slots=True)
class Converged:
    """One outcome: the coarsest settings within tolerance, and what they hold for."""

    physics: str
    """Hash of the engine's other settings and of its data files: it says whether this outcome is about them."""
    cutoff_ev: float
    kpoint_spacing_per_ang: float
    tolerances: Tolerances
    errors: Differences
    """Against the tight settings."""
    tight_cutoff_ev: float
    tight_spacing_per_ang: float
    code: str
    version: str


def record_file(campaign_file: Path) -> Path:
    """`si.converged.json` beside `si.toml`."""
    return campaign_file.with_suffix(".converged.json")


def other_physics(settings: EngineSettings, symbols: tuple[str, ...]) -> str:
    """Hash of an engine, its data files for these elements, and all physical settings but cutoff and spacing.

    Raises
    ------
    InputError
        The engine or a data file is missing.
    """
    neutral = settings.model_copy(update={CUTOFF_KEY: 1.0, SPACING_KEY: 1.0})
    inputs = engine_for(settings).method(symbols).inputs
    return hashlib.sha256("\n".join([physics_of(neutral), *inputs]).encode()).hexdigest()


def read_converged(campaign_file: Path) -> tuple[Converged, ...]:
    """Outcomes beside a campaign file; none where there is no such file.

    Raises
    ------
    StorageError
        The file is damaged.
    """
    path = record_file(campaign_file)
    if not path.exists():
        return ()
    try:
        return decode(tuple[Converged, ...], path.read_text())
    except (OSError, ValidationError) as error:
        raise StorageError(f"{path}: cannot be read as outcomes of `hpcmat engines converge`; remove it") from error


def add_converged(campaign_file: Path, outcome: Converged) -> Path:
    """Add an outcome; one of the same physics and tolerances gives way."""
    kept = [
        old
        for old in read_converged(campaign_file)
        if (old.physics, old.tolerances) != (outcome.physics, outcome.tolerances)
    ]
    path = record_file(campaign_file)
    write_text(path, encode((*kept, outcome), tuple[Converged, ...]) + "\n")
    return path


def not_converged(settings: EngineSettings, symbols: tuple[str, ...], campaign_file: Path) -> str:
    """Warning about settings that no outcome beside the campaign file covers; empty where one does.

    Settings at least as tight as those that were found are covered. Engines without a cutoff or k-points are not
    judged.
    """
    given = settings.model_dump()
    if CUTOFF_KEY not in given or SPACING_KEY not in given:
        return ""
    physics = other_physics(settings, symbols)
    for found in read_converged(campaign_file):
        tight = given[CUTOFF_KEY] >= found.cutoff_ev and given[SPACING_KEY] <= found.kpoint_spacing_per_ang
        if tight and found.physics == physics:
            return ""
    return (
        f"engine.{CUTOFF_KEY} = {given[CUTOFF_KEY]:g} and {SPACING_KEY} = {given[SPACING_KEY]:g} were never converged "
        f"for this material; run `hpcmat engines converge {campaign_file}`"
    )


def warnings_about(specification: Specification, campaign_file: Path) -> tuple[str, ...]:
    """What `hpcmat check` and `hpcmat run` say of settings that were never converged; screenings are not judged."""
    if not isinstance(specification, Campaign):
        return ()
    warning = not_converged(specification.engine, specification.system.elements, campaign_file)
    return (warning,) if warning else ()


def with_engine_values(campaign_file: Path, values: dict[str, float]) -> str:
    """Text of a campaign file with other numbers in its table `[engine]`; every other character stays.

    Raises
    ------
    InputError
        The file states its engine in another way than as a table; says what to write by hand.
    """
    text = campaign_file.read_bytes().decode()
    edited = text
    for key, value in values.items():
        edited = _with_value(edited, key, value)
    if tomllib.loads(edited) != _expected(tomllib.loads(text), values):
        lines = ", ".join(f"{key} = {value}" for key, value in values.items())
        raise InputError(f"{campaign_file}: has no plain table [engine] to edit; write into it by hand: {lines}")
    return edited


def _expected(data: dict[str, Any], values: dict[str, float]) -> dict[str, Any]:
    return data | {"engine": data["engine"] | values}


def _with_value(text: str, key: str, value: float) -> str:
    lines = text.splitlines(keepends=True)
    inside = False
    for number, line in enumerate(lines):
        table = _TABLE.match(line)
        if table:
            if inside:
                break
            inside = table[1] == "engine"
        elif inside and (found := re.match(rf"(\s*{key}\s*=\s*)[^\s#]+(.*)", line, re.DOTALL)):
            lines[number] = f"{found[1]}{value}{found[2]}"
            return "".join(lines)
    return _with_line(lines, f"{key} = {value}")


def _with_line(lines: list[str], line: str) -> str:
    """The line put after the engine's name, which every table of an engine has."""
    inside = False
    for number, old in enumerate(lines):
        table = _TABLE.match(old)
        inside = table[1] == "engine" if table else inside
        if inside and re.match(r"\s*name\s*=", old):
            end = "\r\n" if old.endswith("\r\n") else "\n"
            return "".join([*lines[:number], old.rstrip("\r\n") + end, line + end, *lines[number + 1 :]])
    return "".join(lines)
