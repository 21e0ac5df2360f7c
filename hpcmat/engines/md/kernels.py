"""The compiled dynamics of the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version as version_of

from hpcmat.engines.base import EngineFailure
from hpcmat.errors import InputError
from hpcmat.records import FailureKind
from hpcmat.surrogates.molecular_dynamics import kernel_potential
from hpcmat.surrogates.potential import Potential
from hpcmat_kernels.md import driver
from hpcmat_kernels.md.settings import Settings
from hpcmat_kernels.md.state import State, Trajectory


@dataclass(frozen=True, slots=True)
class KernelDynamics:
    """Our kernels with a potential and its committee."""

    potential: Potential

    @property
    def name(self) -> str:
        """Name of the code."""
        return "kernels"

    @property
    def version(self) -> str:
        """Version of hpcmat, of which the kernels are a part."""
        return version_of("hpcmat")

    def run(self, state: State, settings: Settings, steps: int) -> Trajectory:
        """See `hpcmat_kernels.md.driver.run`; raises InputError and EngineFailure (`DIVERGED`)."""
        try:
            return driver.run(kernel_potential(self.potential), state, settings, steps)
        except driver.FlownApartError as error:
            raise EngineFailure(FailureKind.DIVERGED, str(error)) from error
        except ValueError as error:
            raise InputError(str(error)) from error
