"""Parsl's interchange, made to end with its driver.

Left alone it outlives a killed driver for good, and it renames itself so that nothing tells whose it was. The kernel
is therefore asked to kill it when its parent dies (prctl(2), PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import os
import runpy
import shutil
import signal
import sys

from hpcmat.dispatch.marks import die_with_parent


def main() -> None:
    """Run `interchange.py` of the Parsl on the PATH in this process, until it or the driver ends."""
    die_with_parent(signal.SIGKILL, os.getppid())
    script = shutil.which("interchange.py")
    if script is None:
        sys.exit(1)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main()
