"""Which stresses of pw.x are not to be trusted."""

from __future__ import annotations

import re

from hpcmat.records import Method

FIRST_TRUSTED = (7, 2)


def distrust(method: Method) -> str:
    """Why the stress of these versions and files is left out; empty where it is trusted.

    pw.x 6.7 computes wrong shear stresses with pseudopotentials in GTH form (the trace is right): on rattled silicon
    -0.49 GPa where finite differences of its own energies give -1.97. Version 7.2 is right. Those between were not
    tried and are not trusted. `hpcmat engines verify` compares any build and files with finite differences.
    """
    analytic = any(entry.split()[0].lower().endswith(".gth") for entry in method.inputs)
    found = re.match(r"(\d+)\.(\d+)", method.version)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if analytic and version < FIRST_TRUSTED:
        return f"stress left out: pw.x {method.version} computes wrong shear stresses with GTH pseudopotentials"
    return ""
