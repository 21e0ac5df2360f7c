"""Formation, vacancy and surface energies by recipe, against ASE's own cells and optimisers."""

import numpy as np
import pytest
from ase.build import bulk, fcc100, fcc110, fcc111
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.units import J, m
from laboratory import Laboratory, structure_of

from hpcmat.engines.recipes.equation_of_state import equation_of_state
from hpcmat.engines.recipes.formation import References
from hpcmat.engines.recipes.spec import RecipeSpec
from hpcmat.engines.recipes.steps import Need, Refusal, advance
from hpcmat.engines.recipes.surface import primitive_indices, slab_of
from hpcmat.engines.recipes.vacancy import supercell
from hpcmat.engines.recipes.whole import recipe

COPPER, GOLD = structure_of(bulk("Cu", a=3.6)), structure_of(bulk("Au", a=4.1))


def alloy():
    atoms = bulk("Cu", cubic=True, a=3.75)
    atoms.symbols[0] = "Au"
    return atoms


def relaxed(atoms, cell=False):
    atoms = atoms.copy()
    atoms.calc = EMT()
    BFGS(FrechetCellFilter(atoms) if cell else atoms, logfile=None).run(fmax=1e-3)
    return atoms


def energy(atoms):
    return relaxed(atoms).get_potential_energy()


def found_for(structure, *asked, references=(), **settings):
    steps = recipe(structure, RecipeSpec(**settings), set(asked), References(references))
    return dict(advance(steps, Laboratory().label))


def test_the_formation_energy_is_that_of_relaxed_cells():
    found = found_for(structure_of(alloy()), "formation_energy_ev", references=(COPPER, GOLD))
    parts = [relaxed(atoms, cell=True).get_potential_energy() for atoms in (alloy(), bulk("Au"), bulk("Cu"))]
    assert found["formation_energy_ev"] == pytest.approx((parts[0] - parts[1] - 3 * parts[2]) / 4, abs=5e-4)
    assert abs(found["formation_energy_ev"]) > 5e-3, "negative control: it is no zero"


def test_of_several_references_the_least_energy_counts_and_an_element_has_none():
    worse = structure_of(bulk("Cu", "bcc", a=2.85))
    found = found_for(COPPER, "formation_energy_ev", references=(worse, COPPER))
    assert found["formation_energy_ev"] == pytest.approx(0.0, abs=1e-9)
    assert found_for(COPPER, "formation_energy_ev", references=(worse,))["formation_energy_ev"] < -0.01


def test_a_candidate_whose_element_has_no_reference_is_refused_and_so_is_a_hopeless_reference():
    steps = recipe(structure_of(alloy()), RecipeSpec(), {"formation_energy_ev"}, References((COPPER,)))
    standing = advance(steps, Laboratory().label)
    assert isinstance(standing, Refusal) and "reference crystal of Au" in standing.reason
    far = structure_of(bulk("Au", a=14.0))
    steps = recipe(structure_of(alloy()), RecipeSpec(), {"formation_energy_ev"}, References((COPPER, far)))
    standing = advance(steps, Laboratory().label)
    assert isinstance(standing, Refusal) and standing.reason.startswith("reference crystal of Au: the energy")


def test_the_vacancy_of_copper_is_that_of_the_cubic_cell():
    """The primitive vectors repeated four times span another cell than the cube, and both are near the limit."""
    found = found_for(COPPER, "vacancy_energy_ev", vacancy_distance_ang=6.0)["vacancy_energy_ev"]
    cube = bulk("Cu", cubic=True, a=found_for(COPPER)["lattice_constant_ang"]).repeat(2)
    hollow = cube.copy()
    del hollow[0]
    n = len(cube)
    assert found == pytest.approx(energy(hollow) - (n - 1) / n * energy(cube), abs=0.015)
    clamped = hollow.copy()
    clamped.calc = EMT()
    assert clamped.get_potential_energy() - energy(hollow) > 0.01, "negative control: relaxation matters"


def test_the_vacancy_of_an_alloy_is_the_cheaper_one_against_the_elements():
    settings = {"vacancy_distance_ang": 7.0, "references": (COPPER, GOLD)}
    found = found_for(structure_of(alloy()), "vacancy_energy_ev", **settings)
    cell = alloy()
    cell.set_cell(np.eye(3) * found["lattice_constant_ang"], scale_atoms=True)
    perfect = cell.repeat(2)
    energies = []
    for symbol in ("Au", "Cu"):
        hollow = perfect.copy()
        del hollow[hollow.get_chemical_symbols().index(symbol)]
        own = relaxed(bulk(symbol), cell=True).get_potential_energy()
        energies.append(energy(hollow) - energy(perfect) + own)
    assert abs(energies[0] - energies[1]) > 0.05
    assert found["vacancy_energy_ev"] == pytest.approx(min(energies), abs=0.01)


def test_a_supercell_is_as_wide_as_asked_and_begins_with_the_crystal():
    wide = supercell(COPPER, 8.0)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(wide.cell), axis=0)
    assert heights.min() >= 8.0 and len(wide) == 64
    np.testing.assert_allclose(wide.positions[: len(COPPER)], COPPER.positions)
    assert len(supercell(COPPER, heights.min())) == 64


@pytest.mark.parametrize(("miller", "slab"), [((1, 1, 1), fcc111), ((1, 0, 0), fcc100), ((1, 1, 0), fcc110)])
@pytest.mark.parametrize("cubic", [False, True])
def test_surfaces_of_copper_are_those_that_ase_builds(miller, slab, cubic):
    start = structure_of(bulk("Cu", a=3.6, cubic=cubic))
    found = found_for(start, "surface_energy_j_m2", miller=miller, slab_ang=14.0)
    a = found["lattice_constant_ang"]
    layers = 9
    cut = slab("Cu", (1, 1, layers), a=a, vacuum=6.0, periodic=True)
    area = np.linalg.norm(np.cross(cut.cell[0], cut.cell[1]))
    single = bulk("Cu", a=a)
    expected = (energy(cut) - layers * energy(single)) / (2 * area) / (J / m**2)
    assert found["surface_energy_j_m2"] == pytest.approx(expected, rel=0.02)


def test_the_planes_of_a_cubic_crystal_differ_and_do_not_depend_on_its_cell():
    rest = advance(equation_of_state(COPPER, RecipeSpec()), Laboratory().label)
    assert primitive_indices(rest.crystal, (1, 1, 1)) == (1, 1, 1)
    assert primitive_indices(rest.crystal, (1, 0, 0)) == (0, 1, 1)
    assert primitive_indices(structure_of(bulk("Fe", "bcc", a=2.8)), (1, 1, 0)) != (1, 1, 0)
    assert primitive_indices(structure_of(bulk("Cu", cubic=True)), (2, 1, 0)) == (2, 1, 0)


def test_a_slab_keeps_its_distance_and_its_atoms():
    spec = RecipeSpec(slab_ang=12.0, vacuum_ang=9.0, miller=(1, 0, 0))
    whole, slab = slab_of(COPPER, spec)
    assert len(whole) == len(slab) == 7
    normal = np.cross(slab.cell[0], slab.cell[1])
    heights = slab.positions @ normal / np.linalg.norm(normal)
    assert np.linalg.det(slab.cell) / np.linalg.norm(normal) - np.ptp(heights) == pytest.approx(9.0 + 1.8, abs=1e-6)


def test_labels_of_what_is_computed_side_by_side_are_asked_for_at_once():
    laboratory = Laboratory()
    asked = {"shear_modulus_gpa", "vacancy_energy_ev", "surface_energy_j_m2"}
    rest = dict(advance(recipe(COPPER, RecipeSpec(), set(), References()), laboratory.label))
    laboratory.patience = len(laboratory.asked)
    standing = advance(recipe(COPPER, RecipeSpec(), asked, References()), laboratory.label)
    assert isinstance(standing, Need) and len(standing.structures) == 4 + 2 + 2
    laboratory.patience = 10_000
    properties = dict(advance(recipe(COPPER, RecipeSpec(), asked, References()), laboratory.label))
    assert properties.items() >= rest.items() and asked < set(properties)
