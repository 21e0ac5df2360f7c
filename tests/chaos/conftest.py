import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "promises"), str(HERE.parent / "fakes")]


def pytest_collection_modifyitems(items):
    for item in items:
        if "chaos" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.promise)
