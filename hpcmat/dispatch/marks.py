"""Marks by which the processes of a campaign are told apart, and the tie of a process to its parent."""

from __future__ import annotations

import ctypes
import os
import signal

EPOCH_VARIABLE = "HPCMAT_EPOCH"
"""In the environment of every process that a driver starts but those of tasks: they end with the driver."""
CAMPAIGN_VARIABLE = "HPCMAT_CAMPAIGN"
TASK_PROCESS_NAME = "hpcmat-task"
"""Name of the processes that carry out tasks, by which orphan control spares them."""
SHEPHERD_NAME = "hpcmat-shepherd"
"""Name of those that watch over one of them beside the driver; spared as well."""
LAUNCH_VARIABLE = "HPCMAT_LAUNCH"
"""Marks every process of one launch, whatever sessions and groups it makes."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Have the kernel send a signal to this process when process `parent` ends (prctl(2), PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
