"""Work shared among threads: all of it, once, errors come back, and a fork does no harm."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from numba import njit

from hpcmat_kernels.threads import in_parallel, with_helpers
from hpcmat_kernels.tickets import TICKET_ROW, draw, next_piece, wait_for


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 7, 100])
def test_ranges_make_up_the_whole_once(n, threads):
    pieces = []
    in_parallel(pieces.append, n, threads)
    assert sorted(i for start, end in pieces for i in range(start, end)) == list(range(n))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("broken", range(10))
def test_error_of_any_piece_reaches_the_caller(broken, threads):
    def work(piece):
        if piece[0] <= broken < piece[1]:
            raise ArithmeticError(f"piece {piece}")

    with pytest.raises(ArithmeticError):
        in_parallel(work, 10, threads)


def test_helpers_outlive_an_error():
    barrier = threading.Barrier(3)

    def fail():
        barrier.wait()
        raise ArithmeticError("everywhere")

    for _ in range(2):
        with pytest.raises(ArithmeticError):
            with_helpers(fail, 3)


FORKING = """
import os, threading
from hpcmat_kernels.threads import with_helpers

def two_threads_meet():
    barrier, met = threading.Barrier(2), []
    def work():
        met.append(barrier.wait())
        barrier.wait()
    with_helpers(work, 2)
    return sorted(met) == [0, 1]

assert two_threads_meet()
child = os.fork()
if child == 0:
    os._exit(0 if two_threads_meet() else 1)
assert two_threads_meet()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_forked_child_starts_threads_of_its_own_and_the_parent_goes_on():
    # In a process of its own, which has no threads of other libraries.
    subprocess.run([sys.executable, "-W", "error", "-c", FORKING], check=True, timeout=120)


@njit(nogil=True)
def take_all(tickets, own, threads, owners):
    piece = next_piece(tickets, (0, own, threads), len(owners))
    while piece >= 0:
        owners[piece] += 1 + own
        draw(tickets, threads)
        piece = next_piece(tickets, (0, own, threads), len(owners))
    wait_for(tickets, threads, len(owners))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("n", [0, 1, 3, 1000])
def test_each_piece_is_taken_by_one_thread(n, threads):
    tickets, owners = np.zeros((threads + 1, TICKET_ROW), dtype=np.int64), np.zeros(n, dtype=np.int64)
    numbers = iter(range(threads))
    with_helpers(lambda: take_all(tickets, next(numbers), threads, owners), threads)
    assert n == 0 or (owners.min() >= 1 and owners.max() <= threads)


def test_thread_alone_takes_its_own_pieces_first_and_then_those_of_others():
    tickets, taken = np.zeros((4, TICKET_ROW), dtype=np.int64), []
    while (piece := one_piece(tickets, 1, 3, 9)) >= 0:
        taken.append(piece)
    assert taken == [3, 4, 5, 6, 7, 8, 0, 1, 2]


@njit
def one_piece(tickets, own, threads, n):
    return next_piece(tickets, (0, own, threads), n)
