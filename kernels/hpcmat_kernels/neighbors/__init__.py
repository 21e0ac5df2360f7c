"""Neighbor lists for any cell: triclinic, partly periodic, smaller than the cutoff, or no cell at all.

Atoms are wrapped into the cell, their periodic images (ghosts) made once (`images`), all of them sorted into bins
(`bins`) and searched without periodicity (`search`, `append`): small cells and self-images need no case of their own.
`lists` puts the result into the caller's order; `hpcmat_kernels.verlet` keeps it as it is, for dynamics.
"""

from hpcmat_kernels.neighbors.lists import NeighborList, Pairs, neighbor_list, neighbor_pairs

__all__ = ["NeighborList", "Pairs", "neighbor_list", "neighbor_pairs"]
