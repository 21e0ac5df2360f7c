"""What the plane-wave codes have in common: pseudopotential files of each element, and grids that have symmetry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from hpcmat.engines.base import Job
from hpcmat.engines.external.calculation import SCRATCH_NAME
from hpcmat.engines.external.engine import ExternalEngine, check_occupations
from hpcmat.engines.external.pseudopotentials import Pseudopotential, Search, find, link, valence_electrons
from hpcmat.engines.kpoints import grid_has_lattice_symmetry, grid_shift, kpoint_grid
from hpcmat.engines.settings.external import PlaneWaveSettings
from hpcmat.records import Structure

Triple = tuple[int, int, int]


class PlaneWaveEngine(ExternalEngine):
    """A code in plane waves; one that has pseudopotentials in another form than `search` finds has its own files."""

    __slots__ = ()

    search: ClassVar[Search]

    settings: PlaneWaveSettings

    def data_files(self, symbols: Iterable[str]) -> dict[str, Path]:
        """Pseudopotential file of each element."""
        return {symbol: file.path for symbol, file in self.files(symbols).items()}

    def files(self, symbols: Iterable[str]) -> dict[str, Pseudopotential]:
        """The same with what their headers say; raises InputError where one is missing."""
        return find(symbols, self.settings.xc, self.settings.pseudopotentials, self.search)

    def linked_files(self, structure: Structure, job: Job) -> dict[str, Pseudopotential]:
        """The files, linked into the scratch folder; raises EngineFailure for occupations that cannot hold them."""
        files = self.files(structure.symbols)
        check_occupations(valence_electrons(structure.symbols, files), self.settings.smearing_ev)
        link(files, job.folder / SCRATCH_NAME)
        return files

    def grid(self, structure: Structure) -> tuple[Triple, Triple]:
        """Numbers of k-points, and shifts in half steps."""
        grid = kpoint_grid(structure.cell, self.settings.kpoint_spacing_per_ang)
        return grid, grid_shift(grid, self.settings.kpoint_grid)

    def reduces(self, structure: Structure, remedies: tuple[str, ...]) -> bool:
        """Whether the grid may be reduced by symmetry: one that lacks the lattice's would become another grid."""
        return "no-symmetry" not in remedies and grid_has_lattice_symmetry(structure.cell, *self.grid(structure))
