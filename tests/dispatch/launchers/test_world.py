"""The size of MPI's world, checked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcmat.dispatch.launchers.world import WRONG_WORLD_EXIT, check_world
from hpcmat.errors import DispatchError

ROOT = Path(__file__).parents[3]


def test_right_size_passes_and_others_do_not():
    check_world(4, "4")
    with pytest.raises(DispatchError, match="1 ranks instead of 4"):
        check_world(1, "4")
    with pytest.raises(DispatchError, match="unchecked"):
        check_world(1, None)


@pytest.mark.parametrize(("expected", "code", "printed"), [("1", 0, "checked first"), ("2", WRONG_WORLD_EXIT, "")])
def test_program_runs_only_in_a_world_of_the_right_size(tmp_path, expected, code, printed):
    (tmp_path / "program.py").write_text("import sys; print(*sys.argv[1:], end='')")
    line = [sys.executable, "-m", "hpcmat.dispatch.launchers.world", str(tmp_path / "program.py"), "checked", "first"]
    environment = os.environ | {"HPCMAT_WORLD_SIZE": expected, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (code, printed)
    assert ("1 ranks instead of 2" in done.stderr) == (code != 0)
