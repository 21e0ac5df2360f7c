"""One grid of k-points for all cells of a candidate: energies along strains are compared, and jump where it does."""

from __future__ import annotations

from hpcmat.engines.kpoints import kpoint_grid, spacing_for
from hpcmat.engines.settings import EngineSettings
from hpcmat.records import Structure


def on_one_grid(engine: EngineSettings, first: Structure, structure: Structure) -> EngineSettings:
    """Settings with which a structure has the grid of the candidate's first cell.

    They differ from those of the campaign in the spacing of the k-points, and only where that would give another grid.
    Supercells, slabs and reference crystals have grids of their own.
    """
    spacing = getattr(engine, "kpoint_spacing_per_ang", None)
    if spacing is None or structure.symbols != first.symbols or not all((*first.pbc, *structure.pbc)):
        return engine
    found = spacing_for(structure.cell, kpoint_grid(first.cell, spacing), spacing)
    if found is None or found == spacing:
        return engine
    return engine.model_copy(update={"kpoint_spacing_per_ang": found})
