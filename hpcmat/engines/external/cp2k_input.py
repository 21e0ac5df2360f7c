"""CP2K's input: nested sections, in which no keyword may stand twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import atomic_numbers, ground_state_magnetic_moments
from numpy.typing import NDArray

from hpcmat.engines.external.calculation import SCRATCH_NAME
from hpcmat.engines.external.cp2k_data import DataFiles, Kind
from hpcmat.engines.kpoints import grid_shift, kpoint_grid
from hpcmat.engines.settings.cp2k import Cp2kSettings
from hpcmat.records import Structure
from hpcmat.units import BOLTZMANN_EV_PER_K

PROJECT = "cp2k"
EPS_DEFAULT = 1e-12
"""Below this, products of Gaussians are left out."""
MARGIN_ANG = 5.0
"""Room around a molecule: the wavelet solver wants the density to vanish at the faces of its cube."""
INITIAL_MOMENT_BOHR = 1.0
"""At least; that of the free atom where it is larger, since a cycle that starts too low may end without a moment."""

Section = dict[str, Any]
"""Keyword to value, or name with parameter to section; `None` where a keyword has no value, a list where the section
is a table of lines."""


@dataclass(frozen=True, slots=True)
class Road:
    """What leads to the same answer another way."""

    scf_steps: int
    mixing: float
    """Part of the new density in the next step."""
    diagonalization: str
    """Library."""
    restart: bool
    walltime_s: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """Cell and positions as CP2K is given them; of a molecule, moved into the middle of a cube."""

    cell: NDArray[np.float64]
    positions: NDArray[np.float64]
    periodic: bool


def geometry_of(structure: Structure) -> Geometry:
    """What is written into the input for a structure that is periodic along all axes or none."""
    if all(structure.pbc):
        return Geometry(structure.cell, structure.positions, True)
    lower, upper = structure.positions.min(axis=0), structure.positions.max(axis=0)
    side = float(np.max(upper - lower)) + 2.0 * MARGIN_ANG
    middle = 0.5 * (side - lower - upper)
    return Geometry(side * np.eye(3), structure.positions + middle, False)


def input_text(structure: Structure, settings: Cp2kSettings, data: DataFiles, road: Road) -> str:
    """The whole input."""
    geometry = geometry_of(structure)
    root: Section = {
        "GLOBAL": _global(road),
        "FORCE_EVAL": {
            "METHOD": "QUICKSTEP",
            "PRINT": _print(settings.stress and geometry.periodic),
            "DFT": _dft(geometry, settings, data, road),
            "SUBSYS": _subsys(structure, geometry, settings, data.kinds),
        },
    }
    if settings.stress and geometry.periodic:
        root["FORCE_EVAL"]["STRESS_TENSOR"] = "ANALYTICAL"
    for path, keys in settings.extra.items():
        _section_at(root, path.upper()).update({key.upper(): _raw(value) for key, value in keys.items()})
    return "\n".join(_lines(root, 0)) + "\n"


def _global(road: Road) -> Section:
    section: Section = {
        "PROJECT_NAME": f"{SCRATCH_NAME}/{PROJECT}",
        "RUN_TYPE": "ENERGY_FORCE",
        "PRINT_LEVEL": "MEDIUM",
        "PREFERRED_DIAG_LIBRARY": road.diagonalization,
    }
    if road.walltime_s is not None:
        section["WALLTIME"] = f"{road.walltime_s:.0f}"
    return section


def _print(stress: bool) -> Section:
    # The file for SCINE repeats energy, forces and structure: what the output says is confirmed by it.
    section: Section = {"FORCES": {"NDIGITS": 12}, "SCINE": {}}
    return section | ({"STRESS_TENSOR": {}} if stress else {})


def _dft(geometry: Geometry, settings: Cp2kSettings, data: DataFiles, road: Road) -> Section:
    section: Section = {
        "BASIS_SET_FILE_NAME": f"{SCRATCH_NAME}/{data.basis.name}",
        "POTENTIAL_FILE_NAME": f"{SCRATCH_NAME}/{data.potentials.name}",
        "MGRID": {"CUTOFF": f"[eV] {settings.cutoff_ev!r}", "REL_CUTOFF": f"[eV] {settings.relative_cutoff_ev!r}"},
        "QS": {"EPS_DEFAULT": EPS_DEFAULT},
        "POISSON": {"PERIODIC": "XYZ" if geometry.periodic else "NONE"},
        "SCF": _scf(settings, road),
        "XC": {f"XC_FUNCTIONAL {'PADE' if settings.xc == 'LDA' else settings.xc}": {}},
    }
    if not geometry.periodic:
        section["POISSON"]["POISSON_SOLVER"] = "WAVELET"
    if settings.spin_polarized:
        section["UKS"] = ".TRUE."
    grid = grid_of(geometry, settings)
    if grid != (1, 1, 1):
        section["KPOINTS"] = _kpoints(grid, settings)
    return section


def grid_of(geometry: Geometry, settings: Cp2kSettings) -> tuple[int, int, int]:
    """Numbers of k-points; one for a molecule."""
    return kpoint_grid(geometry.cell, settings.kpoint_spacing_per_ang) if geometry.periodic else (1, 1, 1)


def _kpoints(grid: tuple[int, int, int], settings: Cp2kSettings) -> Section:
    counts = " ".join(map(str, grid))
    if any(grid_shift(grid, "monkhorst-pack")) and settings.kpoint_grid == "gamma":
        # Its Monkhorst-Pack grids are shifted off Γ where even; half a step of the grid back brings them onto it.
        shifts = " ".join(repr(0.5 * (count + 1) % 1 / count) for count in grid)
        return {"SCHEME": f"MACDONALD {counts} {shifts}"}
    return {"SCHEME": f"MONKHORST-PACK {counts}"}


def _scf(settings: Cp2kSettings, road: Road) -> Section:
    section: Section = {
        "SCF_GUESS": "RESTART" if road.restart else "ATOMIC",
        "EPS_SCF": settings.density_tolerance,
        "MAX_SCF": road.scf_steps,
        "MIXING": {"METHOD": _mixing_method(settings), "ALPHA": road.mixing},
    }
    if settings.smearing_ev:
        kelvin = settings.smearing_ev / BOLTZMANN_EV_PER_K
        section["SMEAR ON"] = {"METHOD": "FERMI_DIRAC", "ELECTRONIC_TEMPERATURE": f"[K] {kelvin!r}"}
        # All of them, for each spin: too few would be an error of the answer that nothing reports.
        section["ADDED_MOS"] = "-1 -1" if settings.spin_polarized else "-1"
    return section


def _mixing_method(settings: Cp2kSettings) -> str:
    # Broyden's method, which has a history for each spin by itself, strays from the solution of bcc iron.
    return "DIRECT_P_MIXING" if settings.spin_polarized else "BROYDEN_MIXING"


def _subsys(structure: Structure, geometry: Geometry, settings: Cp2kSettings, kinds: tuple[Kind, ...]) -> Section:
    cell: Section = {name: _numbers(vector) for name, vector in zip("ABC", geometry.cell, strict=True)}
    section: Section = {
        "CELL": cell | {"PERIODIC": "XYZ" if geometry.periodic else "NONE"},
        "COORD": [f"{s} {_numbers(r)}" for s, r in zip(structure.symbols, geometry.positions, strict=True)],
    }
    for kind in kinds:
        section[f"KIND {kind.symbol}"] = {"BASIS_SET": kind.basis, "POTENTIAL": kind.potential}
        if settings.spin_polarized:
            section[f"KIND {kind.symbol}"]["MAGNETIZATION"] = _initial_moment(kind.symbol)
    return section


def _initial_moment(symbol: str) -> float:
    return max(INITIAL_MOMENT_BOHR, float(ground_state_magnetic_moments[atomic_numbers[symbol]]))


def _section_at(root: Section, path: str) -> Section:
    section = root
    for name in path.split("/"):
        key = next((key for key in section if key.split()[0] == name and isinstance(section[key], dict)), name)
        section = section.setdefault(key, {})
    return section


def _lines(section: Mapping[str, Any], depth: int) -> Iterator[str]:
    margin = "  " * depth
    for name, value in section.items():
        if isinstance(value, dict | list):
            yield f"{margin}&{name}"
            yield from _lines(value, depth + 1) if isinstance(value, dict) else (f"{margin}  {line}" for line in value)
            yield f"{margin}&END {name.split()[0]}"
        else:
            yield f"{margin}{name} {value}"


def _numbers(vector: NDArray[np.float64]) -> str:
    return " ".join(repr(float(value)) for value in vector)


def _raw(value: Any) -> str:
    if isinstance(value, bool):
        return ".TRUE." if value else ".FALSE."
    return " ".join(map(_raw, value)) if isinstance(value, tuple | list) else str(value)
