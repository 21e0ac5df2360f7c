"""Neighbor lists on one core: full and half, with the same output as vesin, matscipy and ASE in the same run.

All are asked for first atom, second atom and lattice translation, then for the vectors too, in the caller's order. The
pairs are compared with those of every peer before anything is timed. `--memory N` instead makes the list of N atoms
and prints what it took.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import matscipy.neighbours
import numpy as np
import vesin
from ase import Atoms
from ase.neighborlist import neighbor_list as ase_neighbor_list
from common import PERIODIC, Crystal, best, crystal, print_machine, start_clean
from rows import Row, parser, publish, row

from hpcmat_kernels.neighbors import neighbor_list, neighbor_pairs
from hpcmat_kernels.neighbors.search import all_neighbors

CUTOFF = 5.0
RATTLE = 0.07
MEMORY_CUTOFF = 3.0
Peer = Callable[[], tuple[np.ndarray, ...]]


def vesin_list(system: Crystal, quantities: str, full: bool = True) -> Peer:
    """A call of vesin."""
    calculator = vesin.NeighborList(cutoff=CUTOFF, full_list=full)
    arguments = {"points": system.positions, "box": system.cell, "periodic": True, "quantities": quantities}
    return lambda: calculator.compute(**arguments)


def atoms_of(system: Crystal) -> Atoms:
    """The crystal for ASE and matscipy."""
    return Atoms(f"{system.element}{len(system.positions)}", system.positions, cell=system.cell, pbc=True)


def sorted_pairs(first: np.ndarray, second: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Pairs in an order of their own."""
    table = np.column_stack([first, second, shifts]).astype(np.int64)
    return table[np.lexsort(table.T)]


def check(system: Crystal) -> None:
    """Stop where a list differs from that of a peer."""
    atoms = atoms_of(system)
    pairs = neighbor_pairs(system.positions, system.cell, PERIODIC, CUTOFF)
    ours = sorted_pairs(pairs.first, pairs.second, pairs.shifts)
    peers = [
        vesin_list(system, "ijS")(),
        matscipy.neighbours.neighbour_list("ijS", atoms, CUTOFF),
        ase_neighbor_list("ijS", atoms, CUTOFF),
    ]
    for peer in peers:
        assert (sorted_pairs(*peer[:3]) == ours).all()
    half = neighbor_pairs(system.positions, system.cell, PERIODIC, CUTOFF, half=True)
    back = sorted_pairs(half.second, half.first, -half.shifts)
    both = np.concatenate([sorted_pairs(half.first, half.second, half.shifts), back])
    assert (both[np.lexsort(both.T)] == ours).all()


def measure(system: Crystal) -> list[Row]:
    """Rows of one crystal."""
    n, arguments = len(system.positions), (system.positions, system.cell, PERIODIC, CUTOFF)
    n_pairs = len(neighbor_pairs(*arguments))
    case = f"{system.element} {n} atoms, cutoff {CUTOFF} Å, {n_pairs / n:.1f} neighbours"
    periodic, atoms = np.array(PERIODIC), atoms_of(system)
    ours = {
        "pairs": best(lambda: neighbor_pairs(*arguments)),
        "vectors": best(lambda: neighbor_list(*arguments)),
        "half": best(lambda: neighbor_pairs(*arguments, half=True)),
        "rows": best(lambda: all_neighbors(system.positions, (system.cell, periodic), CUTOFF, False)),
    }
    peers = {
        "pairs": ("vesin ijS", best(vesin_list(system, "ijS"))),
        "vectors": ("vesin ijSD", best(vesin_list(system, "ijSD"))),
        "half": ("vesin ijS, half", best(vesin_list(system, "ijS", full=False))),
        "rows": ("vesin ij", best(vesin_list(system, "ij"))),
    }
    matscipy_s = best(lambda: matscipy.neighbours.neighbour_list("ijS", atoms, CUTOFF))
    names = {
        "pairs": "full list, i j S",
        "vectors": "full list, i j S D",
        "half": "half list, i j S",
        "rows": "rows for pair styles",
    }
    rows = [
        row(case, names[kind], n / seconds * 1e-3, "k atoms/s", (peers[kind][0], n / peers[kind][1] * 1e-3))
        for kind, seconds in ours.items()
    ]
    rows.append(row(case, names["pairs"], n / ours["pairs"] * 1e-3, "k atoms/s", ("matscipy", n / matscipy_s * 1e-3)))
    if n <= 4000:
        ase_s = best(lambda: ase_neighbor_list("ijS", atoms, CUTOFF))
        rows.append(row(case, names["pairs"], n / ours["pairs"] * 1e-3, "k atoms/s", ("ase", n / ase_s * 1e-3)))
    return rows


def memory(repeat: int) -> None:
    """Make one large list, and print what it took beyond the structure."""
    small = crystal("Cu", 5, RATTLE)
    neighbor_pairs(small.positions, small.cell, PERIODIC, MEMORY_CUTOFF)
    system = crystal("Cu", repeat, RATTLE)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    start = time.process_time()
    pairs = neighbor_pairs(system.positions, system.cell, PERIODIC, MEMORY_CUTOFF)
    seconds = time.process_time() - start
    # The peak of the whole process, which only a structure larger than the list could have reached before.
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - resident
    n = len(system.positions)
    assert pairs.offsets[-1] == len(pairs)
    print(
        f"Cu {n} atoms, cutoff {MEMORY_CUTOFF} Å, {len(pairs) / n:.2f} neighbours: peak {taken / 1e9:.2f} GB more than "
        f"{resident / 1e9:.2f} GB before, {taken / n:.0f} bytes per atom; {n / seconds * 1e-3:.0f} k atoms/s"
    )


def main() -> None:
    """Measure copper and silicon, small and large."""
    start_clean()
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--memory", type=int, metavar="N", help="only measure the memory of about N atoms")
    chosen = options.parse_args()
    print_machine()
    if chosen.memory:
        memory(max(1, round((chosen.memory / 4) ** (1 / 3))))
        return
    check(crystal("Cu", 5, RATTLE))
    rows: list[Row] = []
    for element, repeat in (("Cu", 10), ("Cu", 20), ("Si", 16)):
        rows += measure(crystal(element, repeat, RATTLE))
    publish(rows, chosen.json)


if __name__ == "__main__":
    main()
