"""Energy, forces and virial of the cluster expansion in JAX: time per atom of large crystals, of batches of small ones.

The peer is the Numba kernel on one core, on the same structures in the same run; on a processor CPU time is counted,
on an accelerator the time that passes. The last rows are derivatives by all parameters of a sum of squares of energies
and forces, as training takes them, beside energies and forces alone. Answers are checked against the kernel before
anything is timed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
from bench_ace import CUTOFF, random_model
from common import Crystal, best, crystal, start_clean
from rows import Row, parser, publish, row

from hpcmat_kernels.ace import AceModel, Evaluation, evaluate, split_coefficients
from hpcmat_kernels.jax.ace import AceParameters, BatchEvaluation, ace_parameters, energies_forces
from hpcmat_kernels.jax.batch import Batch, pad_batch
from hpcmat_kernels.jax.sites import AceShape
from hpcmat_kernels.neighbors import NeighborList

BOUNDS = {"float64": 1e-10, "float32": 1e-5}
"""Largest error relative to the largest value."""
N_SMALL = 64
"""Structures of 64 atoms in a batch."""


@dataclass(frozen=True)
class Case:
    """Structures of one element, their pairs, and what the kernel says of them."""

    name: str
    pairs: list[NeighborList]
    expected: list[Evaluation]
    n_atoms: int
    kernel: float
    """Time of the kernel per atom, s."""


def make_case(model: AceModel, vector: np.ndarray, name: str, systems: list[Crystal]) -> Case:
    """Evaluate and time the kernel."""
    pairs, coefficients = [system.neighbors(CUTOFF) for system in systems], split_coefficients(model, vector)

    def work() -> list[Evaluation]:
        return [evaluate(model, coefficients, one, np.zeros(len(one.offsets) - 1, dtype=int)) for one in pairs]

    n_atoms = sum(len(system.positions) for system in systems)
    return Case(name, pairs, work(), n_atoms, best(work) / n_atoms)


def small_crystals() -> list[Crystal]:
    """Silicon cells of 64 atoms, each displaced in its own way."""
    system = crystal("Si", 2)
    rng = np.random.default_rng(2)
    noise = rng.normal(scale=0.05, size=(N_SMALL, *system.positions.shape))
    return [Crystal("Si", system.positions + displacement, system.cell) for displacement in noise]


def check(case: Case, result: BatchEvaluation) -> None:
    """Stop where the answer is wrong."""
    sets = [
        (result.site_energies[: case.n_atoms], np.concatenate([one.site_energies for one in case.expected])),
        (result.forces[: case.n_atoms], np.concatenate([one.forces for one in case.expected])),
        (result.virials[: len(case.expected)], np.array([one.virial for one in case.expected])),
    ]
    bound = BOUNDS[result.forces.dtype.name]
    for value, expected in sets:
        assert abs(np.asarray(value) - expected).max() < bound * abs(expected).max()


def loss(parameters: AceParameters, shape: AceShape, batch: Batch) -> jax.Array:
    """Something to learn from."""
    result = energies_forces(parameters, shape, batch)
    return (result.energies**2).sum() + (result.forces**2).sum()


def measure(model: AceModel, vector: np.ndarray, case: Case, dtype: str) -> list[Row]:
    """Time one case in one precision."""
    batch = pad_batch(model, [(one, np.zeros(len(one.offsets) - 1, dtype=int)) for one in case.pairs], dtype)
    parameters, shape = ace_parameters(model, vector, dtype), AceShape.of(model)
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    start = time.process_time()
    check(case, energies_forces(parameters, shape, batch))
    n_places, n_neighbors = batch.kinds.shape
    print(
        f"{case.name}, {dtype}: {n_places} places of {n_neighbors} neighbours, "
        f"first call {time.process_time() - start:.1f} s"
    )

    def per_atom(work: Callable[[], object]) -> float:
        return best(lambda: jax.block_until_ready(work()), clock) / case.n_atoms

    seconds = per_atom(lambda: energies_forces(parameters, shape, batch))
    gradient = jax.jit(jax.grad(loss), static_argnums=1)
    slope_seconds = per_atom(lambda: gradient(parameters, shape, batch))
    metric = "time per atom (less is better)"
    return [
        row(f"{case.name}, {dtype}", metric, seconds * 1e6, "us", ("Numba kernel, float64", case.kernel * 1e6)),
        row(
            f"{case.name}, {dtype}, derivatives by the parameters", metric, slope_seconds * 1e6, "us",
            ("energies and forces", seconds * 1e6),
        ),
    ]  # fmt: skip


def main() -> None:
    """Measure two crystals and a batch of small ones, in both precisions."""
    start_clean()
    chosen = parser(__doc__.splitlines()[0]).parse_args()
    # One core, as the peer; read when JAX computes for the first time.
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    jax.config.update("jax_enable_x64", True)
    device = jax.devices()[0]
    print(f"JAX {jax.__version__} on {device.platform}: {device.device_kind}")
    model, vector = random_model("medium")
    cases = [
        make_case(model, vector, "Si 4096 atoms", [crystal("Si", 8)]),
        make_case(model, vector, "Cu 4000 atoms", [crystal("Cu", 10)]),
        make_case(model, vector, f"Si {N_SMALL} x 64 atoms", small_crystals()),
    ]
    rows = [item for case in cases for dtype in BOUNDS for item in measure(model, vector, case, dtype)]
    publish(rows, chosen.json)


if __name__ == "__main__":
    main()
