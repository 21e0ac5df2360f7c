"""The kernels without anything but numpy and numba, and code on disk for the next process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hpcmat_kernels

HOOK = """
import sys
sys.path.insert(0, {folder!r})
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {refused!r}:
            raise ImportError(f"{{name}} is refused")
sys.meta_path.insert(0, Refuse())
"""
PROGRAM = """
import json
import numpy as np
from hpcmat_kernels.ace import ace_model, evaluate, split_coefficients
from hpcmat_kernels.neighbors import neighbor_list
model = ace_model(np.ones((1, 3, 2, {channels})), 4.0, 1.0, (2, 1))
cell = 4.0 * np.eye(3)
pairs = neighbor_list(np.array([[0.0, 0, 0], [1.9, 2.1, 2.0]]), cell, (True, True, True), 4.0)
result = evaluate(model, split_coefficients(model, np.ones(model.n_features)), pairs, [0, 0])
"""
REPORT = """
from numba.core.dispatcher import Dispatcher
import gc
used = [item for item in gc.get_objects() if isinstance(item, Dispatcher) and item.signatures]
counts = [sum(sum(getattr(item.stats, kind).values()) for item in used) for kind in ("cache_hits", "cache_misses")]
print(json.dumps([*counts, result.forces.tolist()]))
"""
OUTSIDE = ("ase", "parsl", "mpi4py", "pydantic", "sqlalchemy", "scipy", "jax", "hpcmat")


def run(program, refused=(), **variables):
    hook = HOOK.format(folder=str(Path(hpcmat_kernels.__file__).parents[1]), refused=tuple(refused))
    # -I: neither the working folder nor PYTHONPATH.
    return subprocess.run(
        [sys.executable, "-I", "-c", hook + program], env=os.environ | variables, capture_output=True, text=True
    )  # fmt: skip


def test_kernels_need_numpy_and_numba_alone():
    done = run(PROGRAM.format(channels=1) + "print(json.dumps(result.forces.tolist()))", OUTSIDE)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2


@pytest.mark.parametrize("refused", ["numpy", "numba"])
def test_refusal_of_imports_works(refused):
    done = run(PROGRAM.format(channels=1), [refused])
    assert done.returncode != 0
    assert f"{refused} is refused" in done.stderr


def test_second_process_compiles_nothing(tmp_path):
    """Neither for the list nor for the evaluation; another shape of model is compiled."""
    outputs = []
    for channels in (1, 1, 9):
        done = run(PROGRAM.format(channels=channels) + REPORT, OUTSIDE, NUMBA_CACHE_DIR=str(tmp_path))
        assert done.returncode == 0, done.stderr
        outputs.append(json.loads(done.stdout))
    first, second, other_shape = outputs
    assert first[1] > 0
    assert second[1] == 0
    assert second[0] > 0
    assert second[2] == first[2]
    assert other_shape[1] > 0
