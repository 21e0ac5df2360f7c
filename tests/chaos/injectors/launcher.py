"""What starts tasks dies of SIGKILL: the launcher of ranks or its guard; without ranks, manager or interchange."""

from __future__ import annotations

import signal

from chaos.injectors.scene import Injury, Scene
from chaos.plan import Fault
from chaos.processes import guards, interchanges, launchers, managers, send


def inject(fault: Fault, scene: Scene) -> Injury | None:
    """Kill one of them."""
    found = [*launchers(scene.trial), *guards(scene.trial)]
    found = found or [*managers(scene.trial), *interchanges(scene.trial)]
    if not found:
        return None
    victim = found[fault.draw % len(found)]
    name = victim.name()
    send(signal.SIGKILL, [victim])
    return Injury(name)
