"""Structures with which a campaign begins: its seeds, and the cells of its reference equation of state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcmat.campaign.defects import with_defects
from hpcmat.campaign.spec import Campaign, CrystalSeed, FileSeed
from hpcmat.engines.recipes.surface import slab_of
from hpcmat.engines.sampling import scaled
from hpcmat.engines.structures import to_atoms
from hpcmat.errors import InputError
from hpcmat.records import Structure
from hpcmat.toml_input import did_you_mean

if TYPE_CHECKING:
    from ase import Atoms


def seed_structures(campaign: Campaign) -> tuple[Structure, ...]:
    """Seed structures in the order of the campaign file; one file may hold several.

    Raises
    ------
    InputError
        Where a crystal cannot be built or a file cannot be read.
    """
    return tuple(structure for group in seeds_by_entry(campaign) for structure in group)


def seeds_by_entry(campaign: Campaign) -> tuple[tuple[Structure, ...], ...]:
    """Seed structures, one group for each entry of `[[system.structures]]`."""
    groups: list[tuple[Structure, ...]] = []
    for number, seed in enumerate(campaign.system.structures):
        where = f"system.structures[{number}]"
        if isinstance(seed, CrystalSeed):
            groups.append((_as_structure(_seed(seed, where, np.random.default_rng([campaign.seed, number]))),))
        else:
            groups.append(file_structures(seed, campaign.folder, where))
    return tuple(groups)


def distinct_materials(seeds: Sequence[Structure]) -> tuple[int, ...]:
    """The first seed of each composition and volume per atom; others are the same crystal in cells of other sizes.

    A potential that knows one of the materials alone ends the dynamics of the others at their first step.
    """
    first: dict[object, int] = {}
    for number, seed in enumerate(seeds):
        shares = tuple(sorted((s, round(n / len(seed), 6)) for s, n in Counter(seed.symbols).items()))
        volume = abs(float(np.linalg.det(seed.cell))) / len(seed)
        first.setdefault((shares, f"{volume:.3g}"), number)
    return tuple(first.values())


def reference_structures(campaign: Campaign) -> tuple[Structure, ...]:
    """Perfect crystals at evenly spaced volumes, smallest first; empty when the campaign has no reference.

    The cell is scaled by (volume fraction)^(1/3) along each lattice vector and the atoms move with it.

    Raises
    ------
    InputError
        Where `system.reference.structure` names no seed, or one that is not a crystal.
    """
    reference = campaign.system.reference
    if reference.points == 0:
        return ()
    seeds = seed_structures(campaign)
    if reference.structure >= len(seeds):
        raise InputError(
            f"system.reference.structure: there is no seed structure {reference.structure}; "
            f"the last one is {len(seeds) - 1}"
        )
    seed = seeds[reference.structure]
    entries = [e for e, group in zip(campaign.system.structures, seeds_by_entry(campaign), strict=True) for _ in group]
    entry = entries[reference.structure]
    if isinstance(entry, CrystalSeed) and not entry.perfect:
        raise InputError(
            f"system.reference.structure: seed {reference.structure} is a surface or has defects, which an equation of "
            "state of the perfect crystal excludes; name another"
        )
    if not all(seed.pbc):
        raise InputError(
            f"system.reference.structure: seed {reference.structure} is not periodic in three directions and has no "
            "volume to scale; name a crystal, or set points = 0"
        )
    fractions = np.linspace(*reference.volumes, reference.points)
    return tuple(scaled(seed, float(fraction)) for fraction in fractions)


def _seed(seed: CrystalSeed, where: str, rng: np.random.Generator) -> Atoms:
    crystal = _crystal(seed, where)
    if seed.surface:
        crystal = to_atoms(slab_of(_as_structure(crystal), seed.surface)[1])
    return with_defects(crystal.repeat(seed.repeat), seed, rng, where)


def _crystal(seed: CrystalSeed, where: str) -> Atoms:
    from ase.build import bulk

    # A hexagonal crystal has no cubic cell; its orthorhombic one is the closest to a conventional cell.
    shape = {"orthorhombic": True, "c": seed.c_ang} if seed.crystal == "hcp" else {"cubic": True}
    if seed.c_ang is not None and seed.crystal != "hcp":
        raise InputError(f"{where}.c_ang: {seed.crystal} has one lattice constant; remove c_ang")
    try:
        return bulk(seed.element, seed.crystal, a=seed.a_ang, **shape)
    except (ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{where}.element: no {seed.crystal} crystal of '{seed.element}' can be built ({error}); "
            "write a chemical symbol, or a formula such as MgO for a crystal of two elements"
        ) from None


def file_structures(seed: FileSeed, folder: Path, where: str) -> tuple[Structure, ...]:
    """Structures of a file whose path counts from `folder`.

    Raises
    ------
    InputError
        The file cannot be read, with the key `where` it is named.
    """
    return tuple(_as_structure(item.repeat(seed.repeat)) for item in _from_file(seed, folder / seed.file, where))


def _from_file(seed: FileSeed, path: Path, where: str) -> list[Atoms]:
    from ase.io import read

    if not path.is_file():
        near = sorted(found.name for found in path.parent.glob("*")) if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near) or "paths count from the folder of the campaign file"
        raise InputError(f"{where}.file: no file {path}; {hint}")
    try:
        found: Any = read(path, index=seed.index)
    except Exception as error:  # noqa: BLE001 - each of ASE's fifty readers raises what it likes
        raise InputError(
            f"{where}.file: ASE cannot read {path} ({type(error).__name__}: {error}); "
            "check its format, or convert it to extended XYZ"
        ) from None
    images = found if isinstance(found, list) else [found]
    if not images:
        raise InputError(f"{where}.index: '{seed.index}' selects no structure of {path}; write ':' for all")
    return images


def _as_structure(atoms: Atoms) -> Structure:
    periodic = [bool(direction) for direction in atoms.pbc]
    return Structure(
        symbols=tuple(atoms.get_chemical_symbols()),
        positions=atoms.get_positions(),
        cell=atoms.cell.array,
        pbc=(periodic[0], periodic[1], periodic[2]),
    )
