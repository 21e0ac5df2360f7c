"""What the benchmarks of the kernels share: crystals, clocks, a clean environment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np

from hpcmat_kernels.neighbors import NeighborList, neighbor_list
from hpcmat_kernels.simd.emitter import LANES

PERIODIC = (True, True, True)
LATTICES = {"Si": (5.431, [(0, 0, 0), (0.25, 0.25, 0.25)]), "Cu": (3.615, [(0, 0, 0)])}
"""Lattice constant in Å and basis on the fcc lattice."""


@dataclass(frozen=True)
class Crystal:
    """A rattled crystal."""

    element: str
    positions: np.ndarray
    cell: np.ndarray

    def neighbors(self, cutoff: float) -> NeighborList:
        """Pairs within the cutoff."""
        return neighbor_list(self.positions, self.cell, PERIODIC, cutoff)


def crystal(element: str, repeat: int, rattle: float = 0.05) -> Crystal:
    """Diamond silicon or fcc copper, displaced by `rattle` Å (standard deviation)."""
    a, basis = LATTICES[element]
    face_centres = np.array([(0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)])
    sites = (face_centres[:, None] + np.array(basis)[None]).reshape(-1, 3)
    cells = np.array(list(np.ndindex(repeat, repeat, repeat)))
    positions = (cells[:, None] + sites[None]).reshape(-1, 3) * a
    noise = np.random.default_rng(1).normal(scale=rattle, size=positions.shape)
    return Crystal(element, positions + noise, np.eye(3) * repeat * a)


def best(work: Callable[[], object], clock: Callable[[], float] = time.process_time, repeats: int = 5) -> float:
    """Shortest of at least `repeats` repeats in at least 2 s, s."""
    work()
    spent: list[float] = []
    while len(spent) < repeats or sum(spent) < 2.0:
        start = clock()
        work()
        spent.append(clock() - start)
    return min(spent)


def start_clean() -> None:
    """Start again where the environment distorts: BLAS reads it when numpy is loaded."""
    clean = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    clean |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    if clean != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.argv], clean)


def print_machine() -> None:
    """Say which compiler and which vectors the figures are for."""
    version = ".".join(map(str, llvm.llvm_version_info))
    print(f"LLVM {version}, host {llvm.get_host_cpu_name()}, {LANES} lanes of float64")
