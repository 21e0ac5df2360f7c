"""A worker dies of SIGKILL while its task runs; every second time its task dies with it."""

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
    # The task first: a worker that outlived it for an instant would record its death.
    send(signal.SIGKILL, reversed(victims))
    return Injury("worker and task" if with_task else "worker")
