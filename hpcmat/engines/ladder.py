"""The failure ladder: what to do differently after a failure, decided from data alone."""

from __future__ import annotations

from hpcmat.records import Failure, FailureKind

MAX_CHARGED_ATTEMPTS = 3
REMEDIES = ("mixing", "more-steps", "eigensolver", "no-symmetry", "more-bands")
"""Roads to the same answer, in the order in which they are named: gentler density mixing, a higher limit of
self-consistency steps, another eigensolver, no use of symmetry, more empty bands. None of them changes the physics or
the content key."""

_CONVERGENCE = {FailureKind.NOT_CONVERGED, FailureKind.DIVERGED}
_ACCIDENTS = {FailureKind.CRASH, FailureKind.CORRUPT_OUTPUT, FailureKind.NOT_FINITE}
_DIRECT = {
    FailureKind.DIAGONALIZATION: "eigensolver",
    FailureKind.SYMMETRY: "no-symmetry",
    FailureKind.TOO_FEW_BANDS: "more-bands",
}
_REPEATED_ONCE = {FailureKind.WALLTIME, FailureKind.OUT_OF_MEMORY}


def next_remedies(failure: Failure, tried: tuple[tuple[str, ...], ...]) -> tuple[str, ...] | None:
    """Remedies of the next attempt, or None to give up.

    Parameters
    ----------
    failure : Failure
        The last failure.
    tried : tuple of tuples
        Remedies of every charged attempt so far, the failed one last (`((),)` after a first failure without
        remedies). Attempts that failed for free are left out, except that the last entry always says with what the
        failed attempt ran.

    Notes
    -----
    ===============================  ==========================  ========================================
    failure                          second attempt              third attempt
    ===============================  ==========================  ========================================
    not converged, diverged          mixing                      mixing, more steps, other eigensolver
    crash, corrupt, not finite       the same again              other eigensolver
    diagonalization                  other eigensolver           none
    symmetry                         no symmetry                 none
    too few bands                    more bands                  none
    walltime, out of memory          the same again              none
    unphysical, bad settings         none                        none
    node lost, preempted, killed,    the same again, without limit: the machine is to blame
    disk full
    ===============================  ==========================  ========================================

    Three charged attempts are made at most, whatever they failed of. What an earlier attempt added is kept.
    """
    last = tried[-1] if tried else ()
    if failure.failure.free:
        return last
    if len(tried) >= MAX_CHARGED_ATTEMPTS:
        return None
    repeated = tried.count(last) > 1
    if failure.failure in _CONVERGENCE:
        return _gentler(last)
    if failure.failure in _DIRECT:
        return _with(last, _DIRECT[failure.failure])
    if failure.failure in _ACCIDENTS:
        return _with(last, "eigensolver") if repeated else last
    if failure.failure in _REPEATED_ONCE:
        return None if repeated else last
    return None


def _gentler(last: tuple[str, ...]) -> tuple[str, ...] | None:
    return _with(last, "mixing") if "mixing" not in last else _with(last, "more-steps", "eigensolver")


def _with(last: tuple[str, ...], *remedies: str) -> tuple[str, ...] | None:
    if {*remedies} <= {*last}:
        return None
    return tuple(name for name in REMEDIES if name in {*last, *remedies})
