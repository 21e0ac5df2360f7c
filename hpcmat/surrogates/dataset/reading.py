"""From a file to a data set: frames are read, parsed one by one, checked together."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat.records import Label, Method, Structure
from hpcmat.surrogates.ace import cell_volume
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.dataset.checks import check_frames
from hpcmat.surrogates.dataset.data import Dataset, Frame, LabelKeys, Problem
from hpcmat.surrogates.dataset.keys import find_keys, values_of

Floats = NDArray[np.float64]

ISOLATED_NAMES = {"isolatedatom", "isolatedatoms", "isolated"}
"""`config_type` of isolated atoms, without case, blanks and underscores."""
SYMMETRY_TOLERANCE = 0.01
"""Of a stress tensor, relative to its largest component."""
SAME_ENERGY_EV = 1e-3
"""Two energies of one isolated atom differ when they are further apart."""


def read_dataset(path: Path, keys: LabelKeys | None = None) -> Dataset:
    """Read labelled structures: extended XYZ, plain or gzipped, or whatever else `ase.io.read` reads with energies.

    Energies are eV per cell, forces eV/Å, stress eV/Å³ positive under tension (ASE's sign) with 9 components or 6 in
    the order xx yy zz yz xz xy; a virial (eV) is turned into a stress by -virial/volume. Nothing is converted: other
    units are reported as far as magnitudes tell. Frames without energy, with numbers that are not finite, with
    impossible geometry or with absurd labels are left out; everything found is in `problems`.

    Parameters
    ----------
    keys : names of the labels; what is None is found.

    Raises
    ------
    InputError
        The file is absent or unreadable, no energies or several candidates are found, or no frame can be used.
    """
    data = _content(path)
    images = _read_images(path, data)
    found = find_keys(images, keys or LabelKeys(), path.name)
    sha256 = hashlib.sha256(data).hexdigest()
    method = Method(code=path.name, version="", settings="{}", settings_hash=sha256)
    parsed = _parse_all(images, found, method)
    frames, checked = check_frames(tuple(parsed.frames))
    problems = tuple(sorted((*parsed.collected(), *checked), key=lambda problem: (not problem.excluded, problem.kind)))
    isolated = parsed.isolated
    if not frames and not isolated:
        reasons = "; ".join(str(problem) for problem in problems) or "it is empty"
        raise InputError(f"{path}: no frame can be used ({reasons}); correct the file")
    symbols = {symbol for frame in frames for symbol in frame.label.structure.symbols}
    return Dataset(
        name=path.name,
        sha256=sha256,
        keys=found,
        frames=frames,
        problems=problems,
        elements=tuple(sorted(symbols, key=atomic_numbers.__getitem__)),
        isolated=tuple((symbol, isolated[symbol]) for symbol in sorted(isolated, key=atomic_numbers.__getitem__)),
        n_read=len(images),
    )


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror}); check its permissions") from error


def _read_images(path: Path, data: bytes) -> list[Atoms]:
    from ase.io import read

    # Under MPI, ASE would have the frames sent to all ranks, of which this may be the only one here.
    try:
        if path.name.removesuffix(".gz").endswith((".xyz", ".extxyz")):
            # ASE seeks back and forth in a file of many frames, which a compressed one must answer by starting anew.
            text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
            images = read(io.StringIO(text), index=":", format="extxyz", parallel=False)
        else:
            images = read(path, index=":", parallel=False, do_not_split_by_at_sign=True)
    except Exception as error:  # noqa: BLE001 - each of ASE's fifty readers raises what it likes
        raise InputError(
            f"{path}: ASE cannot read it ({type(error).__name__}: {error}); "
            "check its format, or convert it to extended XYZ"
        ) from None
    if not images:
        raise InputError(f"{path}: it holds no structure; give a file of labelled structures")
    return list(images)


@dataclass(slots=True)
class _Parsed:
    """What has been read so far."""

    frames: list[Frame] = field(default_factory=list)
    isolated: dict[str, float] = field(default_factory=dict)
    faults: dict[tuple[str, str, bool], list[int]] = field(default_factory=lambda: defaultdict(list))
    """Frames by kind, message and whether they are left out."""

    def note(self, index: int, fault: tuple[str, str], excluded: bool) -> None:
        self.faults[(*fault, excluded)].append(index)

    def collected(self) -> list[Problem]:
        return [
            Problem(tuple(frames), kind, message, excluded) for (kind, message, excluded), frames in self.faults.items()
        ]


NO_ENERGY = ("missing energy", "there is no energy; compute it or remove the frame")
BAD_ENERGY = ("energy not finite", "the energy is not one finite number; compute it again")
NO_FORCES = ("missing forces", "there are no forces; only the energy can be compared, and a fit leaves the frame out")
BAD_FORCES = ("forces not finite", "some forces are not finite numbers; compute them again")
FORCES_SHAPE = ("wrong shape", "the forces are not three numbers for each atom; correct the columns")
NO_STRESS = ("missing stress", "there is no stress, though other frames have one; only energy and forces are used")
BAD_STRESS = ("stress not finite", "the stress is not finite and not used; compute it again")
STRESS_SHAPE = ("wrong shape", "the stress has neither 9 nor 6 components and is not used; correct it")
STRESS_SKEW = ("stress not symmetric", "the stress tensor is not symmetric and not used; correct it")
BAD_GEOMETRY = ("positions not finite", "positions or cell are not finite numbers; correct them")
NO_ATOMS = ("empty frame", "there are no atoms; remove the frame")
TWO_ATOM_ENERGIES = (
    "contradictory isolated atoms",
    "an isolated atom has another energy than before; the first counts",
)


def _parse_all(images: list[Atoms], keys: LabelKeys, method: Method) -> _Parsed:
    parsed = _Parsed()
    for index, atoms in enumerate(images):
        _parse(index, atoms, (keys, method), parsed)
    return parsed


def _parse(index: int, atoms: Atoms, how: tuple[LabelKeys, Method], parsed: _Parsed) -> None:
    """Add one frame, isolated atom or fault."""
    keys, method = how
    energy, fault = _energy(atoms, keys)
    if fault:
        parsed.note(index, fault, True)
        return
    structure = structure_of(atoms)
    group = str(atoms.info.get("config_type", ""))
    if _is_isolated(structure, group):
        known = parsed.isolated.setdefault(structure.symbols[0], energy)
        if abs(known - energy) > SAME_ENERGY_EV:
            parsed.note(index, TWO_ATOM_ENERGIES, False)
        return
    forces, fault = _forces(atoms, keys)
    if fault:
        parsed.note(index, fault, True)
        return
    if not len(forces):
        parsed.note(index, NO_FORCES, False)
    stress, fault = _stress(atoms, keys, cell_volume(structure))
    if fault:
        parsed.note(index, fault, False)
    parsed.frames.append(Frame(index, Label(structure, energy, forces, stress, method), group))


def _is_isolated(structure: Structure, group: str) -> bool:
    name = group.lower().replace("_", "").replace(" ", "").replace("-", "")
    return len(structure) == 1 and (not any(structure.pbc) or name in ISOLATED_NAMES)


def _numbers(value: Any) -> Floats | None:
    """The value as numbers, or None where it is something else."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None


def _energy(atoms: Atoms, keys: LabelKeys) -> tuple[float, tuple[str, str] | None]:
    value = values_of(atoms, str(keys.energy))
    if len(atoms) == 0:
        return 0.0, NO_ATOMS
    if value is None:
        return 0.0, NO_ENERGY
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
        return 0.0, BAD_GEOMETRY
    number = _numbers(value)
    if number is None or number.size != 1 or not np.isfinite(number).all():
        return 0.0, BAD_ENERGY
    return float(number.item()), None


def _forces(atoms: Atoms, keys: LabelKeys) -> tuple[Floats, tuple[str, str] | None]:
    value = values_of(atoms, keys.forces) if keys.forces else None
    if value is None:
        return np.empty((0, 3)), None
    forces = _numbers(value)
    if forces is None or forces.shape != (len(atoms), 3):
        return np.empty((0, 3)), FORCES_SHAPE
    return forces, None if np.isfinite(forces).all() else BAD_FORCES


def _stress(atoms: Atoms, keys: LabelKeys, volume: float) -> tuple[Floats, tuple[str, str] | None]:
    """Stress (6,) eV/Å³, or (0,) with the reason why it is not used."""
    none = np.empty(0)
    if not volume or keys.stress is None:
        return none, None
    value = values_of(atoms, keys.stress)
    if value is None:
        return none, NO_STRESS
    stress = _numbers(value)
    if stress is None or stress.size not in {6, 9}:
        return none, STRESS_SHAPE
    if not np.isfinite(stress).all():
        return none, BAD_STRESS
    tensor = stress.reshape(-1, 3) if stress.size == 9 else stress
    if stress.size == 9 and abs(tensor - tensor.T).max() > SYMMETRY_TOLERANCE * abs(tensor).max():
        return none, STRESS_SKEW
    voigt = full_3x3_to_voigt_6_stress(0.5 * (tensor + tensor.T)) if stress.size == 9 else stress.ravel()
    # ASE's virial is -dE/dε: positive where the cell wants to expand.
    return -voigt / volume if "virial" in keys.stress.lower() else voigt, None
