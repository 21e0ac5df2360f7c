r"""What a task will take and whether it will succeed, learned from every task that ended.

Durations are log-normal around a power law of the task's size,

    log t = log t₀ + w · φ + ε,   ε ~ N(0, σ²),

t₀ what was guessed before anything was measured, φ = [1, log N, log N_el, log N_k, ...] relative to typical values.
With a normal-inverse-gamma prior on (w, σ²) the posterior is exact and the predictive distribution of log t is
Student's t (Gelman et al., Bayesian Data Analysis, 3rd ed., ch. 14). Success is a logistic regression on φ in the
Laplace approximation (MacKay, Neural Comput. 4 (1992) 720).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.special import expit, ndtri, stdtrit

Array = NDArray[np.float64]

GUESS_SPREAD = 1.1
"""Prior standard deviation of the common factor's logarithm: a guess is right within a factor of three."""
EXPONENT_SPREAD = 0.5
"""Prior standard deviation of each exponent."""
SCATTER_SHAPE = 2.0
SCATTER_RATE = SCATTER_SHAPE * 0.3**2
"""Inverse-gamma prior of σ²: durations of equal tasks scatter by some 30 %."""
LARGEST_LOG_VARIANCE = 4.0
"""Of a prediction: the mean of a log-normal grows with the exponential of half its variance, and an unknown variance
must not make a task look endless."""
USUAL_FAILURE = 0.05
"""Failures are expected this often before any task has ended."""
FAILURE_SPREAD = 1.5
SLOPE_SPREAD = 0.7
"""Prior standard deviations in the logistic regression: of the constant and of each slope."""


@dataclass(frozen=True, slots=True)
class Duration:
    """Predictive distribution of one duration: log t is Student's t with `freedom` degrees of freedom."""

    median_s: float
    log_scale: float
    """Scale of log t."""
    freedom: float

    @property
    def expected_s(self) -> float:
        """Mean of a log-normal with the variance of log t, s."""
        variance = self.log_scale**2 * self.freedom / (self.freedom - 2.0) if self.freedom > 2.0 else np.inf
        return self.median_s * float(np.exp(0.5 * min(variance, LARGEST_LOG_VARIANCE)))

    def quantile_s(self, probability: float) -> float:
        """Duration that is not exceeded with this probability, s."""
        return self.median_s * float(np.exp(self.log_scale * stdtrit(self.freedom, probability)))


@dataclass(frozen=True, slots=True, eq=False)
class CostModel:
    """Posterior of the power law; w ~ N(mean, σ² precision⁻¹), σ² ~ inverse gamma (shape, rate)."""

    mean: Array
    """(D,)"""
    precision: Array
    """(D, D), in units of 1/σ²."""
    shape: float
    rate: float
    number: int = 0
    """Durations it has seen."""

    def predict(self, features: Array, guess_s: float) -> Duration:
        """Predictive distribution for a task of these features (D,) whose duration was guessed."""
        doubt = float(features @ cho_solve(cho_factor(self.precision), features))
        return Duration(
            self._median_s(features, guess_s), float(np.sqrt(self.rate / self.shape * (1.0 + doubt))), 2.0 * self.shape
        )

    def scattered_s(self, features: Array, guess_s: float, probability: float) -> float:
        """Quantile among tasks of these features, which scatter by σ, were w known to be its mean, s.

        Of many tasks of one campaign: what is not known of w is common to them all, and to draw it anew for each would
        add up to the mean of a distribution whose tail decides, many times the median before anything was measured.
        """
        scatter = float(np.sqrt(self.rate / self.shape))
        return self._median_s(features, guess_s) * float(np.exp(scatter * ndtri(probability)))

    def _median_s(self, features: Array, guess_s: float) -> float:
        return guess_s * float(np.exp(features @ self.mean))

    def updated(self, features: Array, seconds: Array, guesses_s: Array) -> CostModel:
        """The posterior with more tasks that ended, in whatever pieces and order they come.

        Parameters
        ----------
        features : (n, D), the first column 1.
        seconds, guesses_s : (n,) measured and guessed durations, positive.
        """
        targets = np.log(seconds / guesses_s)
        precision = self.precision + features.T @ features
        moment = self.precision @ self.mean + features.T @ targets
        mean = cho_solve(cho_factor(precision), moment)
        misfit = float(targets @ targets + self.mean @ self.precision @ self.mean - mean @ moment)
        return CostModel(
            mean=mean,
            precision=precision,
            shape=self.shape + 0.5 * len(targets),
            rate=self.rate + 0.5 * max(misfit, 0.0),
            number=self.number + len(targets),
        )


def guessed_costs(n_features: int) -> CostModel:
    """The prior: the guess and its spread. The first feature is the constant."""
    spread = np.array([GUESS_SPREAD, *[EXPONENT_SPREAD] * (n_features - 1)])
    # In units of 1/σ², for which its expected value stands: shape / rate.
    precision = np.diag(spread**-2.0) * (SCATTER_RATE / SCATTER_SHAPE)
    return CostModel(np.zeros(n_features), precision, SCATTER_SHAPE, SCATTER_RATE)


@dataclass(frozen=True, slots=True, eq=False)
class SuccessModel:
    """Laplace posterior of the logit of failure, N(mean, covariance)."""

    mean: Array
    covariance: Array
    number: int
    """Tasks it has seen."""

    def failure(self, features: Array) -> float:
        """Probability that a task of these features (D,) fails; the logistic integral by MacKay's approximation."""
        variance = float(features @ self.covariance @ features)
        return float(expit(features @ self.mean / np.sqrt(1.0 + np.pi * variance / 8.0)))


def learn_success(features: Array, failed: NDArray[np.bool_]) -> SuccessModel:
    """Failure model from tasks that ended; without any, the usual failure rate.

    Parameters
    ----------
    features : (n, D), the first column 1.
    failed : (n,)
    """
    d = features.shape[1]
    mean = np.array([np.log(USUAL_FAILURE / (1.0 - USUAL_FAILURE)), *[0.0] * (d - 1)])
    precision = np.diag(np.array([FAILURE_SPREAD, *[SLOPE_SPREAD] * (d - 1)]) ** -2.0)

    def loss(w: Array) -> tuple[float, Array]:
        z, away = features @ w, w - mean
        value = float(np.sum(np.logaddexp(0.0, z) - failed * z) + 0.5 * away @ precision @ away)
        return value, features.T @ (expit(z) - failed) + precision @ away

    w = minimize(loss, mean, jac=True, method="BFGS", options={"gtol": 1e-8}).x
    p = expit(features @ w)
    hessian = precision + (features * (p * (1.0 - p))[:, None]).T @ features
    return SuccessModel(w, cho_solve(cho_factor(hessian), np.eye(d)), len(failed))


def worth(gains: Array, node_hours: Array, success: Array, kappa: float) -> Array:
    """Expected gain of each candidate over what it is expected to cost, gain × success / (node-hours)^κ (C,).

    κ = 1 asks for the most gain per node-hour, κ = 0 for the most gain.
    """
    valued: Array = gains * success / node_hours**kappa
    return valued
