"""Pair styles: Lennard-Jones, the embedded-atom method and nuclear repulsion, as baselines and as priors.

    style = embedded_atom("Cu_mishin1.eam.alloy", ["Cu"])
    result = evaluate(style, positions, cell, pbc, species)

In loops over steps, `evaluate_list` takes a list with skin (`hpcmat_kernels.verlet`) instead.
"""

from hpcmat_kernels.pair.eam import EmbeddedAtom, embedded_atom
from hpcmat_kernels.pair.evaluation import Evaluation, PairStyle, evaluate, evaluate_list
from hpcmat_kernels.pair.lj import LennardJones, lennard_jones
from hpcmat_kernels.pair.setfl import Setfl, read_setfl
from hpcmat_kernels.pair.zbl import ZBL, zbl

__all__ = [
    "ZBL", "EmbeddedAtom", "Evaluation", "LennardJones", "PairStyle", "Setfl", "embedded_atom", "evaluate",
    "evaluate_list", "lennard_jones", "read_setfl", "zbl",
]  # fmt: skip
