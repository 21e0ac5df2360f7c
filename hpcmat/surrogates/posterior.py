r"""Gaussian posterior of linear coefficients, from weighted rows of several kinds.

    y = X θ + ε,   ε_r ~ N(0, σ_r² / β),   θ_f ~ N(0, 1 / (α_g p_f))

σ_r is the target error of row r (it weighs energies against forces against stress), p_f the relative prior precision, g
the group of a coefficient. α and β maximise the evidence. The posterior is

    S = (α_g P + β Xᵀ σ⁻² X)⁻¹ = R Rᵀ,     θ̄ = β S Xᵀ σ⁻² y

The noise of each kind that enters predictions is then estimated from leave-one-structure-out residuals, in closed
form: they need no count of effective parameters, so that they stay honest when there are more features than labels.

Rows come structure by structure and are asked for twice: once for the triangle that determines the posterior, once for
what is left out. Each rank asks for the rows of its own structures alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hpcmat.errors import InputError
from hpcmat.surrogates.communicator import SERIAL, Communicator
from hpcmat.surrogates.evidence import (
    LARGEST_LOSS,
    MAX_GROUP_ITERATIONS,
    ROUGH_ITERATIONS,
    Gram,
    Prior,
    Root,
    Scales,
    Solution,
    improved_scales,
    maximise_evidence,
    solve,
)
from hpcmat.surrogates.left_out import LeftOut, calibrated_noise, leave_one_structure_out, left_out
from hpcmat.surrogates.rows import InMemory, Observations, Source, gram_of, parts_of, root_of, structures_of
from hpcmat_kernels.threads import in_parallel

__all__ = ["Observations", "Posterior", "fit_posterior", "fit_source", "leave_one_structure_out"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Posterior:
    """Mean and covariance of the coefficients, and the noise of each kind of row."""

    mean: Floats
    """(F,)"""
    factor: Floats
    """R (F, M) with S = R Rᵀ; upper triangular of M = F coefficients where all are fitted."""
    noise: Floats
    """(3,) standard deviation of what the features cannot express, in the unit of each kind."""
    scales: Scales
    """Prior precision of each group of coefficients, over p, and precision of the rows, over 1/σ²."""
    effective_parameters: float
    """γ = Σ βλ / (αp + βλ): how many coefficients the data determine."""
    log_evidence: float

    @property
    def alpha(self) -> Floats:
        """(groups,) prior precision of each group of coefficients, over p."""
        return self.scales.alpha

    @property
    def beta(self) -> float:
        """Precision of the rows, over 1/σ²."""
        return self.scales.beta

    def variance(self, rows: Floats) -> Floats:
        """Variance x S xᵀ of each row, from not knowing the coefficients."""
        variance: Floats = np.sum((rows @ self.factor) ** 2, axis=-1)
        return variance


def fit_posterior(observations: Observations, prior_precision: Floats, groups: Ints | None = None) -> Posterior:
    """Posterior by evidence maximisation.

    Parameters
    ----------
    observations : weighted rows.
    prior_precision : (F,) relative prior precision p of each coefficient.
    groups : (F,) group 0 .. of each coefficient; each group has its own α. All in one by default.

    Raises
    ------
    InputError
        Where there are no rows, a number is not finite, or a target error or prior precision is not positive.
    """
    _check(observations, prior_precision)
    groups = np.zeros(len(prior_precision), dtype=np.int64) if groups is None else groups
    return fit_source(InMemory(observations), Prior(prior_precision, groups), SERIAL)[0]


def fit_source(
    source: Source, prior: Prior, communicator: Communicator, near: Scales | None = None, rough: bool = False
) -> tuple[Posterior, tuple[LeftOut, ...]]:
    """The posterior and what is left out: the same on every rank to the last bit, and however many there are.

    Every rank calls it with the same source; it computes the rows of its own structures alone. Structures that are
    not included appear among what is left out too. For `near` and `rough` see `fit_coefficients`.

    Raises
    ------
    InputError
        On all ranks, where one of them cannot make its rows or they are not finite.
    """
    posterior = fit_coefficients(source, prior, communicator, near, rough)
    scores = _scores(source, posterior, structures_of(source, len(prior.precision), communicator))
    collected = communicator.broadcast([score for part in communicator.gather(scores) for score in part])
    telling = [score for score in collected if (source.included & source.telling)[score.structure]]
    return replace(posterior, noise=calibrated_noise(telling)), tuple(collected)


def fit_coefficients(
    source: Source, prior: Prior, communicator: Communicator, near: Scales | None = None, rough: bool = False
) -> Posterior:
    """The posterior of `fit_source` with no noise, which spares the second pass over the rows; errors as there.

    Parameters
    ----------
    near : scales of a fit to much the same rows, where there is one: with them products of rows serve, in a quarter of
        the time, unless they have too few digits.
    rough : scales are improved from `near` and not converged, and fewer digits do: for a fit on the way to another.
    """
    n_features, found = len(prior.precision), None
    if near is not None:
        gram = gram_of(source, n_features, communicator)
        found = communicator.broadcast(_of_products(gram, prior, near, rough) if isinstance(gram, Gram) else gram)
    if found is None:
        root = root_of(source, n_features, communicator)
        found = communicator.broadcast(_exact(root, prior, near) if isinstance(root, Root) else root)
    if isinstance(found, InputError):
        raise found
    return found  # type: ignore[no-any-return]


def _exact(root: Root, prior: Prior, near: Scales | None) -> Posterior:
    scales = improved_scales(root, prior, near) if near else maximise_evidence(root, prior)
    return _posterior(solve(root, prior, scales.alpha, scales.beta), scales)


def _of_products(gram: Gram, prior: Prior, near: Scales, rough: bool) -> Posterior | None:
    """None where products of rows have too few digits."""
    try:
        scales = improved_scales(gram, prior, near, ROUGH_ITERATIONS if rough else MAX_GROUP_ITERATIONS)
        solution = solve(gram, prior, scales.alpha, scales.beta)
    except np.linalg.LinAlgError:
        return None
    return _posterior(solution, scales) if rough or solution.loss < LARGEST_LOSS else None


def _posterior(solution: Solution, scales: Scales) -> Posterior:
    return Posterior(
        mean=solution.scale * solution.mean,
        factor=np.asfortranarray(solution.scale[:, None] * solution.inverse),
        noise=np.zeros(3),
        scales=scales,
        effective_parameters=float(solution.determined.sum()),
        log_evidence=solution.log_evidence,
    )


def _scores(source: Source, posterior: Posterior, sets: list[list[int]]) -> list[LeftOut]:
    fit = posterior.mean, posterior.factor, posterior.beta
    return [score for structures in sets for score in _scores_of(source, structures, fit)]


def _scores_of(source: Source, structures: list[int], fit: tuple[Floats, Floats, float]) -> list[LeftOut]:
    blocks, found = source.blocks(structures), dict[int, LeftOut]()
    parts = parts_of(source.counts[structures])

    def work(piece: tuple[int, int]) -> None:
        for part in parts[slice(*piece)]:
            mine = structures[part]
            found.update(zip(mine, left_out(blocks[part], mine, fit, source.included[mine].tolist()), strict=True))

    in_parallel(work, len(parts), source.threads)
    return [found[structure] for structure in structures]


def _check(observations: Observations, prior_precision: Floats) -> None:
    if len(observations.targets) == 0:
        raise InputError("there is nothing to fit; give at least one label")
    if not (np.isfinite(observations.rows).all() and np.isfinite(observations.targets).all()):
        raise InputError("rows or labels are not finite; remove the damaged label")
    if observations.sigma.min() <= 0 or prior_precision.min() <= 0:
        raise InputError("target errors and prior precisions must be positive; correct the settings")
