"""A worker dies of SIGKILL while its task runs; every second time its task dies with it.

A worker that outlives its task for an instant records its death, and dies with the next order in its hands; else
nobody sees that death.
"""

from __future__ import annotations

import signal

from chaos.injectors.scene import Injury, Scene
from chaos.plan import Fault
from chaos.processes import send, workers


def inject(fault: Fault, scene: Scene) -> Injury | None:
    """Kill one of the workers that are busy."""
    busy = workers(scene.trial)
    if not busy:
        return None
    worker = busy[fault.draw % len(busy)]
    with_task = fault.draw // len(busy) % 2 == 1
    victims = [worker, *worker.children()] if with_task else [worker]
    send(signal.SIGKILL, reversed(victims) if fault.for_good else victims)
    return Injury("worker and task" if with_task else "worker")
