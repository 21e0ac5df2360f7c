r"""Gaussian process over descriptors with few hyperparameters.

    y = f(x) + ε,   ε ~ N(0, σ²),   f ~ GP(0, k)
    k(x, x') = (c² + b² x̃·x̃' + a² M(|x̃ - x̃'|)) · (1 + h² t t'),    x̃_d = x_d / ℓ_g(d)

M is Matérn's covariance with ν = 5/2. The linear part carries trends beyond what is known; alone (`curved` = False) it
is Bayesian linear regression. Descriptors of one group share a length scale: one for each descriptor fits small data
sets too well, and its uncertainties are half of what they should be.

t is a fidelity, 0 for cheap values and 1 for those that count. With features φ of k it stands for the stacked features
[φ, h t φ]: the dear value is the cheap one and a correction, learned together (Kennedy & O'Hagan, Biometrika 87 (2000)
1). Where points say which crystal each is of, what the descriptors do not tell of a crystal is in both of its values,
and a cheap one has scatter of its own:

    y = f(x, t) + w + (1 - t) r σ ε,   w ~ N(0, σ²) for each crystal,   ε ~ N(0, 1)

so that a cheap value says more of its own crystal than of one with the same descriptors.

Hyperparameters have a normal prior; `hyperparameters` finds those that the values leave possible.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CONSTANT = 4.0
"""c²: values are standardised."""
JITTER = 1e-6
SCALARS = 4
"""Hyperparameters beside the length scales; one more where crystals are told apart."""
_PRIOR_MEAN = (0.0, -1.0, -2.0, -1.0, -0.5)
_PRIOR_WIDTH = 1.0
"""Of log a, log b, log σ, log h, log r."""
_LENGTH_WIDTH = 0.4
"""Of log ℓ around √D, the typical distance of standardised descriptors over √2."""
_ROOT5 = 5.0**0.5


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """k with its hyperparameters, as logarithms."""

    groups: Ints
    """(D,)"""
    parameters: Floats
    """(G + 4,): log ℓ of each group, log a, log b, log σ, log h; (G + 5,) with log r where crystals are told apart"""
    curved: bool = True

    @property
    def scalars(self) -> Floats:
        """Log a, log b, log σ, log h and maybe log r."""
        scalars: Floats = self.parameters[int(self.groups.max()) + 1 :]
        return scalars

    @property
    def paired(self) -> bool:
        """Whether crystals are told apart."""
        return len(self.scalars) > SCALARS

    @property
    def noise(self) -> float:
        """Variance of a dear value around f: σ² unless that is the crystal's own, and the jitter."""
        return JITTER if self.paired else float(np.exp(2 * self.scalars[2]) + JITTER)

    def noises(self, x: Points) -> Floats | float:
        """The variance (n,) of each value around f."""
        if not self.paired:
            return self.noise
        noises: Floats = self.noise + np.exp(2 * (self.scalars[2] + self.scalars[4])) * (1.0 - x.fidelity)
        return noises

    def scaled(self, x: Floats) -> Floats:
        """The scaled x̃ (n, D)."""
        scaled: Floats = x * np.exp(-self.parameters[self.groups])
        return scaled

    def matrix(self, x: Points, other: Points) -> Floats:
        """The covariance k (n, m)."""
        matern, linear = parts(self, self.scaled(x.values), self.scaled(other.values))[:2]
        covariance: Floats = (CONSTANT + linear + matern) * self._shared(x, other)
        if self.paired:
            covariance += np.exp(2 * self.scalars[2]) * same_crystal(x, other)
        return covariance

    def diagonal(self, x: Points) -> Floats:
        """The variance k(x, x) (n,)."""
        amplitude, slope = np.exp(2 * self.scalars[:2])
        values = CONSTANT + slope * (self.scaled(x.values) ** 2).sum(axis=1) + self.curved * amplitude
        diagonal: Floats = values * (1.0 + np.exp(2 * self.scalars[3]) * x.fidelity**2)
        return diagonal + np.exp(2 * self.scalars[2]) if self.paired else diagonal

    def _shared(self, x: Points, other: Points) -> Floats:
        shared: Floats = 1.0 + np.exp(2 * self.scalars[3]) * np.outer(x.fidelity, other.fidelity)
        return shared


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Where the function is known or asked for."""

    values: Floats
    """(n, D) standardised descriptors"""
    fidelity: Floats
    """(n,) t"""
    crystals: Ints | None = None
    """(n,) which crystal each is of, where some are known at both fidelities."""

    def __len__(self) -> int:
        return len(self.values)

    def part(self, rows: Ints | slice) -> Points:
        """Some of them."""
        crystals = None if self.crystals is None else self.crystals[rows]
        return Points(self.values[rows], self.fidelity[rows], crystals)


def same_crystal(x: Points, other: Points) -> NDArray[np.bool_]:
    """(n, m) which points are of one crystal."""
    assert x.crystals is not None and other.crystals is not None, "a paired process tells crystals apart"
    same: NDArray[np.bool_] = x.crystals[:, None] == other.crystals
    return same


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
        errors: Floats = self.weights * self.left_out_deviations()
        return errors

    def left_out_deviations(self) -> Floats:
        """(n,) standard deviations of these predictions."""
        inverse = solve_triangular(self.factor, np.eye(len(self.points)), lower=True)
        deviations: Floats = 1.0 / np.sqrt((inverse**2).sum(axis=0))
        return deviations

    def _projected(self, x: Points) -> tuple[Floats, Floats]:
        cross = self.kernel.matrix(self.points, x)
        return cross.T @ self.weights, solve_triangular(self.factor, cross, lower=True)


def condition_process(kernel: Kernel, points: Points, values: Floats) -> GaussianProcess:
    """The process with given hyperparameters; its log evidence holds the density of the hyperparameters."""
    covariance = kernel.matrix(points, points)
    covariance[np.diag_indices(len(points))] += kernel.noises(points)
    factor = np.tril(cho_factor(covariance, lower=True)[0])
    weights: Floats = cho_solve((factor, True), values)
    likelihood = -0.5 * float(values @ weights) - float(np.log(np.diag(factor)).sum())
    prior = -0.5 * float((from_prior(kernel) ** 2).sum())
    normal = 0.5 * len(values) * float(np.log(2 * np.pi))
    return GaussianProcess(kernel, points, factor, weights, likelihood - normal + prior)


def parts(kernel: Kernel, x: Floats, other: Floats) -> tuple[Floats, Floats, Floats]:
    """Matérn and linear part of k, and the derivative of the first with respect to |x̃ - x̃'|²."""
    amplitude, slope = np.exp(2 * kernel.scalars[:2])
    product = x @ other.T
    square = np.maximum((x**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * product, 0.0)
    distance = np.sqrt(square)
    decay = kernel.curved * amplitude * np.exp(-_ROOT5 * distance)
    matern = (1.0 + _ROOT5 * distance + 5.0 / 3.0 * square) * decay
    return matern, slope * product, -5.0 / 6.0 * (1.0 + _ROOT5 * distance) * decay


def prior_mean(groups: Ints, paired: bool = False) -> Floats:
    """(G + 4,) of the hyperparameters, (G + 5,) where crystals are told apart."""
    lengths = np.full(int(groups.max()) + 1, 0.5 * np.log(len(groups)))
    return np.concatenate([lengths, _PRIOR_MEAN[: SCALARS + paired]])


def prior_width(groups: Ints, paired: bool = False) -> Floats:
    """The standard deviations of the prior, as many."""
    return np.concatenate([np.full(int(groups.max()) + 1, _LENGTH_WIDTH), np.full(SCALARS + paired, _PRIOR_WIDTH)])


def from_prior(kernel: Kernel) -> Floats:
    """Hyperparameters in units of their prior."""
    away = kernel.parameters - prior_mean(kernel.groups, kernel.paired)
    standard: Floats = away / prior_width(kernel.groups, kernel.paired)
    return standard
