"""The ASE calculators that may stand in for first principles, with published parameters and analytic stress."""

from __future__ import annotations

from typing import Any

from hpcmat.errors import InputError

ELEMENTS: dict[str, frozenset[str]] = {
    "lj": frozenset({"Ar"}),
    "emt": frozenset({"Al", "Ni", "Cu", "Pd", "Ag", "Pt", "Au"}),
    "morse": frozenset({"Cu"}),
    "stillinger-weber": frozenset({"Si"}),
    "tersoff": frozenset({"Si"}),
}
"""Elements each calculator has parameters for."""

# Si(C) of Tersoff, Phys. Rev. B 38, 9902 (1988), in the order of LAMMPS: m gamma lambda3 c d h n beta lambda2 B R D
# lambda1 A (eV, Å).
_TERSOFF_SI = (
    3.0, 1.0, 0.0, 1.0039e5, 16.217, -0.59825, 0.78734, 1.1e-6, 1.73222, 471.18, 2.85, 0.15, 2.4799, 1830.8,
)  # fmt: skip


def check_elements(calculator: str, symbols: set[str]) -> None:
    """Raise `InputError` for an element without parameters."""
    missing = sorted(symbols - ELEMENTS[calculator])
    if missing:
        known = ", ".join(sorted(ELEMENTS[calculator]))
        raise InputError(f"{calculator} has no parameters for {', '.join(missing)}; it knows {known}")


def make_calculator(name: str) -> Any:
    """ASE calculator by the name it has in the settings.

    `lj`: argon, ε = 0.0104 eV, σ = 3.40 Å, smooth cutoff 8.5 Å. `morse`: copper of Girifalco and Weizer,
    Phys. Rev. 114, 687 (1959). `emt`: ASE's effective medium theory. `tersoff`: Si(C). `stillinger-weber`: silicon.
    """
    if name == "lj":
        from ase.calculators.lj import LennardJones

        return LennardJones(epsilon=0.0104, sigma=3.40, rc=8.5, ro=7.5, smooth=True)
    if name == "morse":
        from ase.calculators.morse import MorsePotential

        return MorsePotential(epsilon=0.3429, r0=2.866, rho0=1.3588 * 2.866, rcut1=1.9, rcut2=2.4)
    if name == "emt":
        from ase.calculators.emt import EMT

        return EMT()
    if name == "tersoff":
        from ase.calculators.tersoff import Tersoff, TersoffParameters

        return Tersoff({("Si", "Si", "Si"): TersoffParameters(*_TERSOFF_SI)})
    from hpcmat.engines.stillinger_weber import StillingerWeber

    return StillingerWeber()
