"""One injector for each kind of fault."""

from __future__ import annotations

from chaos.injectors import disk, driver, launcher, node, scheduler, stop, worker
from chaos.injectors.scene import Injector
from chaos.plan import Kind

INJECTORS: dict[Kind, Injector] = {
    Kind.WORKER: worker.inject,
    Kind.DRIVER: driver.inject,
    Kind.LAUNCHER: launcher.inject,
    Kind.STOP: stop.inject,
    Kind.DISK: disk.inject,
    Kind.NODE: node.inject,
    Kind.SCHEDULER: scheduler.inject,
}
