r"""Hyperparameters that the values leave possible: the most probable ones, and a few others with their weights.

With few values, many hyperparameters explain them. The most probable ones alone promise too much: they take for known
how far a value speaks for its neighbours, and how much of it is noise. Predictions are therefore averaged over the
posterior, taken as N(θ*, H⁻¹), at 2p points of equal weight,

    θ* ± √p H^(-1/2) e_i,

the spherical cubature of third degree (Rue, Martino & Chopin, J. R. Stat. Soc. B 71 (2009) 319, section 6.5, do the
same with more points). Weights from the density at those points would be those of p(θ | y) itself; with so few points
they make the averages narrower than the errors are. The evidence is Laplace's,

    log p(y) = log p(y, θ*) - ½ log det H,

with θ in widths of its prior. The gradient is that of Rasmussen & Williams (2006), eq. 5.9.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from scipy.optimize import minimize

from hpcmat.surrogates.properties.gaussian_process import (
    CONSTANT,
    GaussianProcess,
    Kernel,
    Points,
    condition_process,
    from_prior,
    parts,
    prior_mean,
    prior_width,
    same_crystal,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Cost = Callable[[Floats], tuple[float, Floats]]

MOST_FITTED = 400
"""Rows from which hyperparameters are found; more change them little."""
_ITERATIONS = 60
_REACH = 3.0
"""Widths of the prior within which hyperparameters stay: farther out the covariance may lose its inverse."""
_STEP = 0.1
"""Of the differences that give H, in widths of the prior."""
_LEAST_CURVATURE = 0.5
"""In widths of the prior, whose own is 1: less is where the posterior is not normal, and the step would leave it."""


@dataclass(frozen=True, slots=True, eq=False)
class Plausible:
    """Processes whose hyperparameters the values leave possible."""

    best: GaussianProcess
    """Of the most probable ones."""
    processes: tuple[GaussianProcess, ...]
    """2p of equal weight."""
    log_evidence: float
    """Of the values, whatever the hyperparameters are."""


def fit_plausible(points: Points, values: Floats, groups: Ints, curved: bool = True) -> Plausible:
    """Processes over the posterior of the hyperparameters.

    Parameters
    ----------
    points : n ≥ 1 points; of more than `MOST_FITTED`, evenly spaced ones decide the hyperparameters. Where they name
        crystals, the process tells those apart.
    values : (n,) standardised.
    groups : (D,) group 0 .. of each descriptor.
    curved : False for a Bayesian linear regression.
    """
    paired = points.crystals is not None
    cost, width, bounds = _cost(points, values, groups, curved), prior_width(groups, paired), _bounds(groups, paired)
    centre = _most_probable(cost, prior_mean(groups, paired), bounds)
    curvature, axes = np.linalg.eigh(_curvature(cost, centre, width))
    curvature = np.maximum(curvature, _LEAST_CURVATURE)
    steps = len(centre) ** 0.5 * (axes / np.sqrt(curvature)).T * width
    places = np.clip(np.concatenate([centre + steps, centre - steps]), *bounds)
    best, *others = (condition_process(Kernel(groups, place, curved), points, values) for place in (centre, *places))
    evidence = best.log_evidence - 0.5 * float(np.log(curvature).sum())
    return Plausible(best, tuple(others), evidence)


def _cost(points: Points, values: Floats, groups: Ints, curved: bool) -> Cost:
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_FITTED)).round().astype(np.int64))
    some, targets = points.part(chosen), values[chosen]

    def cost(parameters: Floats) -> tuple[float, Floats]:
        return objective(Kernel(groups, parameters, curved), some, targets)

    return cost


def _bounds(groups: Ints, paired: bool) -> tuple[Floats, Floats]:
    centre, reach = prior_mean(groups, paired), _REACH * prior_width(groups, paired)
    return centre - reach, centre + reach


def _most_probable(cost: Cost, start: Floats, bounds: tuple[Floats, Floats]) -> Floats:
    sides = list(zip(*bounds, strict=True))
    found = minimize(cost, start, jac=True, method="L-BFGS-B", bounds=sides, options={"maxiter": _ITERATIONS})
    parameters: Floats = found.x
    return parameters


def _curvature(cost: Cost, centre: Floats, width: Floats) -> Floats:
    """H (p, p) in widths of the prior, from differences of gradients."""
    steps = _STEP * np.diag(width)
    changes = np.array([cost(centre + step)[1] - cost(centre - step)[1] for step in steps])
    curvature = changes * width / (2 * _STEP)
    symmetric: Floats = 0.5 * (curvature + curvature.T)
    return symmetric


def objective(kernel: Kernel, points: Points, values: Floats) -> tuple[float, Floats]:
    """Negative log posterior density of the hyperparameters, and its gradient."""
    process = condition_process(kernel, points, values)
    inverse = cho_solve((process.factor, True), np.eye(len(points)))
    change = 0.5 * (np.outer(process.weights, process.weights) - inverse)
    gradient = _gradient(kernel, points, change) - from_prior(kernel) / prior_width(kernel.groups, kernel.paired)
    return -process.log_evidence, -gradient


def _gradient(kernel: Kernel, points: Points, change: Floats) -> Floats:
    """Derivative of the log likelihood, whose derivative with respect to k + σ² is `change` (n, n)."""
    scaled = kernel.scaled(points.values)
    matern, linear, slope = parts(kernel, scaled, scaled)
    dear = np.exp(2 * kernel.scalars[3]) * np.outer(points.fidelity, points.fidelity)
    shared = change * (1.0 + dear)
    weights = shared * slope
    square = scaled**2
    # |x̃ - x̃'|² falls by twice each component's share of it with log ℓ, x̃·x̃' by twice its product.
    steps = -4 * (weights.sum(axis=1) @ square - np.einsum("nd,nd->d", scaled, weights @ scaled))
    steps -= 2 * np.exp(2 * kernel.scalars[1]) * np.einsum("nd,nd->d", scaled, shared @ scaled)
    lengths = np.bincount(kernel.groups, steps)
    correction = (change * dear * (CONSTANT + linear + matern)).sum()
    noise, *scatter = _noise_gradient(kernel, points, change)
    scalars = [(shared * matern).sum(), (shared * linear).sum(), noise, correction, *scatter]
    return np.concatenate([lengths, 2 * np.array(scalars)])


def _noise_gradient(kernel: Kernel, points: Points, change: Floats) -> list[float]:
    """Half of the derivatives by log σ and, where crystals are told apart, by log r."""
    variance = float(np.exp(2 * kernel.scalars[2]))
    if not kernel.paired:
        return [float(np.trace(change)) * variance]
    own = float(np.exp(2 * kernel.scalars[4])) * variance * float(np.diag(change) @ (1.0 - points.fidelity))
    return [variance * float((change * same_crystal(points, points)).sum()) + own, own]
