r"""Whether error bars mean what they say: z-scores, coverage, rank correlation, conformal factors.

With errors r and predicted standard deviations σ, z = r / σ. Bars are right where the root mean square of z is 1,
where an interval ±q σ holds the fraction it promises, and where large σ go with large errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from hpcmat.errors import InputError
from hpcmat.records import Label
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.scoring import Comparison, compare

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FRACTIONS = (*(round(0.05 * step, 2) for step in range(1, 20)), 0.99)
"""Central intervals at which reliability is read."""
ENCE_BINS = 10
ATTAINABLE_DRAWS = 8
"""Sets of errors drawn to find the rank correlation that exact bars would have."""
BOOTSTRAP_DRAWS = 50
"""Sets of structures drawn to find a standard error."""
CEILING_ERRORS = 2000
"""Quantiles of the errors from which the distribution of their σ is estimated."""
CEILING_GRID = 80
"""Values of σ, even in log σ, that it may take."""
CEILING_STEPS = 400
"""Of expectation maximisation: more change the ceiling by less than 0.005 on Si, Cu and Li."""
CEILING_DRAWS = 20000
CEILING_SETS = 12
"""Sets of structures drawn to find its standard error."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Share of errors inside the central interval that should hold `predicted` of them."""

    predicted: float
    observed: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Figures of one kind of error: energies per atom, force or stress components."""

    n: int
    n_structures: int
    rms_z: float
    rms_z_error: float
    """Standard error of it, structures being independent and their rows not; infinite for one structure."""
    coverage_68: float
    """Share of errors within ±1 σ; 0.683 is perfect."""
    coverage_95: float
    """Share within ±1.96 σ."""
    coverage_95_error: float
    """Standard error of it."""
    ence: float
    """Expected normalised calibration error: mean over bins of equal size in σ of |rms error - rms σ| / rms σ (Levi et
    al., Sensors 22 (2022) 5540); 0 is perfect."""
    reliability: tuple[Reliability, ...]


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """Spearman correlation of each atom's force error |r| and its predicted σ."""

    observed: float
    observed_error: float
    """Standard error of it, by drawing structures anew."""
    attainable: float
    """What it would be were every σ exact: errors are random, so that even then it stays below 1, the further the
    less σ differs between atoms."""
    ceiling: float
    """What the best error bars would reach, were errors Gaussian: see `rank_ceiling`."""
    ceiling_error: float
    """Standard error of it, by drawing structures anew."""


@dataclass(frozen=True, slots=True)
class ForceCalibration:
    """Calibration of the forces of one potential on labels it has not seen."""

    components: Calibration
    rank: RankCorrelation
    conformal_68: float
    """Factor on σ, see `conformal_factor`; infinite for one or two labels."""
    conformal_95: float


@dataclass(frozen=True, slots=True)
class PotentialCalibration:
    """All that `calibrate` finds."""

    energy: Calibration
    forces: ForceCalibration
    stress: Calibration | None
    """None where no label has a stress."""


def calibrate(potential: Potential, labels: Sequence[Label]) -> PotentialCalibration:
    """Judge the error bars of a potential by labels it was not fitted to.

    Raises
    ------
    InputError
        No labels, or one that the potential cannot predict.
    """
    return calibration_of(tuple(compare(potential, str(k), label) for k, label in enumerate(labels)))


def calibration_of(comparisons: Sequence[Comparison]) -> PotentialCalibration:
    """As `calibrate`, from predictions already at hand."""
    if not comparisons:
        raise InputError("calibration needs at least one label that was not trained on; keep some apart")
    energy = np.array([c.energy for c in comparisons])
    label, predicted, sigma = (np.concatenate([c.forces[part] for c in comparisons]) for part in range(3))
    component = np.repeat(np.arange(len(comparisons)), [3 * c.n_atoms for c in comparisons])
    error = predicted - label
    stress = np.concatenate([c.stress_error for c in comparisons])
    stress_sigma = np.concatenate([c.stress_sigma for c in comparisons])
    stressed = np.repeat(np.arange(len(comparisons)), [len(c.stress_error) for c in comparisons])
    return PotentialCalibration(
        energy=calibration(energy[:, 1] - energy[:, 0], energy[:, 2], np.arange(len(energy))),
        forces=ForceCalibration(
            components=calibration(error, sigma, component),
            rank=rank_correlation(error.reshape(-1, 3), sigma.reshape(-1, 3), component[::3]),
            conformal_68=conformal_factor(error, sigma, component, 0.68),
            conformal_95=conformal_factor(error, sigma, component, 0.95),
        ),
        stress=calibration(stress, stress_sigma, stressed) if len(stress) else None,
    )


def calibration(error: ArrayLike, sigma: ArrayLike, structure: ArrayLike) -> Calibration:
    """Figures of errors (n,) with standard deviations (n,) > 0 of the same unit; `structure` (n,) numbers their frames.

    Raises
    ------
    InputError
        Nothing to judge, shapes that differ, a number that is not finite or a σ that is not positive.
    """
    r, s, owner = _checked(error, sigma, structure)
    z = np.abs(r / s)
    limits = ndtri(0.5 * (1.0 + np.array(FRACTIONS)))
    rms_z, inside = float(np.sqrt(np.mean(z**2))), z <= ndtri(0.975)
    return Calibration(
        n=len(r),
        n_structures=len(np.unique(owner)),
        rms_z=rms_z,
        rms_z_error=_error_of_mean(z**2, owner) / (2.0 * rms_z) if rms_z else 0.0,
        coverage_68=float(np.mean(z <= 1.0)),
        coverage_95=float(np.mean(inside)),
        coverage_95_error=_error_of_mean(inside.astype(np.float64), owner),
        ence=_ence(r, s),
        reliability=tuple(
            Reliability(p, float(np.mean(z <= limit))) for p, limit in zip(FRACTIONS, limits, strict=True)
        ),
    )


def _checked(error: ArrayLike, sigma: ArrayLike, structure: ArrayLike) -> tuple[Floats, Floats, Ints]:
    r, s = np.asarray(error, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    owner = np.asarray(structure, dtype=np.int64)
    if r.ndim != 1 or r.shape != s.shape or r.shape != owner.shape or not len(r):
        raise InputError("errors, standard deviations and structures must be (n,) of one n > 0; check what is passed")
    if not (np.isfinite(r).all() and np.isfinite(s).all() and s.min() > 0):
        raise InputError("errors must be finite and standard deviations positive; remove the damaged label")
    return r, s, owner


def _error_of_mean(values: Floats, structure: Ints) -> float:
    """Standard error of a mean over rows of independent structures, unequal in number (ratio estimate)."""
    _, index = np.unique(structure, return_inverse=True)
    sums = np.bincount(index, values - values.mean())
    n = len(sums)
    return float(np.sqrt(np.sum(sums**2) * n / (n - 1))) / len(values) if n > 1 else float("inf")


def _ence(error: Floats, sigma: Floats) -> float:
    order = np.argsort(sigma, kind="stable")
    bins = np.array_split(order, min(ENCE_BINS, len(order)))
    found = np.sqrt([np.mean(error[b] ** 2) for b in bins])
    expected = np.sqrt([np.mean(sigma[b] ** 2) for b in bins])
    return float(np.mean(np.abs(found - expected) / expected))


def rank_correlation(error: Floats, sigma: Floats, structure: Ints | None = None) -> RankCorrelation:
    """Spearman correlation over atoms of |error| and σ, from components (n, 3); 0 where all σ are equal.

    `structure` (n,) numbers the frame of each atom; without it atoms are taken to be independent. `attainable` replaces
    the errors by Gaussian numbers of these very σ. Random numbers are drawn from a fixed seed.
    """
    sizes, lengths = np.sqrt((sigma**2).mean(axis=1)), _length(error)
    owner = np.arange(len(sizes)) if structure is None else structure
    rng = np.random.default_rng(0)
    drawn = [_spearman(_length(sigma * rng.normal(size=sigma.shape)), sizes) for _ in range(ATTAINABLE_DRAWS)]
    return RankCorrelation(
        observed=_spearman(lengths, sizes),
        observed_error=_drawn_error(lambda atoms: _spearman(lengths[atoms], sizes[atoms]), owner, BOOTSTRAP_DRAWS),
        attainable=float(np.mean(drawn)),
        ceiling=rank_ceiling(error),
        ceiling_error=_drawn_error(lambda atoms: rank_ceiling(error[atoms]), owner, CEILING_SETS),
    )


def _drawn_error(figure: Callable[[Ints], float], structure: Ints, draws: int) -> float:
    """Standard deviation of a figure of some atoms over sets of structures, each as large, drawn with replacement."""
    atoms = [np.flatnonzero(structure == number) for number in np.unique(structure)]
    rng = np.random.default_rng(0)
    drawn = [figure(np.concatenate([atoms[k] for k in rng.integers(0, len(atoms), len(atoms))])) for _ in range(draws)]
    return float(np.std(drawn))


def rank_ceiling(error: Floats) -> float:
    """Spearman correlation of |error| and σ for the distribution of σ that makes the errors (n, 3) most likely.

    An atom whose three components are normal with its own σ has a random |error| even where σ is known: |error| = σ χ,
    χ of three degrees of freedom and independent of σ. How far the σ of atoms can differ is in the errors themselves:
    the density of their lengths is ∫ χ₃(|error| / σ) / σ dG(σ), and the G that makes them most likely is found without
    assumption on its form, by expectation maximisation on a grid (Kiefer and Wolfowitz, Ann. Math. Stat. 27 (1956)
    887). The ceiling is the correlation of σ χ and σ for σ drawn from G. Whatever predicts σ, from whatever knowledge,
    cannot be expected to rank errors better, unless it predicts the error itself. With equal σ it is 0, and it tends
    to 1 where they differ by more than χ does, a factor of about two either way. 0 without errors.
    """
    square = np.sum(error**2, axis=1)
    square = square[square > 0]
    if not len(square):
        return 0.0
    q = np.quantile(square, (np.arange(min(len(square), CEILING_ERRORS)) + 0.5) / min(len(square), CEILING_ERRORS))
    sigma = np.sqrt(np.geomspace(q[0] / 3, 3 * q[-1], CEILING_GRID))
    weights = _mixture_weights(q, sigma)
    rng = np.random.default_rng(0)
    drawn = rng.choice(sigma, size=CEILING_DRAWS, p=weights)
    return _spearman(drawn * _length(rng.normal(size=(CEILING_DRAWS, 3))), drawn)


def _mixture_weights(square: Floats, sigma: Floats) -> Floats:
    """Most likely weights of the σ (k,) given squared lengths (n,) of vectors of three normal components."""
    logarithm = -3.0 * np.log(sigma) - square[:, None] / (2.0 * sigma**2)
    density = np.exp(logarithm - logarithm.max(axis=1, keepdims=True))
    weights: Floats = np.full(len(sigma), 1.0 / len(sigma))
    for _ in range(CEILING_STEPS):
        weights = weights * (density / (density @ weights)[:, None]).mean(axis=0)
        weights /= weights.sum()
    return weights


def _length(vectors: Floats) -> Floats:
    length: Floats = np.linalg.norm(vectors, axis=1)
    return length


def _spearman(a: Floats, b: Floats) -> float:
    # Half a second of every process that only computes labels or drives, were it imported with the module.
    from scipy.stats import rankdata

    ranks = [rankdata(x) - (len(x) + 1) / 2 for x in (a, b)]
    size = float(np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1])))
    return float(ranks[0] @ ranks[1]) / size if size else 0.0


def conformal_factor(error: ArrayLike, sigma: ArrayLike, structure: ArrayLike, fraction: float) -> float:
    """Factor q such that ±q σ holds at least `fraction` of the errors of a new structure, in expectation.

    Hierarchical split conformal prediction (Dunn, Wasserman and Ramdas, J. Am. Stat. Assoc. 118 (2023) 2491; Lee,
    Barber and Willett, arXiv:2306.06342): structures are exchangeable, rows within one are not independent. Each of
    the S structures has the weight 1/(S + 1), shared by its rows, and the new one sits at infinity with the same
    weight; q is the quantile of |z|. No distribution is assumed; infinite where S + 1 < 1 / (1 - fraction).
    """
    r, s, owner = _checked(error, sigma, structure)
    if not 0.0 < fraction < 1.0:
        raise InputError(f"fraction must lie between 0 and 1, not {fraction}; 0.95 is customary")
    _, index, counts = np.unique(owner, return_inverse=True, return_counts=True)
    z = np.abs(r / s)
    order = np.argsort(z)
    weight = np.cumsum(1.0 / counts[index[order]]) / (len(counts) + 1)
    # A rounding error of the sum must not push the quantile one row up.
    position = int(np.searchsorted(weight, fraction - 1e-12))
    return float(z[order[position]]) if position < len(z) else float("inf")
