"""Forces and stress of a structure by an ASE calculator, as elastic constants ask for them."""

from hpcmat.engines.structures import to_atoms


def by(calculator):
    """Function from a structure to forces (n, 3) in eV/Å and stress (6,) in eV/Å³."""

    def mechanics(structure):
        atoms = to_atoms(structure)
        atoms.calc = calculator
        return atoms.get_forces(), atoms.get_stress()

    return mechanics
