"""What cheap values in flight and to come tell of dear ones: as the process itself says once they are known."""

import numpy as np
import pytest

from hpcmat.campaign.screen.surrogates import Known, Surrogates
from hpcmat.steering.fidelity import _told
from hpcmat.surrogates.properties.descriptors import given_descriptors
from hpcmat.surrogates.properties.gaussian_process import Points, condition_process

NUMBER = 30
DEAR, CHEAP = np.arange(6), np.arange(12)


@pytest.fixture(scope="module")
def surrogates():
    """Candidates with values that descriptors explain in part."""
    values = np.random.default_rng(0).standard_normal((NUMBER, 2))
    return Surrogates(given_descriptors(values, ("a", "b")))


@pytest.fixture(scope="module")
def model(surrogates):
    """Cheap values of twelve candidates, dear ones of six of them."""
    rng = np.random.default_rng(1)
    dear = 5.0 + rng.standard_normal(NUMBER)
    cheap = dear + 0.2 * rng.standard_normal(NUMBER)
    fitted = surrogates.fit(Known(DEAR, dear[DEAR]), Known(CHEAP, cheap[CHEAP]))
    assert fitted.paired
    return fitted


def test_an_outlook_tells_what_values_to_come_will_tell(surrogates, model):
    """The variance that is left of dear values equals that of a process to which the cheap points were added."""
    rows = np.setdiff1d(np.arange(NUMBER), DEAR)
    flying, askable = np.array([12, 13]), np.arange(NUMBER) > 13
    outlook = surrogates.outlook(model, Known(rows, np.linspace(0.0, 0.5, len(rows))), flying, askable)
    assert outlook.flying == 2 and set(outlook.rows[outlook.subjects]) == set(range(14, NUMBER))
    told = _told(outlook, np.array([3, 0, 1]))
    asked = np.concatenate([flying, outlook.rows[outlook.subjects[[3, 0, 1]]]])
    process, base = model.best, model.best.points
    values = surrogates._values
    more = Points(
        np.vstack([base.values, values[asked]]),
        np.concatenate([base.fidelity, np.zeros(len(asked))]),
        np.concatenate([base.crystals, asked]),
    )
    later = condition_process(process.kernel, more, np.zeros(len(more)))
    dear = Points(values[outlook.rows], np.ones(len(outlook.rows)), outlook.rows)
    left = later.predict(dear)[1] + process.kernel.noise
    np.testing.assert_allclose(outlook.variance * (1.0 - (told**2).sum(axis=1)), left, rtol=1e-6)
    own = np.isin(outlook.rows, asked)
    share = (told**2).sum(axis=1)
    assert share[own].min() > share[~own].max(), "a value tells most of its own crystal"


def test_what_is_drawn_of_a_candidate_is_what_its_cheap_value_leaves_open(surrogates, model):
    rows = np.array([8, 20])
    draws = model.sample(surrogates.asked(rows, model), 2000, np.random.default_rng(0))
    known, unknown = draws.std(axis=0)
    assert known < 0.5 * unknown
