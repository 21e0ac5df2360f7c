"""Lines of a LAMMPS input for a pair style that leaves its core to nuclear repulsion."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hpcmat_kernels.pair.repulsion import ZBL


def overlay_lines(style: str, coefficients: str, atomic_numbers: Sequence[int], repulsion: ZBL) -> list[str]:
    """`pair_style hybrid/overlay` of `style` and `zbl`; atom types are the species in their order.

    LAMMPS knows one pair of radii per `zbl`, hence one style for each pair of elements.

    Parameters
    ----------
    coefficients : what follows `pair_coeff * * STYLE`.
    """
    pairs = list(itertools.combinations_with_replacement(range(len(atomic_numbers)), 2))
    radii = [repulsion.table[i, j, 8:].tolist() for i, j in pairs]
    lines = [
        f"pair_style hybrid/overlay {style} " + " ".join(f"zbl {inner:.16g} {outer:.16g}" for inner, outer in radii),
        f"pair_coeff * * {style} {coefficients}",
    ]
    for number, (i, j) in enumerate(pairs, 1):
        place = f" {number}" if len(pairs) > 1 else ""
        lines.append(f"pair_coeff {i + 1} {j + 1} zbl{place} {atomic_numbers[i]} {atomic_numbers[j]}")
    return lines
