"""Published equations of state go with the published crystal alone."""

import pytest
from ase.build import bulk

from hpcmat.engines.structures import from_atoms
from hpcmat.engines.study.wien2k import published_state
from hpcmat.errors import InputError


@pytest.mark.parametrize(
    "crystal", [bulk("Si", "diamond", 5.5), bulk("Si", "diamond", 5.4, cubic=True).repeat((2, 1, 1))]
)
def test_silicon_in_any_cell(crystal):
    state = published_state(from_atoms(crystal))
    assert (state.volume, state.bulk_modulus_gpa, state.bulk_modulus_derivative) == (20.453, 88.545, 4.31)


@pytest.mark.parametrize("symbol", ["Al", "Cu", "Mg", "Ti"])
def test_metals_of_ase_are_the_published_ones(symbol):
    """Of experimental size, which PBE meets within some percent."""
    atoms = bulk(symbol)
    volume = atoms.get_volume() / len(atoms)
    assert published_state(from_atoms(atoms)).volume == pytest.approx(volume, rel=0.06)


@pytest.mark.parametrize(
    ("crystal", "message"),
    [
        (bulk("Si", "bcc", 3.1), "another one"),
        (bulk("Al", "hcp", 2.86), "another one"),
        (bulk("MgO", "rocksalt", 4.21), "no published"),
        (bulk("U", "bcc", 3.4), "no published"),
    ],
)
def test_another_crystal_is_refused(crystal, message):
    with pytest.raises(InputError, match=message):
        published_state(from_atoms(crystal))
