"""Runners that do what a test wants of them."""

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

from hpcmat.records import Failure, FailureKind, encode
from hpcmat.store.atomic import storage_error

_NEVER = threading.Event()


def wait_for(condition) -> None:
    """Look again and again; the walltime of the task is the limit."""
    while not condition():
        _NEVER.wait(0.01)


def give_result(request, folder, attempt):
    (folder / "result.dat").write_text("data")
    (folder / ".hidden").write_text("draft")
    os.write(1, b"told on standard output\n")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    return f'{{"kind": "label", "request": {request}, "attempt": {attempt}, "threads": "{threads}"}}'


def tell_gpus(request, folder, attempt):
    """What it may see, once as many tasks as asked for run at the same time."""
    meeting, together = request.split()
    Path(meeting, folder.parent.name).touch()
    wait_for(lambda: len(list(Path(meeting).iterdir())) >= int(together))
    return f'{{"kind": "label", "gpus": "{os.environ.get("CUDA_VISIBLE_DEVICES", "all")}"}}'


def fail_as_expected(request, folder, attempt):
    return encode(Failure(FailureKind.NOT_CONVERGED, "did not converge"))


def raise_error(request, folder, attempt):
    raise ValueError("no such thing")


def run_out_of_memory(request, folder, attempt):
    raise MemoryError("too much")


def meet_full_disk(request, folder, attempt):
    raise OSError(errno.ENOSPC, "No space left on device")


def meet_full_disk_in_own_write(request, folder, attempt):
    error = OSError(errno.ENOSPC, "No space left on device")
    raise storage_error(folder / "potential.npz", error) from error


def meet_wrong_permission(request, folder, attempt):
    raise PermissionError(errno.EACCES, "Permission denied")


def die_by_signal(request, folder, attempt):
    os.write(1, b"last words\n")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    number = signal.Signals(int(request))
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    wait_for(lambda: False)


def leave(request, folder, attempt):
    os._exit(7)


def hang_with_a_child(request, folder, attempt):
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    (folder / "child.pid").write_text(str(child.pid))
    wait_for(lambda: False)


def wait_for_heartbeat(request, folder, attempt):
    claim = folder / "claim.json"
    os.utime(claim, (0, 0))
    wait_for(lambda: claim.stat().st_mtime > 0)
    return '{"kind": "label"}'


def wait_for_permission(request, folder, attempt):
    Path(request.strip('"'), "started").write_text(str(os.getpid()))
    wait_for(Path(request.strip('"'), "go").exists)
    return '{"kind": "label"}'
