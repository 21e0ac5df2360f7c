"""`hpcmat potential export`: the files that other codes read."""

from __future__ import annotations

from pathlib import Path

from ase.data import atomic_numbers

from hpcmat.errors import DispatchError, InputError
from hpcmat.store.atomic import make_folder, write_text
from hpcmat.surrogates.potential import Potential
from hpcmat_kernels.lammps.build import build_plugin, compiler, installed_headers
from hpcmat_kernels.lammps.overlay import overlay_lines
from hpcmat_kernels.lammps.plugin import plugin_source
from hpcmat_kernels.lammps.yace import yace_text

ASE_FILE = """\
from hpcmat.surrogates.calculator import AceCalculator
from hpcmat.surrogates.potential import Potential
calculator = AceCalculator(Potential.load({path!r}))
"""


def export_potential(potential: Potential, model: Path, to: str, out: Path) -> Path:
    """Write `out` for the code `to` and return the file that it is to be given.

    Raises
    ------
    InputError
        The place for the file is not there, or there is no compiler or no header of LAMMPS; nothing was written.
    DispatchError
        The compiler refuses the source.
    StorageError
        The file cannot be written.
    """
    if to == "lammps-plugin" and out.suffix != ".cpp":
        return _plugin(potential, out)
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise InputError(f"--out: {out} is not a file in a folder that exists; name one")
    write_text(out, _text(potential, model, to, out))
    return out


def _text(potential: Potential, model: Path, to: str, out: Path) -> str:
    coefficients, elements = potential.kernel_coefficients, potential.settings.elements
    if to == "ase":
        return ASE_FILE.format(path=str(model.resolve()))
    if to == "yace":
        return _overlay(potential, out.name) + yace_text(potential.model, coefficients, elements)
    return plugin_source(potential.model, coefficients, elements, repulsion=potential.repulsion)


def _overlay(potential: Potential, file: str) -> str:
    """Comment on what the format cannot hold."""
    if potential.repulsion is None:
        return ""
    elements = potential.settings.elements
    numbers = [atomic_numbers[symbol] for symbol in elements]
    lines = overlay_lines("pace", f"{file} {' '.join(elements)}", numbers, potential.repulsion)
    told = ("Atoms nearer than those of the training set need nuclear repulsion, which LAMMPS has itself:", *lines)
    return "".join(f"# {line}\n" for line in told)


def _plugin(potential: Potential, folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out: {folder} is a file; name a folder, or a .cpp file for the source alone")
    try:
        compiler()
        headers = installed_headers()
    except ValueError as error:
        raise InputError(f"{error} Or name a .cpp file, which is written without a compiler.") from error
    source = _text(potential, folder, "lammps-plugin", folder)
    make_folder(folder)
    try:
        return build_plugin(source, folder, headers)
    except ValueError as error:
        raise DispatchError(str(error)) from error
