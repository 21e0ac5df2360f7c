"""The driver dies of SIGKILL."""

from __future__ import annotations

import signal

from chaos.injectors.scene import Injury, Scene
from chaos.plan import Fault
from chaos.processes import drivers, send


def inject(_fault: Fault, scene: Scene) -> Injury | None:
    """Kill every driver there is."""
    found = drivers(scene.trial)
    send(signal.SIGKILL, found)
    return Injury("driver") if found else None
