"""A process is stopped: for a while, or for good.

A driver that nobody wakes is in the end killed, as its user would do: nothing else can take the campaign up.
"""

from __future__ import annotations

import signal

from chaos.injectors.scene import Injury, Scene
from chaos.plan import Fault
from chaos.processes import ROLES, send


def inject(fault: Fault, scene: Scene) -> Injury | None:
    """Stop one process of a role that is drawn."""
    present = {role: found for role, find in ROLES.items() if (found := find(scene.trial))}
    if not present.get("task"):
        return None
    role = list(present)[fault.draw % len(present)]
    victim = present[role][fault.draw // len(present) % len(present[role])]
    send(signal.SIGSTOP, [victim])
    if not fault.for_good:
        return Injury(role, lambda: send(signal.SIGCONT, [victim]), fault.seconds)
    if role == "driver":
        return Injury("driver, for good", lambda: send(signal.SIGKILL, [victim]), fault.seconds)
    return Injury(f"{role}, for good")
