import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("killing")

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "fakes")]


def pytest_collection_modifyitems(items):
    for item in items:
        if "promises" in Path(item.fspath).parts:
            item.add_marker(pytest.mark.promise)
