"""A process that races for a claim: `racer.py ROOT KEY` says when it is ready, starts at a line, holds what it got."""

import os
import sys

from hpcmat.store.results import ResultStore

root, key = sys.argv[1:]
print("ready", flush=True)
sys.stdin.readline()
attempt = ResultStore(root).begin(key)
print("won" if attempt is not None else "lost", flush=True)
if sys.stdin.readline() == "die\n":
    os._exit(9)
