"""How programs are started."""

import resource
import sys

from hpcmat.engines.external.run import Invocation, run_program
from hpcmat.engines.parallel import Parallel

SAY_STACK = "import resource; print(*resource.getrlimit(resource.RLIMIT_STACK))"


def test_a_program_has_the_largest_stack_and_its_caller_keeps_its_own(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_STACK)
    lowered = (2**22, before[1])
    resource.setrlimit(resource.RLIMIT_STACK, lowered)
    try:
        ending = run_program((sys.executable, "-c"), Invocation((SAY_STACK,), "out.txt"), tmp_path, Parallel())
        assert resource.getrlimit(resource.RLIMIT_STACK) == lowered
    finally:
        resource.setrlimit(resource.RLIMIT_STACK, before)
    assert ending.code == 0
    assert [int(word) for word in (tmp_path / "out.txt").read_text().split()] == [before[1], before[1]]


def test_threads_have_a_large_stack_unless_the_user_says_another(tmp_path, monkeypatch):
    say = "import os; print(os.environ['OMP_STACKSIZE'])"
    for given, expected in ((None, "64M"), ("1G", "1G")):
        monkeypatch.delenv("OMP_STACKSIZE", raising=False)
        if given:
            monkeypatch.setenv("OMP_STACKSIZE", given)
        run_program((sys.executable, "-c"), Invocation((say,), "out.txt"), tmp_path, Parallel(threads=2))
        assert (tmp_path / "out.txt").read_text().strip() == expected
