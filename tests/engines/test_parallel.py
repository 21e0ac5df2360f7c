"""What a task may use travels whole, and is never dropped in silence."""

import pytest

from hpcmat.engines.parallel import PARALLEL_VARIABLE, Parallel, parallel_here
from hpcmat.errors import DispatchError


def test_travels_through_the_environment():
    wanted = Parallel(4, 2, ("mpiexec", "-n", "4", "-hosts", "a,b"), (("FI_PROVIDER", "tcp"),))
    assert parallel_here(wanted.variables()) == wanted


def test_one_process_where_nobody_said_otherwise():
    assert parallel_here({}) == Parallel(ranks=1, threads=1, launch=())


@pytest.mark.parametrize("text", ["", "{", '{"ranks": "many"}', '{"launch": 4}'])
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(DispatchError, match="cannot be read"):
        parallel_here({PARALLEL_VARIABLE: text})
