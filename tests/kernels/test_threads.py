"""Work shared among threads: all of it, once, and errors come back."""

import pytest

from hpcmat_kernels.threads import in_parallel


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 7, 100])
def test_ranges_make_up_the_whole_once(n, threads):
    pieces, beside = [], []
    in_parallel(pieces.append, n, threads, lambda: beside.append("done"))
    assert sorted(i for start, end in pieces for i in range(start, end)) == list(range(n))
    assert beside == ["done"]


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("broken", range(10))
def test_error_of_any_piece_reaches_the_caller(broken, threads):
    def work(piece):
        if piece[0] <= broken < piece[1]:
            raise ArithmeticError(f"piece {piece}")

    with pytest.raises(ArithmeticError):
        in_parallel(work, 10, threads)
