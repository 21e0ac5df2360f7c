"""What tests of all packages share."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hpcmat.cli.common import one_blas_thread

# As the command line does: two threads that wait for each other on busy cores make a fit of 0.2 s take 15 s.
one_blas_thread()

from hpcmat.cli.app import run  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent / "fakes"))


@dataclass
class CommandLine:
    """`hpcmat` as it is typed, in this process."""

    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: object) -> int:
        """Exit code."""
        return run([str(word) for word in words])

    def answer(self, *words: object, code: int = 0) -> Any:
        """What it says as JSON, when it leaves with this exit code."""
        self.capsys.readouterr()
        left = self(*words, "--json")
        said = self.capsys.readouterr()
        assert left == code, said.err or said.out
        return json.loads(said.out)


@pytest.fixture
def hpcmat(capsys):
    """The command line."""
    return CommandLine(capsys)
