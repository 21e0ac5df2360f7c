"""Frozen records that pass between modules and into files: structures, tasks, labels, failures.

Units: eV, Å, eV/Å, eV/Å³, seconds. Stress is in ASE's sign (positive under tension), Voigt order xx yy zz yz xz xy.
Encoding to JSON keeps 64-bit floats exactly; NaN and infinities are refused by `decode` where a float is physical.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PlainSerializer, PlainValidator, TypeAdapter

SCHEMA_VERSION = 1
"""Version of everything written; a reader refuses newer ones."""

T = TypeVar("T")


def _as_float_array(value: Any) -> NDArray[np.float64]:
    array = np.array(value, dtype=np.float64)
    array.setflags(write=False)
    return array


FloatArray = Annotated[
    NDArray[np.float64], PlainValidator(_as_float_array), PlainSerializer(lambda array: array.tolist())
]
"""A float64 array that is stored as nested lists."""


class FailureKind(StrEnum):
    """Why a task gave no result. The first four are the machine's fault and cost the campaign no attempt."""

    NODE_LOST = "node lost"
    PREEMPTED = "preempted"
    KILLED = "killed"
    DISK_FULL = "disk full"
    NOT_CONVERGED = "not converged"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out of memory"
    WALLTIME = "walltime"
    CRASH = "engine crash"
    CORRUPT_OUTPUT = "corrupt output"
    NOT_FINITE = "not finite"
    DIAGONALIZATION = "diagonalization"
    SYMMETRY = "symmetry"
    TOO_FEW_BANDS = "too few bands"
    UNPHYSICAL = "unphysical"
    BAD_SETTINGS = "bad settings"

    @property
    def free(self) -> bool:
        """Whether the machine, not the calculation, is to blame."""
        return self in {
            FailureKind.NODE_LOST,
            FailureKind.PREEMPTED,
            FailureKind.KILLED,
            FailureKind.DISK_FULL,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Atoms in a cell: `positions` (n, 3) Å, `cell` (3, 3) Å with lattice vectors as rows."""

    symbols: tuple[str, ...]
    positions: FloatArray
    cell: FloatArray
    pbc: tuple[bool, bool, bool] = (True, True, True)

    def __len__(self) -> int:
        return len(self.symbols)


@dataclass(frozen=True, slots=True)
class Method:
    """What computed a label: enough for a stranger to run it again."""

    code: str
    version: str
    settings: str
    """Canonical JSON of the engine settings."""
    settings_hash: str
    inputs: tuple[str, ...] = ()
    """`name sha256` of each pseudopotential or other data file read."""


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """Energy, forces and stress of one structure from one converged calculation."""

    structure: Structure
    energy: float
    """eV per cell; the free energy where the code smears, so that forces are its gradient."""
    forces: FloatArray
    """(n, 3) eV/Å."""
    stress: FloatArray
    """(6,) eV/Å³, positive under tension; empty where the engine gives none."""
    method: Method
    energy_kind: Literal["total", "free"] = "free"
    scf_steps: int = 0
    notes: tuple[str, ...] = ()
    """What the engine has to say of this result, such as its build, or why a stress was left out."""
    kind: Literal["label"] = "label"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one execution of a task gave no result: data, never an exception that crosses a process."""

    failure: FailureKind
    message: str
    """One sentence."""
    log_tail: str = ""
    exit_code: int | None = None
    kind: Literal["failure"] = "failure"


@dataclass(frozen=True, slots=True)
class Resources:
    """What one task occupies while it runs."""

    nodes: int = 1
    ranks: int = 1
    threads: int = 1
    walltime_s: float = 3600.0
    gpus_per_node: int = 0
    """GPUs on each node that no other task has meanwhile."""


PARALLEL_VARIABLE = "HPCMAT_PARALLEL"
"""Environment variable of a task in which its `Parallel` stands as JSON; absent where a task is one process."""


@dataclass(frozen=True, slots=True)
class Parallel:
    """Ranks of one calculation, threads in each, and how they are started on the nodes the task was given."""

    ranks: int = 1
    threads: int = 1
    launch: tuple[str, ...] = ()
    """Words that go before a command, so that its ranks start where they should; empty for one process here."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that the launched command needs besides those of this process."""
    python: tuple[str, ...] = ()
    """The same for a Python program, without the name of the interpreter: `-m MODULE` follows. Ranks started so have
    checked the size of their world, and find their own number in `HPCMAT_RANK`."""

    def variables(self) -> dict[str, str]:
        """Environment that hands this on to a task."""
        return {PARALLEL_VARIABLE: encode(self)}


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who or what chose a task, and from what."""

    campaign: str
    decision: str
    """Id of the decision in the journal of that campaign."""
    selected_by: str
    """Rule that chose it, e.g. `cold-start`, `random`, `i-optimal`."""
    derived_from: tuple[str, ...] = ()
    """Content keys of the results it was made from (trajectory, model)."""
    frame: int | None = None
    score: float | None = None
    pool_size: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Governance:
    """Who owns what is computed and who may see it."""

    creators: tuple[str, ...] = ()
    licence: str = "CC-BY-4.0"
    """SPDX identifier."""
    tier: Literal["open", "shared", "closed"] = "closed"


@dataclass(frozen=True, slots=True)
class Execution:
    """Where and when one attempt ran, and what it used."""

    attempt: int
    host: str
    pid: int
    started: float
    """Seconds since the epoch."""
    finished: float
    worker: str = ""
    """Name of the worker slot, for the timeline."""
    cpu_s: float = 0.0
    """Of all its processes; 0 where they ran under a launcher, and nobody here could tell."""
    peak_memory_mib: float = 0.0
    nodes: int = 1
    cores: int = 1
    cores_per_node: int = 1
    energy_joules: float | None = None
    """No counter is read yet: null, never a guess."""

    @property
    def wall_s(self) -> float:
        """Seconds from start to end."""
        return self.finished - self.started

    @property
    def node_hours(self) -> float:
        """Share of a node times hours: cores / cores per node, at least for whole nodes `nodes`."""
        share = self.cores / self.cores_per_node
        return max(share, float(self.nodes) if self.nodes > 1 else 0.0) * self.wall_s / 3600.0


@dataclass(frozen=True, slots=True)
class Task:
    """One unit of work. `request` is opaque JSON for the runner; dispatch never looks inside."""

    id: str
    kind: Literal["label", "explore", "fit"]
    key: str
    """Content key: hash of the physics alone."""
    runner: str
    """`package.module:function` with the signature `(request: str, folder: Path) -> str`, giving outcome JSON."""
    request: str
    resources: Resources
    provenance: Provenance
    governance: Governance = field(default_factory=Governance)


@dataclass(frozen=True, slots=True)
class Record:
    """What the result store keeps for one finished execution, accepted or failed."""

    key: str
    task_kind: Literal["label", "explore", "fit"]
    request: str
    outcome: str
    """JSON of the outcome: a Label, a Failure, or the runner's own result."""
    accepted: bool
    execution: Execution
    provenance: Provenance
    governance: Governance
    files: tuple[tuple[str, str], ...] = ()
    """(name in the work folder, sha256) of each file kept."""
    software: tuple[tuple[str, str], ...] = ()
    """(package, version)."""
    units: str = "eV, Å, eV/Å, eV/Å³ (stress positive under tension, Voigt xx yy zz yz xz xy), s"
    schema_version: int = SCHEMA_VERSION


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(record_type: Any) -> TypeAdapter[Any]:
    if record_type not in _ADAPTERS:
        _ADAPTERS[record_type] = TypeAdapter(record_type)
    return _ADAPTERS[record_type]


def encode(record: Any, record_type: Any = None) -> str:
    """JSON text of a record; keys in declaration order, floats exact."""
    return _adapter(record_type or type(record)).dump_json(record).decode()


def decode(record_type: type[T], text: str | bytes) -> T:
    """Record from JSON text; raises `pydantic.ValidationError` where a field is missing or of a wrong type."""
    result: T = _adapter(record_type).validate_json(text)
    return result


def canonical_json(text: str) -> str:
    """The same JSON with sorted keys and no spaces: equal content gives equal text."""
    return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
