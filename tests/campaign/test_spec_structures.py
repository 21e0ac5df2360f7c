"""Seeds and reference cells of a campaign, against crystallography."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write

from hpcmat.campaign.spec import load_campaign
from hpcmat.campaign.structures import reference_structures, seed_structures
from hpcmat.engines.sampling import scaled
from hpcmat.errors import InputError

CAMPAIGN = """\
kind = "potential"
name = "cells"
[system]
elements = {elements}
structures = [{seed}]
reference = {{ points = {points}, volumes = [0.9, 1.1] }}
[engine]
name = "teacher"
calculator = "{calculator}"
[target]
force_rmse_ev_per_ang = 0.1
"""


def load(folder, seed, points=5, elements='["Cu"]', calculator="emt"):
    path = folder / "cells.toml"
    path.write_text(CAMPAIGN.format(seed=seed, points=points, elements=elements, calculator=calculator))
    return load_campaign(path)


@pytest.mark.parametrize(
    ("seed", "atoms", "nearest"),
    [
        ('{ crystal = "fcc", element = "Cu", a_ang = 3.6 }', 4, 3.6 / np.sqrt(2)),
        ('{ crystal = "bcc", element = "Cu", a_ang = 2.9 }', 2, 2.9 * np.sqrt(3) / 2),
        ('{ crystal = "diamond", element = "Cu", a_ang = 5.5 }', 8, 5.5 * np.sqrt(3) / 4),
        ('{ crystal = "sc", element = "Cu", a_ang = 2.5 }', 1, 2.5),
        ('{ crystal = "fcc", element = "Cu", a_ang = 3.6, repeat = [2, 1, 1] }', 8, 3.6 / np.sqrt(2)),
        ('{ crystal = "hcp", element = "Cu", a_ang = 2.6, c_ang = 4.3 }', 4, 2.6),
    ],
)
def test_crystals_have_their_atoms_and_nearest_distance(tmp_path, seed, atoms, nearest):
    (structure,) = seed_structures(load(tmp_path, seed, points=0))
    assert len(structure) == atoms
    assert structure.pbc == (True, True, True)
    images = Atoms(structure.symbols, structure.positions, cell=structure.cell, pbc=True).repeat(3)
    distances = images.get_all_distances(mic=True)
    assert distances[distances > 1e-9].min() == pytest.approx(nearest, abs=1e-9)


def test_crystal_of_two_elements(tmp_path):
    seed = '{ crystal = "rocksalt", element = "CuAu", a_ang = 5.4 }'
    (structure,) = seed_structures(load(tmp_path, seed, elements='["Cu", "Au"]'))
    assert sorted(structure.symbols) == ["Au"] * 4 + ["Cu"] * 4


def test_reference_cells_are_scaled_copies(tmp_path):
    campaign = load(tmp_path, '{ crystal = "fcc", element = "Cu", a_ang = 3.6 }')
    cells = reference_structures(campaign)
    volumes = [abs(np.linalg.det(cell.cell)) / 3.6**3 for cell in cells]
    assert volumes == pytest.approx([0.9, 0.95, 1.0, 1.05, 1.1], abs=1e-12)
    fractional = [cell.positions @ np.linalg.inv(cell.cell) for cell in cells]
    assert all(np.allclose(item, fractional[0], atol=1e-12) for item in fractional)
    assert np.allclose(cells[2].positions, seed_structures(campaign)[0].positions, atol=1e-12)


def test_reference_can_be_left_out(tmp_path):
    assert reference_structures(load(tmp_path, '{ crystal = "fcc", element = "Cu", a_ang = 3.6 }', points=0)) == ()


def test_scaling_by_one_changes_nothing(tmp_path):
    (seed,) = seed_structures(load(tmp_path, '{ crystal = "fcc", element = "Cu", a_ang = 3.6 }'))
    assert np.array_equal(scaled(seed, 1.0).positions, seed.positions)
    assert not np.array_equal(scaled(seed, 1.01).positions, seed.positions)


def test_file_is_sought_beside_the_campaign_file(tmp_path, monkeypatch):
    cells = [bulk("Cu", "fcc", a=a, cubic=True) for a in (3.5, 3.6, 3.7)]
    write(tmp_path / "cells.xyz", cells)
    monkeypatch.chdir("/")
    structures = seed_structures(load(tmp_path, '{ file = "cells.xyz" }'))
    assert [structure.cell[0, 0] for structure in structures] == pytest.approx([3.5, 3.6, 3.7])
    (last,) = seed_structures(load(tmp_path, '{ file = "cells.xyz", index = "-1", repeat = [1, 2, 1] }'))
    assert np.diag(last.cell) == pytest.approx([3.7, 7.4, 3.7])


def bad_file(tmp_path, content, expected, seed='{ file = "bad.xyz" }'):
    if isinstance(content, str):
        (tmp_path / "bad.xyz").write_text(content)
    else:
        write(tmp_path / "bad.xyz", content)
    with pytest.raises(InputError, match=expected):
        load(tmp_path, seed)


def test_bad_structure_files_are_refused(tmp_path):
    bad_file(tmp_path, "three\natoms\n", "ASE cannot read")
    bad_file(tmp_path, "", "ASE cannot read")
    bad_file(tmp_path, '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3\nCu 0 nan 0\n', "not finite")
    bad_file(tmp_path, Atoms("Cu2", [[0, 0, 0], [0, 0, 0.5]], cell=[5, 5, 5], pbc=True), "covalent radii")
    bad_file(tmp_path, Atoms("Cu", [[0, 0, 0]], cell=[[3, 0, 0], [6, 0, 0], [0, 0, 3]], pbc=True), "volume")
    bad_file(tmp_path, bulk("Cu"), "selects no structure|ASE cannot read", '{ file = "bad.xyz", index = "7:" }')
    bad_file(tmp_path, Atoms("Cu2", [[0, 0, 0], [0, 0, 2.3]]), "not periodic")


def test_misspelt_file_is_suggested(tmp_path):
    write(tmp_path / "cells.xyz", bulk("Cu"))
    with pytest.raises(InputError, match=r"did you mean 'cells.xyz'\?"):
        load(tmp_path, '{ file = "cell.xyz" }')
