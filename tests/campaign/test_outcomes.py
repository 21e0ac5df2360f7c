"""What the driver notes of a fit: the bound on its error, by how often it was looked at."""

import pytest
from campaign_events import campaign_of, created, decided, execution, finished, fitted, fold, run_started

from hpcmat.campaign.events import Stopping
from hpcmat.campaign.outcomes import summarise
from hpcmat.campaign.stopping import stopping_reason
from hpcmat.records import Governance, Provenance, Record, encode
from hpcmat.steering.stopping import error_bound
from hpcmat.surrogates.scoring import Errors, FrameScore
from hpcmat.surrogates.training import FitResult

SQUARES = (0.0010, 0.0012, 0.0008)


def fit_record():
    """A fit that was judged on three frames."""
    scores = tuple(FrameScore(f"v{n}", 8, 0.0, 0.01, square, 0.001, 1.0, 0.95) for n, square in enumerate(SQUARES))
    result = FitResult("potential.npz", 10, 50, 20.0, 0.01, 0.05, 0.0, Errors(0.0, 0.0, 0.0, 10), scores, scores, None)
    provenance = Provenance("c", "d", "r")
    return Record("k", "fit", "{}", encode(result), True, execution(), provenance, Governance())


def bound_after(*events, target):
    state = fold(created(campaign_of(target=target)), run_started(), *events, decided("last", "fit"))
    return summarise(fit_record(), state.tasks["last"].decision, state, set()).force_rmse_bound


@pytest.mark.parametrize("looks", [1, 2])
def test_fit_after_the_target_has_the_rate_that_looks_left(looks):
    """Else a campaign that ends for its target would more often say, on the same frames, that it has not reached it."""
    uppers = [error_bound([SQUARES], 0.95, look).upper for look in range(1, looks + 2)]
    last = error_bound([SQUARES], 0.95, looks, last=True).upper
    target = 0.5 * (last + uppers[looks])
    fits = [fitted(bound=2 * target, frames=4), fitted(bound=uppers[looks - 1], frames=6)][-looks:]
    events = [e for n, fit in enumerate(fits) for e in (decided(f"f{n}", "fit"), finished(f"f{n}", fit))]
    reason = stopping_reason(fold(created(campaign_of(target=target)), run_started(), *events), 2.0)
    assert reason.reason == "target"
    assert bound_after(*events, reason, target=target) == pytest.approx(last)
    assert last < target
    budget = Stopping("budget", "spent")
    assert bound_after(*events, budget, target=target) == pytest.approx(uppers[looks]), "control: nothing was decided"
    assert bound_after(*events, target=target) == pytest.approx(uppers[looks])
