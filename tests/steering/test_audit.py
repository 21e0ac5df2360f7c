"""Audits: potentials that know their errors pass, those that do not fail, and only where it matters."""

import numpy as np
import pytest

from hpcmat.steering.audit import ALLOWED, audited

ATOMS, STATED, BOUND = 16, 0.1, 0.15


def frame(errors, bound=BOUND):
    return audited(np.broadcast_to(errors, (ATOMS, 3)), np.full((ATOMS, 3), STATED**2), bound)


@pytest.mark.parametrize("together", [False, True])
def test_a_potential_that_states_its_errors_seldom_fails(together):
    """Also where all of a frame errs as one, so that a single normal number decides; there 3 of 1000 do."""
    rng = np.random.default_rng(1)
    draws = rng.normal(scale=STATED, size=(4000, 1, 1) if together else (4000, ATOMS, 3))
    failed = np.mean([not frame(each, bound=0.0).passed for each in draws])
    assert failed == pytest.approx(0.0027, abs=0.002) if together else failed == 0.0


def test_errors_beyond_what_was_stated_and_trusted_fail():
    found = frame(1.01 * ALLOWED * STATED)
    assert not found.passed
    assert (found.error, found.stated, found.worst) == pytest.approx((0.303, 0.1, 0.303))
    assert frame(0.99 * ALLOWED * STATED).passed, "it had been stated"
    assert frame(1.01 * ALLOWED * STATED, bound=0.31).passed, "such errors are trusted"


def test_one_atom_that_is_wrong_does_not_outweigh_all_others():
    errors = np.full((ATOMS, 3), 0.5 * STATED)
    errors[0] = 5 * STATED
    assert frame(errors).worst == pytest.approx(0.5) and frame(errors).passed
    errors[0] = 20 * STATED
    assert not frame(errors).passed, "control: unless it is that far off"
