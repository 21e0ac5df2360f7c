import pytest

from hpcmat.engines.ladder import MAX_CHARGED_ATTEMPTS, REMEDIES, next_remedies
from hpcmat.records import Failure, FailureKind

MIXING, EIGENSOLVER = ("mixing",), ("eigensolver",)
CONVERGENCE = ("mixing", "more-steps", "eigensolver")
TABLE = [
    (FailureKind.NOT_CONVERGED, ((),), MIXING),
    (FailureKind.NOT_CONVERGED, ((), MIXING), CONVERGENCE),
    (FailureKind.NOT_CONVERGED, ((), MIXING, CONVERGENCE), None),
    (FailureKind.DIVERGED, ((),), MIXING),
    (FailureKind.CRASH, ((),), ()),
    (FailureKind.CRASH, ((), ()), EIGENSOLVER),
    (FailureKind.CRASH, ((), (), EIGENSOLVER), None),
    (FailureKind.CORRUPT_OUTPUT, ((),), ()),
    (FailureKind.NOT_FINITE, ((), ()), EIGENSOLVER),
    (FailureKind.WALLTIME, ((),), ()),
    (FailureKind.WALLTIME, ((), ()), None),
    (FailureKind.OUT_OF_MEMORY, ((),), ()),
    (FailureKind.OUT_OF_MEMORY, ((), ()), None),
    (FailureKind.DIAGONALIZATION, ((),), EIGENSOLVER),
    (FailureKind.DIAGONALIZATION, ((), EIGENSOLVER), None),
    (FailureKind.SYMMETRY, ((),), ("no-symmetry",)),
    (FailureKind.SYMMETRY, ((), ("no-symmetry",)), None),
    (FailureKind.TOO_FEW_BANDS, ((),), ("more-bands",)),
    (FailureKind.TOO_FEW_BANDS, ((), MIXING), ("mixing", "more-bands")),
    (FailureKind.UNPHYSICAL, ((),), None),
    (FailureKind.BAD_SETTINGS, ((),), None),
    # What an earlier attempt added is kept when the kind of failure changes.
    (FailureKind.CRASH, ((), MIXING), MIXING),
    (FailureKind.NOT_CONVERGED, ((), ()), MIXING),
]


@pytest.mark.parametrize(("kind", "tried", "expected"), TABLE)
def test_table(kind, tried, expected):
    assert next_remedies(Failure(kind, "message"), tried) == expected


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind.free])
def test_failures_of_the_machine_repeat_unchanged_without_limit(kind):
    failure = Failure(kind, "message")
    assert next_remedies(failure, ((),)) == ()
    assert next_remedies(failure, ((), MIXING, REMEDIES)) == REMEDIES


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if not kind.free])
def test_every_ladder_ends_within_the_charged_attempts(kind):
    tried = ((),)
    while (remedies := next_remedies(Failure(kind, "message"), tried)) is not None:
        assert set(remedies) <= set(REMEDIES)
        tried += (remedies,)
        assert len(tried) <= MAX_CHARGED_ATTEMPTS


def test_each_remedy_is_reached():
    reached = {remedy for kind, tried, expected in TABLE if expected for remedy in expected}
    assert reached == set(REMEDIES)
