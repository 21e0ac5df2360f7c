"""GPAW in plane-wave mode (Mortensen et al., J. Chem. Phys. 160, 092503 (2024)).

The package is licensed under the GPL and optional: it is imported inside functions, in worker processes only.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from hpcmat.engines.base import EngineFailure, Job, log_tail, make_method
from hpcmat.engines.kpoints import kpoint_grid
from hpcmat.engines.ranks import calculate_on_ranks
from hpcmat.engines.settings import GpawSettings
from hpcmat.engines.structures import to_atoms
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Label, Method, Structure

LOG_NAME = "gpaw.txt"
INSTALL = 'CC=g++ pip install "hpcmat[gpaw]"'
SCF_STEPS = 333
MORE_SCF_STEPS = 1000
INITIAL_MOMENT_BOHR = 1.0
"""Magnetic moment each atom starts from in a spin-polarized calculation, parallel on all atoms."""

BACKEND_VARIABLE = "GPAW_MPI_BACKEND"

_GENTLE_MIXER = {"name": "pulay", "beta": 0.02, "nmaxold": 8, "weight": 50.0}
_OTHER_EIGENSOLVER = {"name": "davidson", "niter": 4}


@dataclass(frozen=True, slots=True)
class GpawEngine:
    """GPAW with given settings; `scf_steps` limits the self-consistency cycle."""

    settings: GpawSettings
    scf_steps: int = SCF_STEPS

    @property
    def name(self) -> str:
        """Name of the code."""
        return "gpaw"

    def check(self, symbols: Iterable[str]) -> None:
        """Raise `InputError` when GPAW is missing, or has no PAW data set for an element and functional."""
        data_sets(symbols, self.settings.xc)

    def method(self, symbols: Iterable[str]) -> Method:
        """Version of GPAW, the settings, and the hashes of the PAW data sets."""
        files = data_sets(symbols, self.settings.xc)
        return make_method(self.settings, version("gpaw"), {path.name: path for path in files.values()})

    def warm_up(self) -> None:
        """Import GPAW's plane-wave code."""
        _require_package()
        import gpaw
        import gpaw.new.pw.builder

        # An attribute that the package imports on first use.
        _ = gpaw.GPAW

    def calculate(self, structure: Structure, job: Job) -> Label:
        """Free energy, forces and stress from one self-consistent calculation.

        Raises
        ------
        EngineFailure
            Not converged, diverged, out of memory, unphysical or bad settings.
        """
        if not all(structure.pbc):
            raise EngineFailure(
                FailureKind.BAD_SETTINGS,
                "plane waves need a cell that is periodic in three directions; add vacuum and set pbc to true",
            )
        if job.parallel.ranks > 1:
            return calculate_on_ranks(self.settings, structure, job, os.environ | {BACKEND_VARIABLE: mpi_backend()})
        return self.calculate_on_rank(structure, job, rank=0)

    def calculate_on_rank(self, structure: Structure, job: Job, rank: int) -> Label:
        """The same in a process that may be one of several; all have the result."""
        from gpaw import ConvergenceError

        try:
            return self._converged(structure, self._calculator(structure, job))
        except (ConvergenceError, MemoryError, ValueError, FileNotFoundError, NameError) as error:
            failure = _classify(error, log_tail(job.folder / LOG_NAME))
            if failure is None:
                raise
            raise failure from error

    def _converged(self, structure: Structure, calculator: Any) -> Label:
        atoms = to_atoms(structure)
        if self.settings.spin_polarized:
            atoms.set_initial_magnetic_moments([INITIAL_MOMENT_BOHR] * len(atoms))
        atoms.calc = calculator
        energy = float(atoms.get_potential_energy(force_consistent=True))
        return Label(
            structure=structure,
            energy=energy,
            forces=np.array(atoms.get_forces(), dtype=np.float64),
            stress=np.array(atoms.get_stress(), dtype=np.float64),
            method=self.method(set(structure.symbols)),
            energy_kind="free",
            scf_steps=int(calculator.get_number_of_iterations()),
        )

    def _calculator(self, structure: Structure, job: Job) -> Any:
        from gpaw import GPAW

        settings = self.settings
        size = kpoint_grid(structure.cell, settings.kpoint_spacing_per_ang)
        return GPAW(
            mode={"name": "pw", "ecut": settings.cutoff_ev},
            xc=settings.xc,
            kpts={"size": size, "gamma": True} if settings.kpoint_grid == "gamma" else {"size": size},
            occupations={"name": "fermi-dirac", "width": settings.smearing_ev},
            spinpol=settings.spin_polarized,
            convergence={"energy": settings.energy_tolerance_ev, "density": settings.density_tolerance},
            txt=str(job.folder / LOG_NAME),
            parallel=_shared_out(job.parallel.ranks),
            **self._road(job.remedies),
        )

    def _road(self, remedies: tuple[str, ...]) -> dict[str, Any]:
        road: dict[str, Any] = {"maxiter": MORE_SCF_STEPS if "more-steps" in remedies else self.scf_steps}
        if "mixing" in remedies:
            road["mixer"] = dict(_GENTLE_MIXER)
        if "eigensolver" in remedies:
            road["eigensolver"] = dict(_OTHER_EIGENSOLVER)
        return road


def mpi_backend() -> str:
    """GPAW's way to MPI: its own where it was compiled with it, else mpi4py."""
    _require_package()
    from gpaw import cgpaw

    return "cgpaw" if cgpaw.have_mpi else "mpi4py"


def _shared_out(ranks: int) -> dict[str, int]:
    """What the ranks share out: without ScaLAPACK k-points alone, else what GPAW likes."""
    from gpaw.utilities import compiled_with_sl

    return {} if ranks == 1 or compiled_with_sl() else {"kpt": ranks, "domain": 1, "band": 1}


def data_sets(symbols: Iterable[str], xc: str) -> dict[str, Path]:
    """PAW data set of each element, found as GPAW finds it: first folder of its search path that has one.

    Raises
    ------
    InputError
        GPAW is not installed, or an element has no data set for this functional.
    """
    _require_package()
    from gpaw import setup_paths

    found: dict[str, Path] = {}
    for symbol in sorted(set(symbols)):
        folders = (Path(folder) for folder in setup_paths)
        files = (sorted(folder.glob(f"{symbol}.{xc}")) + sorted(folder.glob(f"{symbol}.{xc}.gz")) for folder in folders)
        candidates = next((group for group in files if group), None)
        if candidates is None:
            raise InputError(
                f"GPAW has no {xc} data set for {symbol} in its search path; install gpaw-data "
                f"({INSTALL}), name a folder in GPAW_SETUP_PATH, or choose another functional"
            )
        found[symbol] = max(candidates)
    return found


def _require_package() -> None:
    if importlib.util.find_spec("gpaw") is None:
        raise InputError(f"GPAW is not installed; install it with: {INSTALL}")


def _classify(error: Exception, tail: str) -> EngineFailure | None:
    """Typed failure for what GPAW raised; None when it is not known."""
    from gpaw import ConvergenceError
    from gpaw.utilities import AtomsTooClose

    if isinstance(error, ConvergenceError):
        message = "the self-consistency cycle did not converge; use gentler mixing or more steps"
        return EngineFailure(FailureKind.NOT_CONVERGED, message, tail)
    if isinstance(error, MemoryError):
        return EngineFailure(FailureKind.OUT_OF_MEMORY, "GPAW ran out of memory; give the task more memory", tail)
    if "Too few spins" in str(error):
        message = f"{error}; GPAW without ScaLAPACK shares out k-points alone: use fewer ranks, or a GPAW built with it"
        return EngineFailure(FailureKind.BAD_SETTINGS, message, tail)
    if isinstance(error, AtomsTooClose):
        return EngineFailure(FailureKind.UNPHYSICAL, f"{error}; leave this structure out", tail)
    if isinstance(error, np.linalg.LinAlgError) or "NaN" in str(error):
        return EngineFailure(FailureKind.DIVERGED, f"the cycle diverged ({error}); use gentler mixing", tail)
    if isinstance(error, FileNotFoundError | NameError) and ("PAW" in str(error) or "LibXC" in str(error)):
        return EngineFailure(FailureKind.BAD_SETTINGS, f"{error}; choose another functional", tail)
    return None
