"""LAMMPS (Thompson et al., Comput. Phys. Commun. 271, 108171 (2022)) with a potential exported as a plugin.

The package is licensed under the GPL and optional: it is imported inside functions. It integrates by velocity Verlet
as the kernels do, in the same units: masses and temperatures are handed over such that its own constants, which are of
an older CODATA table, cancel. A bath is its `fix langevin`, the same ensemble by another integrator and other random
numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpcmat.engines.base import EngineFailure
from hpcmat.engines.md.base import flown_apart
from hpcmat.engines.md.lammps_box import check_box
from hpcmat.engines.md.lammps_session import LammpsError, PairStyle, Session
from hpcmat.errors import InputError
from hpcmat.records import FailureKind
from hpcmat.store.atomic import make_folder
from hpcmat.surrogates.potential import Potential
from hpcmat_kernels.lammps.build import build_plugin
from hpcmat_kernels.lammps.library import import_lammps
from hpcmat_kernels.lammps.plugin import STYLE, plugin_source
from hpcmat_kernels.md.loop import LARGEST_KINETIC_ENERGY
from hpcmat_kernels.md.settings import Settings, check_settings
from hpcmat_kernels.md.state import State, Trajectory, check_state

LOG_NAME = "log.lammps"


def export_to_lammps(potential: Potential, folder: Path) -> LammpsDynamics:
    """Compile the potential as a plugin in `folder`, which takes seconds, and bind LAMMPS to it.

    Raises
    ------
    InputError
        LAMMPS, its headers or a compiler is missing; says how to get it.
    """
    elements = potential.settings.elements
    try:
        import_lammps()
        make_folder(folder)
        coefficients, repulsion = potential.kernel_coefficients, potential.repulsion
        library = build_plugin(plugin_source(potential.model, coefficients, elements, repulsion=repulsion), folder)
    except ValueError as error:
        raise InputError(str(error)) from error
    return LammpsDynamics(library, elements)


@dataclass(frozen=True, slots=True)
class LammpsDynamics:
    """LAMMPS in this process with a compiled plugin; its log is written beside the plugin."""

    plugin: Path
    elements: tuple[str, ...]
    """Species of the potential, in its order."""

    @property
    def name(self) -> str:
        """Name of the code."""
        return "lammps"

    @property
    def version(self) -> str:
        """Date of the version, as LAMMPS states it."""
        engine = import_lammps().lammps(cmdargs=["-screen", "none", "-log", "none"])
        try:
            return str(engine.version())
        finally:
            engine.close()

    def run(self, state: State, settings: Settings, steps: int) -> Trajectory:
        """Velocity Verlet, with `fix langevin` where there is a bath; see `DynamicsEngine.run`.

        Raises
        ------
        InputError
            Also for what LAMMPS cannot do: a barostat of this kind, limits of the uncertainty, cells that are periodic
            along some axes only, and different masses within one species.
        EngineFailure
            `DIVERGED` (lost atoms, or more than 100 eV of kinetic energy per atom), `NOT_FINITE`, or `CRASH` with what
            LAMMPS said.
        """
        self._check(state, settings, steps)
        try:
            with Session(self._pair_style(), state, settings, self.plugin.parent / LOG_NAME) as session:
                return _frames(session, settings.sample_every, steps)
        except LammpsError as error:
            raise _classify(str(error)) from error

    def _check(self, state: State, settings: Settings, steps: int) -> None:
        try:
            check_state(state)
            check_settings(settings, all(state.pbc))
        except ValueError as error:
            raise InputError(str(error)) from error
        if settings.barostat is not None or settings.stop is not None:
            ignored = "barostat" if settings.barostat is not None else "stop"
            raise InputError(f"LAMMPS has no equal of the setting `{ignored}`; leave it out, or use the kernels")
        if steps < 0 or not 0 <= state.species.min() <= state.species.max() < len(self.elements):
            raise InputError(f"give 0 or more steps, and species 0 .. {len(self.elements) - 1} of {self.elements}")
        check_box(state)

    def _pair_style(self) -> PairStyle:
        commands = f"plugin load {self.plugin}\npair_style {STYLE}\npair_coeff * * {' '.join(self.elements)}"
        return PairStyle(commands, len(self.elements))


def _frames(session: Session, every: int, steps: int) -> Trajectory:
    done = 0
    _check_motion(session)
    session.keep(done)
    while done < steps:
        chunk = min(every - done % every, steps - done)
        session.advance(chunk)
        done += chunk
        _check_motion(session)
        if done % every == 0:
            session.keep(done)
    return session.trajectory(done)


def _check_motion(session: Session) -> None:
    potential, kinetic = session.energies()
    n = len(session.masses)
    if kinetic >= LARGEST_KINETIC_ENERGY * n:
        raise flown_apart(f"a kinetic energy of {kinetic / n:.3g} eV per atom")
    # NaN is neither above nor below.
    if not abs(potential) + kinetic < float("inf"):
        raise EngineFailure(FailureKind.NOT_FINITE, "energies are not finite; shorten the time step")


def _classify(message: str) -> EngineFailure:
    stated = " ".join(message.split())
    if "Lost atoms" in stated or "out of range atoms" in stated:
        return flown_apart(stated)
    if "Non-numeric" in stated or "Inf" in stated or "NaN" in stated:
        return EngineFailure(FailureKind.NOT_FINITE, f"{stated}; shorten the time step")
    return EngineFailure(FailureKind.CRASH, f"LAMMPS: {stated}; run it again")
