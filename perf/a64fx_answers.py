"""Answers of the kernels on small crystals: written on one machine, compared on another.

a64fx_answers.py write FILE      the answers of this machine
a64fx_answers.py compare FILE    stop where those of this machine differ, or its code lacks scalable vectors
"""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

import numpy as np
from common import PERIODIC, Crystal, crystal

from hpcmat_kernels.ace import ace_model, evaluate, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.mixing import mixing_rows
from hpcmat_kernels.pair import evaluate as evaluate_pairs
from hpcmat_kernels.pair import lennard_jones, zbl
from hpcmat_kernels.pair.lj_kernel import lj_sites
from hpcmat_kernels.simd.sites import evaluate_shared

CUTOFF = 5.0
SIZES = {"medium": (1, 8, 4, 16, (4, 2)), "small, two elements": (2, 6, 3, 8, (3, 2))}
"""Elements, radial functions, largest degree, channels, degrees of the products."""
TOLERANCE = 1e-10
"""Of the largest number in an array: the order of sums and the use of fused products differ."""
SCALABLE = r"\bf(?:n?mla|mad|nmls|msb)\s+z\d+\.d"
"""Fused multiply-add on 512-bit registers of SVE."""
FEWEST = {"ACE": 600, "Lennard-Jones": 10}
"""Such instructions; each term of a coupling, a density and a harmonic is one."""


def answers() -> dict[str, np.ndarray]:
    """Arrays by name: energies, forces, virials and rows."""
    found: dict[str, np.ndarray] = {}
    for element, repeat in (("Si", 2), ("Cu", 2)):
        system = crystal(element, repeat)
        for name, size in SIZES.items():
            found |= {f"{element}, {name}, {key}": value for key, value in cluster_expansion(system, size).items()}
        for name, style in (("Lennard-Jones", lennard_jones(0.4, 2.3, CUTOFF)), ("ZBL", zbl([14], 1.0, 2.5))):
            species = np.zeros(len(system.positions), dtype=int)
            result = evaluate_pairs(style, system.positions, system.cell, PERIODIC, species)
            found |= {f"{element}, {name}, {key}": getattr(result, key) for key in ("site_energies", "forces")}
    return found


def cluster_expansion(system: Crystal, size: tuple[int, int, int, int, tuple[int, int]]) -> dict[str, np.ndarray]:
    """What the kernels of the cluster expansion give for random coefficients."""
    n_species, n_radial, l_max, n_channels, degrees = size
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(n_species, l_max + 1, n_species * n_radial, n_channels)) / np.sqrt(n_radial)
    model = ace_model(mixing, CUTOFF, 1.0, degrees)
    coefficients = split_coefficients(model, rng.normal(size=model.n_features) * 0.01)
    pairs, species = system.neighbors(CUTOFF), np.arange(len(system.positions)) % n_species
    result = evaluate(model, coefficients, pairs, species)
    rows, slopes = design_rows(model, pairs, species), mixing_rows(model, coefficients, pairs, species)
    return {
        "site energies": result.site_energies, "forces": result.forces, "virial": result.virial,
        "design rows": rows.forces, "mixing rows": slopes.forces,
    }  # fmt: skip


def compare(expected: Path) -> None:
    """Stop where an array differs by more than the tolerance."""
    found, given = answers(), np.load(expected)
    assert sorted(found) == sorted(given.files), "the file is of another version: write it anew"
    worst = 0.0
    for name, value in found.items():
        difference = abs(value - given[name]).max() / abs(given[name]).max()
        assert difference < TOLERANCE, f"{name}: differs by {difference:.1e} of the largest"
        worst = max(worst, float(difference))
    print(f"{platform.machine()}: {len(found)} arrays agree to {worst:.1e} of their largest number")


def check_code() -> None:
    """Stop where the code that has just run is not made of scalable vectors."""
    for name, function in (("ACE", evaluate_shared), ("Lennard-Jones", lj_sites)):
        count = max(len(re.findall(SCALABLE, code)) for code in function.inspect_asm().values())
        assert count >= FEWEST[name], f"{name}: only {count} fused multiply-adds on SVE registers"
        print(f"{name}: {count} fused multiply-adds on SVE registers")


def main() -> None:
    """Write or compare."""
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "compare"):
        raise SystemExit(__doc__)
    if sys.argv[1] == "write":
        np.savez(sys.argv[2], **answers())
        return
    compare(Path(sys.argv[2]))
    if platform.machine() == "aarch64":
        check_code()


if __name__ == "__main__":
    main()
