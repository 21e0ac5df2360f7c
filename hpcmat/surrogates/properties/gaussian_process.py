r"""Gaussian process over descriptors with few hyperparameters, which the marginal likelihood decides.

    y = f(x) + ε,   ε ~ N(0, σ²),   f ~ GP(0, k)
    k(x, x') = (c² + b² x̃·x̃' + a² M(|x̃ - x̃'|)) · (1 + h² t t'),    x̃_d = x_d / ℓ_g(d)

M is Matérn's covariance with ν = 5/2. The linear part carries trends beyond what is known; alone (`curved` = False) it
is Bayesian linear regression. Descriptors of one group share a length scale: one for each descriptor fits small data
sets too well, and its uncertainties are half of what they should be.

t is a fidelity, 0 for cheap values and 1 for those that count. With features φ of k it stands for the stacked features
[φ, h t φ]: the dear value is the cheap one and a correction, learned together (Kennedy & O'Hagan, Biometrika 87 (2000)
1).

Hyperparameters are those of largest posterior density, with the gradient of Rasmussen & Williams (2006), eq. 5.9.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONSTANT = 4.0
"""c²: values are standardised."""
JITTER = 1e-6
MOST_FITTED = 400
"""Rows from which hyperparameters are found; more change them little."""
_ITERATIONS = 60
_SCALARS = 4
_PRIOR_MEAN = (0.0, -1.0, -2.0, -1.0)
_PRIOR_WIDTH = 1.0
"""Of log a, log b, log σ, log h."""
_LENGTH_WIDTH = 0.4
"""Of log ℓ around √D, the typical distance of standardised descriptors over √2."""
_REACH = 3.0
"""Widths of the prior within which hyperparameters stay: farther out the covariance may lose its inverse."""
_ROOT5 = 5.0**0.5


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """k with its hyperparameters, as logarithms."""

    groups: Ints
    """(D,)"""
    parameters: Floats
    """(G + 4,): log ℓ of each group, log a, log b, log σ, log h"""
    curved: bool = True

    @property
    def noise(self) -> float:
        """The variance σ² and the jitter."""
        return float(np.exp(2 * self.parameters[-2]) + JITTER)

    def scaled(self, x: Floats) -> Floats:
        """The scaled x̃ (n, D)."""
        scaled: Floats = x * np.exp(-self.parameters[self.groups])
        return scaled

    def matrix(self, x: Points, other: Points) -> Floats:
        """The covariance k (n, m)."""
        matern, linear = _parts(self, self.scaled(x.values), self.scaled(other.values))[:2]
        return (CONSTANT + linear + matern) * self._shared(x, other)

    def diagonal(self, x: Points) -> Floats:
        """The variance k(x, x) (n,)."""
        amplitude, slope = np.exp(2 * self.parameters[-4:-2])
        values = CONSTANT + slope * (self.scaled(x.values) ** 2).sum(axis=1) + self.curved * amplitude
        diagonal: Floats = values * (1.0 + np.exp(2 * self.parameters[-1]) * x.fidelity**2)
        return diagonal

    def _shared(self, x: Points, other: Points) -> Floats:
        shared: Floats = 1.0 + np.exp(2 * self.parameters[-1]) * np.outer(x.fidelity, other.fidelity)
        return shared


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Where the function is known or asked for."""

    values: Floats
    """(n, D) standardised descriptors"""
    fidelity: Floats
    """(n,) t"""

    def __len__(self) -> int:
        return len(self.values)

    def part(self, rows: Ints | slice) -> Points:
        """Some of them."""
        return Points(self.values[rows], self.fidelity[rows])


@dataclass(frozen=True, slots=True, eq=False)
class GaussianProcess:
    """A process conditioned on values; those are standardised by the caller."""

    kernel: Kernel
    points: Points
    factor: Floats
    """Lower Cholesky factor of k + σ²."""
    weights: Floats
    """(k + σ²)⁻¹ y"""
    log_evidence: float

    def predict(self, x: Points) -> tuple[Floats, Floats]:
        """Mean and variance (n,) of f."""
        mean, projected = self._projected(x)
        return mean, np.maximum(self.kernel.diagonal(x) - (projected**2).sum(axis=0), JITTER)

    def predict_jointly(self, x: Points) -> tuple[Floats, Floats]:
        """Mean (n,) and covariance (n, n) of f."""
        mean, projected = self._projected(x)
        return mean, self.kernel.matrix(x, x) - projected.T @ projected

    def left_out(self) -> Floats:
        """(n,) errors over their deviations when each value is predicted from the others (R&W eqs. 5.10-5.12)."""
        inverse = solve_triangular(self.factor, np.eye(len(self.points)), lower=True)
        errors: Floats = self.weights / np.sqrt((inverse**2).sum(axis=0))
        return errors

    def _projected(self, x: Points) -> tuple[Floats, Floats]:
        cross = self.kernel.matrix(self.points, x)
        return cross.T @ self.weights, solve_triangular(self.factor, cross, lower=True)


def fit_gaussian_process(points: Points, values: Floats, groups: Ints, curved: bool = True) -> GaussianProcess:
    """The process with the most probable hyperparameters.

    Parameters
    ----------
    points : n ≥ 1 points; of more than `MOST_FITTED`, evenly spaced ones decide the hyperparameters.
    values : (n,) standardised.
    groups : (D,) group 0 .. of each descriptor.
    """
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_FITTED)).round().astype(np.int64))
    some, targets = points.part(chosen), values[chosen]

    def cost(parameters: Floats) -> tuple[float, Floats]:
        return _objective(Kernel(groups, parameters, curved), some, targets)

    start = _prior_mean(groups)
    reach = _REACH * _prior_width(groups)
    bounds = list(zip(start - reach, start + reach, strict=True))
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": _ITERATIONS})
    return condition_process(Kernel(groups, found.x, curved), points, values)


def condition_process(kernel: Kernel, points: Points, values: Floats) -> GaussianProcess:
    """The process with given hyperparameters; its log evidence holds the density of the hyperparameters."""
    covariance = kernel.matrix(points, points)
    covariance[np.diag_indices(len(points))] += kernel.noise
    factor = np.tril(cho_factor(covariance, lower=True)[0])
    weights: Floats = cho_solve((factor, True), values)
    likelihood = -0.5 * float(values @ weights) - float(np.log(np.diag(factor)).sum())
    prior = -0.5 * float((_from_prior(kernel) ** 2).sum())
    normal = 0.5 * len(values) * float(np.log(2 * np.pi))
    return GaussianProcess(kernel, points, factor, weights, likelihood - normal + prior)


def _parts(kernel: Kernel, x: Floats, other: Floats) -> tuple[Floats, Floats, Floats]:
    """Matérn and linear part of k, and the derivative of the first with respect to |x̃ - x̃'|²."""
    amplitude, slope = np.exp(2 * kernel.parameters[-4:-2])
    product = x @ other.T
    square = np.maximum((x**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * product, 0.0)
    distance = np.sqrt(square)
    decay = kernel.curved * amplitude * np.exp(-_ROOT5 * distance)
    matern = (1.0 + _ROOT5 * distance + 5.0 / 3.0 * square) * decay
    return matern, slope * product, -5.0 / 6.0 * (1.0 + _ROOT5 * distance) * decay


def _objective(kernel: Kernel, points: Points, values: Floats) -> tuple[float, Floats]:
    """Negative log posterior density of the hyperparameters, and its gradient."""
    process = condition_process(kernel, points, values)
    inverse = cho_solve((process.factor, True), np.eye(len(points)))
    change = 0.5 * (np.outer(process.weights, process.weights) - inverse)
    gradient = _gradient(kernel, points, change) - _from_prior(kernel) / _prior_width(kernel.groups)
    return -process.log_evidence, -gradient


def _gradient(kernel: Kernel, points: Points, change: Floats) -> Floats:
    """Derivative of the log likelihood, whose derivative with respect to k + σ² is `change` (n, n)."""
    scaled = kernel.scaled(points.values)
    matern, linear, slope = _parts(kernel, scaled, scaled)
    dear = np.exp(2 * kernel.parameters[-1]) * np.outer(points.fidelity, points.fidelity)
    shared = change * (1.0 + dear)
    weights = shared * slope
    square = scaled**2
    # |x̃ - x̃'|² falls by twice each component's share of it with log ℓ, x̃·x̃' by twice its product.
    steps = -4 * (weights.sum(axis=1) @ square - np.einsum("nd,nd->d", scaled, weights @ scaled))
    steps -= 2 * np.exp(2 * kernel.parameters[-3]) * np.einsum("nd,nd->d", scaled, shared @ scaled)
    lengths = np.bincount(kernel.groups, steps, len(kernel.parameters) - _SCALARS)
    noise = np.trace(change) * np.exp(2 * kernel.parameters[-2])
    correction = (change * dear * (CONSTANT + linear + matern)).sum()
    scalars = [(shared * matern).sum(), (shared * linear).sum(), noise, correction]
    return np.concatenate([lengths, 2 * np.array(scalars)])


def _prior_mean(groups: Ints) -> Floats:
    lengths = np.full(int(groups.max()) + 1, 0.5 * np.log(len(groups)))
    return np.concatenate([lengths, _PRIOR_MEAN])


def _prior_width(groups: Ints) -> Floats:
    return np.concatenate([np.full(int(groups.max()) + 1, _LENGTH_WIDTH), np.full(_SCALARS, _PRIOR_WIDTH)])


def _from_prior(kernel: Kernel) -> Floats:
    """(G + 4,) hyperparameters in units of their prior."""
    standard: Floats = (kernel.parameters - _prior_mean(kernel.groups)) / _prior_width(kernel.groups)
    return standard
