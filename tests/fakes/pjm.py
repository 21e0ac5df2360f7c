"""A PJM on this machine for tests: its commands on the PATH, a virtual clock, and faults at will."""

import fcntl
import shlex
import sys
from pathlib import Path

from pjm_queue import Queue, advance, end, marker

COMMANDS = ("pjsub", "pjstat", "pjwait", "pjdel")


class Pjm:
    """An emulated PJM in a folder; `bin` goes on the PATH."""

    def __init__(self, root, nodes=4):
        self.queue = Queue.create(root / "queue", nodes)
        self.bin = root / "bin"
        self.bin.mkdir()
        program = Path(__file__).with_name("pjm_commands.py")
        for name in COMMANDS:
            words = (sys.executable, "-I", "-S", str(program), str(self.queue.root), name)
            (self.bin / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
            (self.bin / name).chmod(0o755)

    def misbehave(self, command, *moods):
        """Let the next calls of a command be `slow`, `garbled`, `truncated`, `banner`, `empty` or `broken`."""
        with self.queue.open() as state:
            state["misbehaviour"].setdefault(command, []).extend(moods)

    def slow_start(self, queries):
        """Jobs that start from now on stay in their prologue for so many looks."""
        with self.queue.open() as state:
            state["slow_start"] = queries

    def pass_time(self, seconds):
        """Let the clock go on; limits that pass are enforced."""
        with self.queue.open() as state:
            state["clock"] += seconds
            advance(self.queue, state)

    def end(self, job, code, st="EXT", reason=""):
        """End a running job with a PJM code, as the machine would."""
        with self.queue.open() as state:
            end(self.queue, state["jobs"][job], job, st, code, reason)

    def set(self, job, **values):
        """Write into a job's record, for states that come from outside (HLD, RJT, ERR)."""
        with self.queue.open() as state:
            state["jobs"][job].update(values)

    def job(self, job):
        """Record of a job."""
        with self.queue.open() as state:
            return dict(state["jobs"][job])

    def jobs(self):
        """Ids of all jobs."""
        with self.queue.open() as state:
            return list(state["jobs"])

    def await_script(self, job):
        """Return when the job's script has ended; the job holds a lock until then."""
        with marker(self.queue, job, "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)

    def kill_all(self):
        """End whatever still runs."""
        with self.queue.open() as state:
            for name, job in state["jobs"].items():
                end(self.queue, job, name, "CCL", 1)
