"""Pair styles: Lennard-Jones, the embedded-atom method and nuclear repulsion, as baselines and as priors.

    style = embedded_atom("Cu_mishin1.eam.alloy", ["Cu"])
    result = evaluate(style, positions, cell, pbc, species)

In loops over steps, `evaluate_list` takes a list with skin (`hpcmat_kernels.verlet`) instead. Compiled loops call
`lj_kernel.lj_rows`, `eam_kernel.eam_rows` or `repulsion.zbl_rows` with `style.parameters` and room from
`evaluation.empty_sums`.
"""

from hpcmat_kernels.pair.eam import EmbeddedAtom, embedded_atom
from hpcmat_kernels.pair.evaluation import Evaluation, PairStyle, evaluate, evaluate_list
from hpcmat_kernels.pair.lj import LennardJones, lennard_jones
from hpcmat_kernels.pair.repulsion import ZBL, zbl
from hpcmat_kernels.pair.setfl import Setfl, read_setfl

__all__ = [
    "ZBL", "EmbeddedAtom", "Evaluation", "LennardJones", "PairStyle", "Setfl", "embedded_atom", "evaluate",
    "evaluate_list", "lennard_jones", "read_setfl", "zbl",
]  # fmt: skip
