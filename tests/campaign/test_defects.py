"""Seeds with defects and surfaces, against crystallography."""

import numpy as np
import pytest
from ase import Atoms

from hpcmat.campaign.spec import parse_campaign
from hpcmat.campaign.structures import reference_structures, seed_structures
from hpcmat.engines.structures import to_atoms
from hpcmat.errors import InputError

COPPER = {"crystal": "fcc", "element": "Cu", "a_ang": 3.6, "repeat": [2, 2, 2]}
MAGNESIA = {"crystal": "rocksalt", "element": "MgO", "a_ang": 4.2, "repeat": [2, 2, 2]}


def campaign_with(tmp_path, *seeds, points=0, seed=0):
    fields = {
        "kind": "potential",
        "name": "defects",
        "seed": seed,
        "system": {
            "elements": ["Cu", "Mg", "O"],
            "structures": list(seeds),
            "reference": {"points": points},
        },
        "engine": {"name": "teacher", "calculator": "lj"},
        "target": {"force_rmse_ev_per_ang": 0.1},
    }
    return parse_campaign(fields, tmp_path / "defects.toml")


def built(tmp_path, crystal, **changes) -> Atoms:
    (structure,) = seed_structures(campaign_with(tmp_path, crystal, **changes))
    return to_atoms(structure)


def test_vacancies_take_atoms_away_and_leave_the_others_where_they_were(tmp_path):
    perfect, missing = built(tmp_path, COPPER), built(tmp_path, COPPER | {"vacancies": 2})
    assert len(missing) == len(perfect) - 2
    kept = {tuple(np.round(position, 9)) for position in perfect.positions}
    assert all(tuple(np.round(position, 9)) in kept for position in missing.positions)


def test_which_atoms_are_missing_depends_on_the_seed_of_the_campaign_alone(tmp_path):
    seed = COPPER | {"vacancies": 3}
    first, again, other = (built(tmp_path, seed, seed=number) for number in (1, 1, 2))
    np.testing.assert_array_equal(first.positions, again.positions)
    assert len(other) == len(first) and not np.array_equal(first.positions, other.positions)


def test_interstitial_of_a_close_packed_crystal_sits_in_an_octahedral_hole(tmp_path):
    atoms = built(tmp_path, COPPER | {"interstitials": 1})
    assert len(atoms) == 33
    distances = np.sort(atoms.get_distances(-1, range(32), mic=True))
    np.testing.assert_allclose(distances[:6], 1.8, atol=1e-5)
    assert distances[6] > 3.0


def test_antisites_exchange_elements_and_keep_the_composition(tmp_path):
    perfect, wrong = built(tmp_path, MAGNESIA), built(tmp_path, MAGNESIA | {"antisites": 1})
    assert wrong.get_chemical_formula() == perfect.get_chemical_formula()
    changed = np.array(wrong.get_chemical_symbols()) != np.array(perfect.get_chemical_symbols())
    assert changed.sum() == 2


def test_slab_has_the_thickness_and_the_vacuum_asked_for(tmp_path):
    surface = {"miller": [1, 0, 0], "slab_ang": 10.0, "vacuum_ang": 10.0}
    atoms = built(tmp_path, COPPER | {"repeat": [1, 1, 1], "surface": surface})
    area = np.linalg.norm(np.cross(atoms.cell[0], atoms.cell[1]))
    height = atoms.get_volume() / area
    planes = height * np.unique(np.round(atoms.get_scaled_positions()[:, 2], 6))
    assert atoms.pbc.all()
    # Whole unit cells of two planes, 1.8 Å apart, and then the vacuum.
    np.testing.assert_allclose(np.diff(planes), 1.8, atol=1e-4)
    assert len(planes) == 6
    assert height == pytest.approx(6 * 1.8 + 10.0, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vacancies": 32}, "leave none"),
        ({"antisites": 1}, "of one element"),
        ({"surface": {"miller": [0, 0, 0]}}, "0, 0, 0"),
        ({"vacancies": -1}, "vacancies"),
    ],
)
def test_impossible_defects_are_refused(tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        built(tmp_path, COPPER | change)


def test_equation_of_state_is_of_a_perfect_crystal(tmp_path):
    assert len(reference_structures(campaign_with(tmp_path, COPPER, points=5))) == 5
    with pytest.raises(InputError, match="has defects"):
        reference_structures(campaign_with(tmp_path, COPPER | {"vacancies": 1}, points=5))
