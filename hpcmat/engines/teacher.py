"""Any ASE calculator standing in for first principles: rehearsals of campaigns, and tests.

It behaves as an external code does: it takes its time, writes an output file in the work folder, may fail in every
way a code fails, and the label is what can be read back from the file. Durations and faults are drawn from the
content key, so that a campaign repeated meets the same ones; or durations from the number of the execution, so that
campaigns that label different structures spend the same time on them.
"""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from hpcmat.engines.base import EngineFailure, Job, key_of, log_tail, make_method
from hpcmat.engines.calculators import check_elements, make_calculator
from hpcmat.engines.ranks import calculate_on_ranks
from hpcmat.engines.settings import DurationSettings, TeacherSettings
from hpcmat.engines.structures import to_atoms
from hpcmat.engines.teacher_output import Output, read_output, write_output
from hpcmat.records import FailureKind, Label, Method, Structure

OUTPUT_NAME = "teacher.out"
FAULTS = ("crash", "hang", "not_finite", "not_converged", "truncated")
"""In the order in which they are drawn; at most one happens in one execution."""


@dataclass(frozen=True, slots=True)
class TeacherEngine:
    """An ASE calculator with the manners of a first-principles code."""

    settings: TeacherSettings

    @property
    def name(self) -> str:
        """Name of the code."""
        return "teacher"

    def check(self, symbols: Iterable[str]) -> None:
        """Raise `InputError` for an element that the calculator has no parameters for."""
        check_elements(self.settings.calculator, set(symbols))

    def method(self, symbols: Iterable[str]) -> Method:
        """Version of ASE and the physical settings; it reads no data files."""
        import ase

        return make_method(self.settings, f"ase {ase.__version__}")

    def warm_up(self) -> None:
        """Import the calculator."""
        make_calculator(self.settings.calculator)

    def calculate(self, structure: Structure, job: Job) -> Label:
        """Energy, forces and stress as read from the output file of one execution.

        Raises
        ------
        EngineFailure
            Not converged or corrupt output. Crashes and hangs are real: the process dies or never returns.
        """
        key = key_of(structure, self.method(structure.symbols))
        number = self._note("start", key, job)
        # Ranks see neither the ledger nor the number of this execution in it.
        fixed = DurationSettings(median_s=self._duration_s(key, number))
        asked = self.settings.model_copy(update={"duration": fixed, "ledger": None})
        lost = False
        try:
            if job.parallel.ranks > 1:
                return calculate_on_ranks(asked, structure, job)
            return self._label(structure, _read_back(TeacherEngine(asked)._execute(structure, job), structure))
        except EngineFailure as failure:
            # Ranks that were lost on their way did not come to their end.
            lost = failure.kind is FailureKind.CRASH
            raise
        finally:
            if not lost:
                self._note("end", key, job)

    def calculate_on_rank(self, structure: Structure, job: Job, rank: int) -> Label | None:
        """Rank 0 does the work while the others take as long; crashes and hangs befall the last one."""
        output = self._execute(structure, job, writes=rank == 0, dies=rank == job.parallel.ranks - 1)
        return self._label(structure, _read_back(output, structure)) if rank == 0 else None

    def _label(self, structure: Structure, output: Output) -> Label:
        return Label(
            structure=structure,
            energy=output.energy,
            forces=output.forces,
            stress=output.stress,
            method=self.method(set(structure.symbols)),
            energy_kind="total",
            scf_steps=output.scf_steps,
        )

    def _execute(self, structure: Structure, job: Job, *, writes: bool = True, dies: bool = True) -> Path:
        """Take the time, meet the fault and write the output file; one of several ranks may do a part of it."""
        path, key = job.folder / OUTPUT_NAME, key_of(structure, self.method(structure.symbols))
        time.sleep(self._duration_s(key, 0))
        fault = drawn_fault(self.settings, key, job.attempt)
        if dies and fault == "crash":
            _crash(path)
        if dies and fault == "hang":
            _hang(path)
        if writes:
            write_output(path, self._compute(structure, key), fault)
        return path

    def _compute(self, structure: Structure, key: str) -> Output:
        atoms = to_atoms(structure)
        atoms.calc = make_calculator(self.settings.calculator)
        energy = float(atoms.get_potential_energy())
        forces = np.array(atoms.get_forces(), dtype=np.float64) + self._noise(len(atoms), key)
        stress = np.array(atoms.get_stress(), dtype=np.float64) if all(structure.pbc) else np.zeros(0)
        return Output(energy, forces, stress, converged=True, scf_steps=12)

    def _noise(self, n_atoms: int, key: str) -> NDArray[np.float64]:
        noise = _generator("noise", key, self.settings.seed).normal(size=(n_atoms, 3))
        # The mean is taken out because noise that pushes the whole cell is not what a code produces.
        centred: NDArray[np.float64] = self.settings.noise_ev_per_ang * (noise - noise.mean(axis=0))
        return centred

    def _duration_s(self, key: str, number: int) -> float:
        by_order = self.settings.duration.drawn_by == "order"
        return duration_s(self.settings, f"execution {number}" if by_order else key)

    def _note(self, event: str, key: str, job: Job) -> int:
        """Write a line into the ledger; returns how many lines of its kind there were before."""
        if self.settings.ledger is None:
            return 0
        line = f"{event} {key} {job.attempt} {os.getpid()}\n".encode()
        with open(self.settings.ledger, "ab+", buffering=0) as ledger:
            ledger.write(line)
            end = ledger.tell()
            os.fsync(ledger.fileno())
            ledger.seek(0)
            before = ledger.read(end - len(line))
        return sum(entry.startswith(f"{event} ".encode()) for entry in before.splitlines())


def _read_back(path: Path, structure: Structure) -> Output:
    try:
        output = read_output(path, len(structure))
    except ValueError as error:
        raise EngineFailure(FailureKind.CORRUPT_OUTPUT, f"{error}; run it again", log_tail(path)) from error
    if not output.converged:
        message = "the output says that it did not converge; use gentler mixing"
        raise EngineFailure(FailureKind.NOT_CONVERGED, message, log_tail(path))
    return output


def duration_s(settings: TeacherSettings, key: str) -> float:
    """Log-normal duration of every execution of this key, seconds: median × exp(sigma × normal)."""
    normal = float(_generator("duration", key, settings.seed).normal())
    return settings.duration.median_s * float(np.exp(settings.duration.sigma * normal))


def drawn_fault(settings: TeacherSettings, key: str, attempt: int) -> str | None:
    """Name of the fault that this attempt meets, or None; each is drawn in turn with its own probability."""
    draws = _generator(f"fault {attempt}", key, settings.seed).random(len(FAULTS))
    probabilities = settings.faults.model_dump()
    hits = (name for name, draw in zip(FAULTS, draws, strict=True) if draw < probabilities[name])
    return next(hits, None)


def _generator(purpose: str, key: str, seed: int) -> np.random.Generator:
    digest = hashlib.sha256(f"{purpose}/{key}/{seed}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _crash(path: Path) -> NoReturn:
    path.write_text("hpcmat teacher output\n")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("a process does not survive its own segmentation fault")


def _hang(path: Path) -> NoReturn:
    path.write_text("hpcmat teacher output\n")
    while True:
        time.sleep(3600.0)
