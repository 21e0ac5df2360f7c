"""Labels by an empirical teacher, and a fit to them."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.records import Execution, Governance, Label, Method, Provenance, Record, encode
from hpcmat.store.results import ResultStore
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.fitting import fit_potential

OFFSET = -5000.0
"""eV/atom added to each label: total energies of all-electron codes are of this size."""


def silicon(seed, displacement=0.1, strain=0.03):
    rng = np.random.default_rng(seed)
    atoms = bulk("Si", cubic=True)
    e = rng.uniform(-strain, strain, (3, 3))
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + (e + e.T) / 2), scale_atoms=True)
    atoms.positions += displacement * rng.normal(size=(8, 3))
    return atoms


def label_of(atoms, calculator=None, offset=OFFSET):
    atoms = atoms.copy()
    atoms.calc = calculator or StillingerWeber()
    energy = atoms.get_potential_energy() + offset * len(atoms)
    stress = atoms.get_stress() if atoms.pbc.all() else np.empty(0)
    return Label(structure_of(atoms), energy, atoms.get_forces(), stress, Method("ase", "1", "{}", "0"))


def copper_gold(seed):
    rng = np.random.default_rng(seed)
    atoms = bulk("Cu", a=3.85, cubic=True) * (2, 1, 1)
    atoms.symbols[rng.permutation(8)[:4]] = "Au"
    atoms.positions += 0.1 * rng.normal(size=(8, 3))
    return label_of(atoms, EMT(), offset=0.0)


def store_label(root, key, outcome):
    """Put an outcome into the store under `key`, through its own door."""
    store = ResultStore(root)
    attempt = store.begin(key)
    execution = Execution(1, "host", 1, 0.0, 1.0)
    origin = Provenance("campaign", "decision", "random")
    store.publish(Record(key, "label", "{}", encode(outcome), True, execution, origin, Governance()), attempt.folder)
    return attempt.folder


SETTINGS = AceSettings(("Si",), cutoff_ang=4.5)


@pytest.fixture(scope="session")
def train_labels():
    return tuple(label_of(silicon(seed)) for seed in range(30))


@pytest.fixture(scope="session")
def test_labels():
    return tuple(label_of(silicon(1000 + seed)) for seed in range(15))


@pytest.fixture(scope="session")
def potential(train_labels):
    return fit_potential(train_labels, SETTINGS).potential


@pytest.fixture(scope="session")
def wild_label():
    """Label of strongly displaced and strained silicon, by its seed."""
    return lambda seed: label_of(silicon(seed, displacement=0.25, strain=0.08))


@pytest.fixture
def structure(test_labels):
    return test_labels[0].structure


@pytest.fixture
def cluster(structure):
    return replace(structure, cell=np.zeros((3, 3)), pbc=(False, False, False))


@pytest.fixture(scope="session")
def make():
    """Makers of structures and labels, for tests that need their own."""
    return SimpleNamespace(silicon=silicon, label=label_of, copper_gold=copper_gold, stored=store_label)
