"""All cells of a candidate have one grid of k-points."""

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.campaign.screen.grids import on_one_grid
from hpcmat.engines.kpoints import kpoint_grid
from hpcmat.engines.sampling import scaled
from hpcmat.engines.settings import GpawSettings, TeacherSettings
from hpcmat.engines.structures import from_atoms

ENGINE = GpawSettings(cutoff_ev=300.0, kpoint_spacing_per_ang=0.45)
CRYSTAL = from_atoms(bulk("BAs", "zincblende", a=4.8))


def grid_of(engine, structure):
    return kpoint_grid(structure.cell, engine.kpoint_spacing_per_ang)


def test_grid_stays_while_the_volume_changes():
    cells = [scaled(CRYSTAL, 1.03**step) for step in range(-8, 9)]
    alone = {grid_of(ENGINE, cell) for cell in cells}
    assert len(alone) > 1, "control: by the spacing alone the grid jumps"
    assert {grid_of(on_one_grid(ENGINE, CRYSTAL, cell), cell) for cell in cells} == {grid_of(ENGINE, CRYSTAL)}


def test_grid_stays_under_shear():
    strained = [CRYSTAL.cell @ (np.eye(3) + shear) for shear in (0.03 * np.eye(3, k=1), -0.03 * np.eye(3, k=2))]
    for cell in strained:
        structure = type(CRYSTAL)(CRYSTAL.symbols, CRYSTAL.positions, cell, CRYSTAL.pbc)
        assert grid_of(on_one_grid(ENGINE, CRYSTAL, structure), structure) == grid_of(ENGINE, CRYSTAL)


@pytest.mark.parametrize("structure", [CRYSTAL, from_atoms(bulk("BAs", "zincblende", a=4.8) * 2)])
def test_settings_are_left_alone_where_nothing_jumps_or_the_cell_is_another_one(structure):
    assert on_one_grid(ENGINE, CRYSTAL, structure) is ENGINE


def test_engines_without_k_points_are_left_alone():
    teacher = TeacherSettings()
    assert on_one_grid(teacher, CRYSTAL, scaled(CRYSTAL, 1.2)) is teacher
