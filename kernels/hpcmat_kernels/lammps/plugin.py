"""A fitted model as a pair style of LAMMPS, in one C++ file that depends on LAMMPS alone.

The code is that of `hpcmat_kernels.simd`, written as C++ (`cpp`); around it stands a pair style for LAMMPS' PLUGIN
package (`pair_style.cpp.in`) that takes full neighbor lists and leaves forces on ghost atoms to LAMMPS, so that it runs
on any number of MPI processes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

import numpy as np

from hpcmat_kernels.ace import AceModel, Coefficients, kernel_of, radii_of
from hpcmat_kernels.lammps.build import FLAGS, NATIVE
from hpcmat_kernels.lammps.cpp import number, stage_functions
from hpcmat_kernels.lammps.elements import check_elements
from hpcmat_kernels.pair.repulsion import AMPLITUDES, ZBL
from hpcmat_kernels.simd import stages
from hpcmat_kernels.simd.layout import KernelShape

STYLE = "ace/hpcmat"
STAGES = [stages.basis, stages.density, stages.mix, stages.products, stages.unmix, stages.pair_gradients]


def plugin_source(
    model: AceModel,
    coefficients: Coefficients,
    elements: Sequence[str],
    style: str = STYLE,
    repulsion: ZBL | None = None,
) -> str:
    """C++ source of a pair style; `elements` are the chemical symbols of the model's species, in their order.

    `repulsion` is added to the expansion, for a model with a core.

    Raises
    ------
    ValueError
        Where there is not one distinct symbol for each species, or the name of the style is not usable in LAMMPS.
    """
    check_elements(model, elements)
    if not re.fullmatch("[a-z0-9]+(/[a-z0-9]+)*", style):
        raise ValueError(f"A style is lower-case words joined by /, not {style!r}: rename it.")
    shape, (_, parameters, _) = kernel_of(model, (coefficients,))
    functions = stage_functions(STAGES, shape, {"radii": ["cutoff", "inner"]})
    folder = Path(__file__).parent
    fields = _numbers(shape, model, coefficients) | {
        "style": style,
        "build": f"g++ {' '.join((*FLAGS, *NATIVE))} -I HEADERS -I MPI_HEADERS FILE.cpp -o FILE.so",
        "elements": " ".join(elements),
        "quoted": ", ".join(f'"{element}"' for element in elements),
        "vectors": (folder / "vectors.h.in").read_text(),
        "stages": "\n".join(functions),
        **_repulsion(repulsion, model.n_species),
        "parameters": _table(parameters.ravel().tolist()),
        "n_parameters": str(parameters.size),
    }
    return Template((folder / "pair_style.cpp.in").read_text()).substitute(fields)


def _numbers(shape: KernelShape, model: AceModel, coefficients: Coefficients) -> dict[str, str]:
    cores = radii_of(model)[2]
    return {
        "n_species": str(shape.n_species),
        "cutoff": number(model.cutoff),
        "inner": number(model.inner),
        "cores": ", ".join(map(number, cores.ravel().tolist())),
        "constants": ", ".join(map(number, coefficients.constant)),
        "virial": str(shape.scratch.virial),
        "blocks": str(shape.scratch.blocks),
        "gradient": str(shape.block.gradient),
        "block_size": str(shape.block.size),
        "distance": str(shape.block.distance),
    }


def _repulsion(repulsion: ZBL | None, n_species: int) -> dict[str, str]:
    """Numbers of each pair of species; without repulsion an outer radius of zero."""
    table = np.zeros((n_species, n_species, 10)) if repulsion is None else repulsion.table
    rows = ("{" + ", ".join(map(number, row.tolist())) + "}" for row in table.reshape(-1, table.shape[2]))
    amplitudes = ", ".join(map(number, AMPLITUDES.tolist()))
    return {"repulsions": ",\n".join(rows), "amplitudes": amplitudes}


def _table(values: Iterable[float]) -> str:
    literals = [f"{number(value)}," for value in values]
    return "\n".join(" ".join(literals[start : start + 4]) for start in range(0, len(literals), 4))
