r"""The cutoff that the labels favour, by the evidence of a sample of their rows.

With rows X (m, F) over the target errors and a prior covariance P⁻¹ / α of the coefficients, the targets are Gaussian,

    y ~ N(0, (ρ K + 1) / β),     K = X P⁻¹ Xᵀ (m, m),     ρ = β / α,

and the evidence, greatest over ρ and β, costs the eigenvalues of K, however many features there are. From the usual
cutoff the search goes uphill in steps. A sample favours shorter cutoffs than all labels do, which are cheaper too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar

from hpcmat.records import Label
from hpcmat.surrogates.ace import AceBasis, cell_volume
from hpcmat.surrogates.evidence import Scales
from hpcmat.surrogates.fitting import prior_of, rows_of
from hpcmat_kernels.neighbors import neighbor_list

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEP_ANG = 0.5
SHORTEST_ANG = 3.5
LONGEST_ANG = 6.5
"""Time and memory of dynamics grow with its cube."""
SHELLS = (1.65, 2.2)
"""Cutoff over the distance of nearest neighbours: where the search begins, at least, and up to which it may go, for
atoms too large for the numbers above."""
SAMPLED_STRUCTURES = 48
SAMPLED_ROWS = 1000
LEAST_GAIN = 3.0
"""Log evidence that a step to a longer cutoff must gain: odds of twenty to one."""
LEAST_GAIN_DOWN = 0.1
"""The same for a step to a shorter one, for each row of the sample: forces that end there gain far more."""
LARGEST_LOG_RATIO = 30.0
"""Of ρ over the mean of K's diagonal, either way."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some labels and some rows of each."""

    labels: tuple[Label, ...]
    rows: tuple[Ints, ...]


def choose_cutoff(
    labels: tuple[Label, ...], usual: AceBasis, threads: int = 1, tell: Callable[[str], None] = lambda _line: None
) -> float:
    """Cutoff in Å; the usual one where no other is clearly better.

    Parameters
    ----------
    usual : the basis at the cutoff to begin with.
    tell : is given one line.

    Raises
    ------
    InputError
        The geometry of a label cannot be right.
    """
    sample = draw_sample(labels, usual.settings.seed)
    nearest = nearest_distance(sample.labels)
    longest = max(LONGEST_ANG, SHELLS[1] * nearest)
    start = max(usual.settings.cutoff_ang, STEP_ANG * round(SHELLS[0] * nearest / STEP_ANG))
    found: dict[float, float] = {}

    def gain(cutoff: float, over: float) -> float:
        for value in (cutoff, over):
            if value not in found:
                found[value] = sample_evidence(sample, usual.with_cutoff(value), threads)
        return found[cutoff] - found[over]

    best = start
    down = LEAST_GAIN_DOWN * sum(map(len, sample.rows))
    for step, least in ((STEP_ANG, LEAST_GAIN), (-STEP_ANG, down)):
        while SHORTEST_ANG <= best + step <= longest and gain(best + step, best) > least:
            best += step
        if best != start:
            break
    told = ", ".join(f"{cutoff:g} Å {found[cutoff] - found[best]:+.0f}" for cutoff in sorted(found) if cutoff != best)
    tell(f"cutoff {best:g} Å; log evidence of others: {told}")
    return best


def draw_sample(labels: tuple[Label, ...], seed: int) -> Sample:
    """Some labels: of each its energy, its stress and the forces on some atoms."""
    rng = np.random.default_rng(seed)
    chosen = tuple(labels[index] for index in rng.permutation(len(labels))[:SAMPLED_STRUCTURES])
    return Sample(chosen, tuple(_some_rows(label, SAMPLED_ROWS // len(chosen), rng) for label in chosen))


def _some_rows(label: Label, wanted: int, rng: np.random.Generator) -> Ints:
    n, n_stress = len(label.structure), len(label.stress) if cell_volume(label.structure) else 0
    atoms = np.sort(rng.permutation(n)[: max(1, (wanted - 1 - n_stress) // 3)])
    forces = 1 + 3 * atoms[:, None] + np.arange(3)
    return np.concatenate([[0], forces.ravel(), 1 + 3 * n + np.arange(n_stress)])


def nearest_distance(labels: tuple[Label, ...]) -> float:
    """Median over structures of the mean distance (Å) of atoms to their nearest neighbours; 0 without neighbours."""
    means = [found for label in labels if (found := _mean_nearest(label)) > 0]
    return float(np.median(means)) if means else 0.0


def _mean_nearest(label: Label, reach: float = 8.0) -> float:
    structure = label.structure
    pairs = neighbor_list(structure.positions, structure.cell, structure.pbc, reach)
    nearest = np.full(len(structure), np.inf)
    np.minimum.at(nearest, pairs.first, np.linalg.norm(pairs.vectors, axis=1))
    near = nearest[np.isfinite(nearest)]
    return float(near.mean()) if len(near) else 0.0


def sample_evidence(sample: Sample, basis: AceBasis, threads: int = 1) -> float:
    """Greatest log evidence of the sampled rows in a basis."""
    return log_evidence(*_gram(sample, basis, threads))


def sampled_scales(labels: tuple[Label, ...], basis: AceBasis, threads: int = 1) -> Scales:
    """Scales of prior and noise, the same for all groups, that make a sample of the rows most probable."""
    gram, targets = _gram(draw_sample(labels, basis.settings.seed), basis, threads)
    _, ratio, beta = _most_likely(gram, targets)
    return Scales(beta / ratio, np.full(int(prior_of(basis).groups.max()) + 1, beta / ratio), beta)


def log_evidence(gram: Floats, targets: Floats) -> float:
    """Log density of targets y ~ N(0, (ρ K + 1) / β), greatest over ρ and β."""
    return _most_likely(gram, targets)[0]


def _gram(sample: Sample, basis: AceBasis, threads: int) -> tuple[Floats, Floats]:
    """K (m, m) of the sampled rows and their targets (m,), over the target errors."""
    blocks = rows_of(sample.labels, basis, threads).blocks(list(range(len(sample.labels))))
    parts = list(zip(blocks, sample.rows, strict=True))
    sigma = np.concatenate([block.sigma[rows] for block, rows in parts])
    x = np.concatenate([block.rows[rows] for block, rows in parts]) / sigma[:, None]
    y = np.concatenate([block.targets[rows] for block, rows in parts]) / sigma
    x /= np.sqrt(prior_of(basis).precision)
    return x @ x.T, y


def _most_likely(gram: Floats, targets: Floats) -> tuple[float, float, float]:
    """That density, ρ and β."""
    n, scale = len(targets), float(np.trace(gram)) / len(targets)
    scale = scale if scale > 0 else 1.0
    values, vectors = eigh(gram / scale, check_finite=False, driver="evd")
    values, square = np.maximum(values, 0.0), (vectors.T @ targets) ** 2

    def cost(log_ratio: float) -> tuple[float, float]:
        spread = 1.0 + np.exp(log_ratio) * values
        variance = float(np.mean(square / spread))
        half = 0.5 * (n * float(np.log(2 * np.pi * variance) + 1.0) + float(np.sum(np.log(spread))))
        return half, variance

    bounds = -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO
    found = minimize_scalar(lambda log_ratio: cost(log_ratio)[0], bounds=bounds, method="bounded")
    return -float(found.fun), float(np.exp(found.x)) / scale, 1.0 / cost(found.x)[1]
