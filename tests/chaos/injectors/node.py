"""A node of the allocation goes: its administrator sets it down, or it loses power with all that runs on it."""

from __future__ import annotations

import signal

import psutil

from chaos.injectors.scene import Injury, Scene
from chaos.plan import Fault
from chaos.processes import send

_GONE_S = 10.0
"""Longest wait for what was killed to be gone; zombies are left to whoever starts the daemon again."""


def inject(fault: Fault, scene: Scene) -> Injury | None:
    """Drop one of the nodes on which jobs run, and give it back later."""
    slurm = scene.slurm
    if not slurm.answers:
        return None
    busy = [name for name in slurm.names if slurm.node_state(name) in {"allocated", "mixed"}]
    if not busy:
        return None
    node = busy[fault.draw % len(busy)]
    power_lost = fault.draw // len(busy) % 2 == 1
    if power_lost:
        killed = [slurm.daemon(node), *on_node(node, str(slurm.conf))]
        send(signal.SIGKILL, killed)
        # Else it could be given back before it has gone.
        psutil.wait_procs(killed, timeout=_GONE_S)
    slurm.set_down(node)
    return Injury(
        "power of a node" if power_lost else "node set down",
        lambda: slurm.resume(node),
        fault.seconds,
        None,
        lambda: slurm.answers,
    )


def on_node(node: str, conf: str) -> list[psutil.Process]:
    """Everything that jobs have started on a node, and the daemons of their steps."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if environment.get("SLURMD_NODENAME") == node and environment.get("SLURM_CONF") == conf:
            found.append(process)
    return found
