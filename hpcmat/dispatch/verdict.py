"""What the end of a launch says of a failure that the engine took for its own."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import replace

from hpcmat.dispatch.launchers.place import LaunchEnd
from hpcmat.dispatch.launchers.world import WRONG_WORLD_EXIT
from hpcmat.records import Failure, FailureKind, decode, encode


def amended(outcome: str, ends: Sequence[LaunchEnd]) -> str:
    """The outcome of a task, its failure charged to the machine where a launch of it ended by the machine's fault."""
    if not ends or json.loads(outcome)["kind"] != "failure":
        return outcome
    failure = decode(Failure, outcome)
    found = _of_machine(ends[-1])
    if found is None or failure.failure.free:
        return outcome
    kind, message = found
    return encode(replace(failure, failure=kind, message=message, exit_code=ends[-1].code))


def _of_machine(end: LaunchEnd) -> tuple[FailureKind, str] | None:
    if nodes := end.certain or end.suspected:
        return FailureKind.NODE_LOST, f"says the launcher of {', '.join(nodes)}"
    if end.cancelled:
        return FailureKind.PREEMPTED, "its ranks were ended from outside"
    if end.code == WRONG_WORLD_EXIT:
        return FailureKind.BAD_SETTINGS, "MPI's world has not the size asked for: launcher and MPI library do not fit"
    if end.code == 128 + signal.SIGKILL:
        return FailureKind.KILLED, "a rank was killed from outside (SIGKILL); for want of memory, perhaps"
    return None
