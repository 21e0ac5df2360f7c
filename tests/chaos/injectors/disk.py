"""The file system of the campaign fills up, until its driver has given up."""

from __future__ import annotations

import errno
from pathlib import Path

from chaos.injectors.scene import Injury, Scene
from chaos.plan import Fault
from chaos.processes import drivers

FILLER = "filler"


def inject(fault: Fault, scene: Scene) -> Injury | None:
    """Take every free block; where the driver is still there after a while, space comes back to it."""
    found = drivers(scene.trial)
    if not found or (scene.disk / FILLER).exists():
        return None
    fill(scene.disk)
    return Injury(
        "disk",
        lambda: (scene.disk / FILLER).unlink(missing_ok=True),
        10.0 * fault.seconds,
        lambda: not drivers(scene.trial),
    )


def fill(disk: Path) -> None:
    """Leave no room for a single page."""
    with (disk / FILLER).open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
