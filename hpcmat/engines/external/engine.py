"""The engine around an external code: check, write, run, read, keep. What is the code's own is left to its subclass."""

from __future__ import annotations

import math
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from hpcmat.engines.base import EngineFailure, Job, log_tail, make_method
from hpcmat.engines.external.calculation import (
    ENDING_NAME,
    SCRATCH_NAME,
    Calculation,
    tidy,
    write_asked,
    write_ending,
)
from hpcmat.engines.external.code import Code
from hpcmat.engines.external.run import STDERR_NAME, Ending, Invocation, run_program
from hpcmat.errors import InputError
from hpcmat.records import FailureKind, Label, Method, Structure

TIME_FRACTION = 0.9
"""Part of the walltime after which a code is to stop by itself and leave what a restart needs."""


class ExternalEngine(ABC):
    """A code that runs as a program of its own, with given settings.

    A subclass is a frozen dataclass with a field `settings`, a model derived from `ExternalSettings`. It says which
    program it is, which data files it reads, what it writes before the run, and what the files say after it. `read`
    runs nothing and changes no file, so that old outputs can be read again.
    """

    __slots__ = ()

    code: ClassVar[Code]
    collected: ClassVar[tuple[str, ...]] = ()
    """Files that the code writes into its scratch folder and that `read` needs beside the output."""
    discarded: ClassVar[tuple[str, ...]] = ()
    """Patterns of files in the work folder that never stay: data sets of other people, whose hashes say enough."""

    settings: Any

    @abstractmethod
    def data_files(self, symbols: Iterable[str]) -> dict[str, Path]:
        """Pseudopotential, basis or parameter file of each element.

        Raises
        ------
        InputError
            One is missing, or belongs to another functional; says where it was looked for and how to get it.
        """

    @abstractmethod
    def write(self, calculation: Calculation, job: Job) -> Invocation:
        """Write the input files into `job.folder`; returns how the code is to be started on them."""

    @abstractmethod
    def read(self, calculation: Calculation, folder: Path, ending: Ending) -> Label:
        """The label that the files of a finished run give.

        Raises
        ------
        EngineFailure
            Anything but a converged, complete and consistent result of the calculation that was asked for.
        """

    @property
    def name(self) -> str:
        """Name of the code as in the campaign file."""
        return str(self.settings.name)

    def check(self, symbols: Iterable[str]) -> None:
        """Raise `InputError` when program, version or a data file is missing."""
        self.method(symbols)

    def check_cell(self, structure: Structure) -> None:
        """Raise `InputError` for a structure that is not periodic in three directions."""
        if not all(structure.pbc):
            raise InputError(
                f"{self.code.title} needs a cell that is periodic in three directions; add vacuum and set pbc to true"
            )

    def method(self, symbols: Iterable[str]) -> Method:
        """Version of the program, the settings, and the hashes of the data files."""
        files = self.data_files(symbols)
        version = self.settings.code_version or self.code.version()
        return make_method(self.settings, version, {path.name: path for path in files.values()})

    def warm_up(self) -> None:
        """Ask the program for its version, so that forked children know it."""
        if self.settings.code_version is None:
            self.code.version()

    def calculate(self, structure: Structure, job: Job) -> Label:
        """Energy, forces and stress from one run in `job.folder`.

        Raises
        ------
        EngineFailure
            The run gave no acceptable result.
        InputError
            The program or a data file is missing.
        """
        try:
            self.check_cell(structure)
        except InputError as error:
            raise EngineFailure(FailureKind.BAD_SETTINGS, str(error)) from error
        executable = self.code.command()
        method = self.method(set(structure.symbols))
        asked = Calculation(structure, self.settings, method, job.attempt, job.remedies, executable)
        _prepare_scratch(job)
        invocation = self.write(asked, job)
        write_asked(asked, job.folder)
        ending = run_program(executable, invocation, job.folder, job.parallel)
        write_ending(ending, job.folder)
        return self._result(asked, job.folder, ending)

    def _result(self, asked: Calculation, folder: Path, ending: Ending) -> Label:
        for name in self.collected:
            source = folder / SCRATCH_NAME / name
            if source.is_file():
                source.replace(folder / name)
        for path in (path for pattern in self.discarded for path in folder.glob(pattern)):
            path.unlink()
        policy = self.settings.keep_files
        try:
            label = self.read(asked, folder, ending)
        except EngineFailure as failure:
            resumable = failure.kind is FailureKind.WALLTIME
            tidy(folder, keep_files=policy != "none", keep_scratch=resumable)
            raise
        tidy(folder, keep_files=policy == "all", keep_scratch=False)
        return label


def _prepare_scratch(job: Job) -> None:
    """An empty scratch folder, or that of an attempt which stopped by itself before its walltime, to go on from."""
    scratch, earlier = job.folder / SCRATCH_NAME, job.previous / SCRATCH_NAME
    # Without the ending the code was killed, and what it left may be half written.
    stopped = earlier.is_dir() and (job.previous / ENDING_NAME).is_file()
    if stopped and not scratch.exists():
        earlier.rename(scratch)
    shutil.rmtree(earlier, ignore_errors=True)
    scratch.mkdir(exist_ok=True)


def check_version(stated: str, calculation: Calculation) -> None:
    """Refuse the output of another version than the one that entered the content key.

    Raises
    ------
    EngineFailure
        `BAD_SETTINGS`, since every run of this program would fail in the same way.
    """
    if stated != calculation.method.version:
        raise EngineFailure(
            FailureKind.BAD_SETTINGS,
            f"the output is of version {stated}, but {calculation.method.version} was asked for; "
            "correct engine.code_version, or start the driver again after an update of the code",
        )


def check_ending(ending: Ending, folder: Path, output: str) -> None:
    """Failure of a run whose exit code says that it went wrong, for codes that say nothing more precise.

    Raises
    ------
    EngineFailure
        `KILLED` for SIGTERM, by which schedulers end jobs; `OUT_OF_MEMORY` for SIGKILL, which the kernel sends then;
        `CRASH` for any other signal or exit code.
    """
    if ending.code in {0, None}:
        return
    tail = log_tail(folder / STDERR_NAME) or log_tail(folder / output)
    if ending.code in {-15, 143}:
        raise EngineFailure(FailureKind.KILLED, "the program was ended from outside (SIGTERM)", tail)
    if ending.code in {-9, 137}:
        message = "the program was killed (SIGKILL), as the kernel does when memory runs out; give it more memory"
        raise EngineFailure(FailureKind.OUT_OF_MEMORY, message, tail)
    raise EngineFailure(FailureKind.CRASH, f"the program ended with exit code {ending.code}; run it again", tail)


def check_occupations(electrons: float, smearing_ev: float) -> None:
    """Refuse fixed occupations for an odd number of electrons: some codes compute half a band then, silently.

    Raises
    ------
    EngineFailure
        `BAD_SETTINGS`.
    """
    if smearing_ev == 0.0 and round(electrons) % 2:
        message = f"fixed occupations cannot hold {electrons:g} electrons; set engine.smearing_ev, for example to 0.1"
        raise EngineFailure(FailureKind.BAD_SETTINGS, message)


def bands(electrons: float, many: bool, spins: bool = False) -> int:
    """Bands of a calculation with smearing: 20 % more than are full in an insulator, at least 4; or twice as many.

    The smaller number is the default of pw.x; that of ABINIT is too small for four atoms of aluminium. Of two spins one
    has more electrons than the other, and both get half as many bands again: the default is too small for iron.
    """
    share = 0.75 if spins else 0.6
    return int(electrons) + 8 if many else max(math.ceil(share * electrons), math.ceil(electrons / 2.0) + 4)
