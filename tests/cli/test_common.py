"""What the commands ask of the process they run in."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from hpcmat.cli.common import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
np.ones(5_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(5_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    """Pages that ten arrays of 40 MB take from the system after a first."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the C library is another")
def test_freed_memory_is_handed_on_and_would_not_be_otherwise():
    given_back = faults("give back")
    assert given_back >= 100
    assert faults("keep") < 0.1 * given_back
