"""The scheduler answers late: its daemon is stopped for a while."""

from __future__ import annotations

import signal

from chaos.injectors.scene import Injury, Scene
from chaos.plan import Fault
from chaos.processes import send


def inject(fault: Fault, scene: Scene) -> Injury | None:
    """Stop slurmctld, and wake it later."""
    if not scene.slurm.answers:
        return None
    daemon = scene.slurm.daemon("slurmctld")
    send(signal.SIGSTOP, [daemon])
    return Injury("slurmctld", lambda: send(signal.SIGCONT, [daemon]), fault.seconds)
