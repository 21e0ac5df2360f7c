r"""Writing a model as a .yace file, for `pair_style pace` of LAMMPS (package ML-PACE) and other readers of the format.

The file holds functions of complex densities, each a product with explicit species, radial functions and (l, m):

    ChebPow radials    G_n(r) = (1 - T_n(2 r / r_c - 1)) / 2,   n = 1 .. K + 2
    their combinations R_{nl}(r) = Σ_n' c_{n l n'} G_n'(r), by pair of species
    densities          A_{z n l m} = Σ_{j of species z} R_{nl}(r_ij) Y_lm,   Y complex, Condon-Shortley phase, Y_00 = 1

Our g_k vanish at r_c, so they are combinations of the G_n: R_{1..K} are the g_k, R_{K+1..K+C} the mixed ones. A channel
sums over the species of its neighbours, hence a product of ν channels becomes one function per combination of ν
species. The file itself is exact; ML-PACE tabulates R with a step of `SPLINE_STEP`: the evaluators that come with
python-ace 0.4.0rc1 agree with our kernel to 1e-11 eV and 1e-8 eV/Å (forces up to 40 eV/Å; one, two and three species,
with and without core). Lysogorskiy et al., npj Comput. Mater. 7 (2021) 97.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from hpcmat_kernels.ace import AceModel, Coefficients
from hpcmat_kernels.couplings import NEGLIGIBLE, ProductPath
from hpcmat_kernels.lammps.elements import check_elements

Floats = NDArray[np.float64]
SPLINE_STEP = 0.001
"""Å"""
Component = tuple[int, int]
"""Degree and order (l, m)."""
Shape = tuple[tuple[int, ...], tuple[int, ...]]
"""Degrees and species of the factors of a function."""
Terms = dict[Shape, dict[tuple[int, ...], Floats]]
"""Weight of each path for each combination of orders m, by shape."""


def yace_text(model: AceModel, coefficients: Coefficients, elements: Sequence[str]) -> str:
    """Content of a .yace file; `elements` are the chemical symbols of the model's species, in their order.

    An inner core becomes the file's inner cutoff, which is the same polynomial. A ZBL potential is not part of the
    file: add `pair_style zbl` by `hybrid/overlay`.

    Raises
    ------
    ValueError
        Where there is not one distinct chemical symbol for each species.
    """
    check_elements(model, elements)
    species = range(model.n_species)
    lines = [
        _entry("elements", list(elements)),
        _entry("E0", coefficients.constant),
        _entry("deltaSplineBins", SPLINE_STEP),
        "embeddings:",
        *("  " + _entry(str(z), EMBEDDING) for z in species),
        "bonds:",
        *("  " + _entry(f"[{z}, {other}]", _bond(model, z, other)) for z in species for other in species),
        "functions:",
    ]
    terms = _product_terms(model)
    for z in species:
        functions = (_single(model, coefficients, z), _pairs(model, coefficients, z), _products(coefficients, z, terms))
        lines.append(f"  {z}:")
        lines += [f"    - {_flow(function)}" for function in itertools.chain(*functions)]
    return "\n".join(lines) + "\n"


EMBEDDING = {
    "ndensity": 1,
    "FS_parameters": [1.0, 1.0],
    "npoti": "FinnisSinclair",
    "rho_core_cutoff": 100000.0,
    "drho_core_cutoff": 250.0,
}
"""The energy is the density itself, and there is no core repulsion to switch to."""


def radial_expansion(model: AceModel) -> Floats:
    """M (K, K + 2) with g_k = Σ_n M_kn G_n, without the core."""
    cutoff, inner = model.cutoff, model.inner
    n_terms = model.n_radial + 3
    # At as many Chebyshev nodes as there are coefficients, interpolation is exact.
    x = chebyshev.chebpts1(n_terms)
    s = (cutoff * (1.0 + x) - (cutoff + inner)) / (cutoff - inner)
    values = chebyshev.chebvander(s, model.n_radial - 1) * ((0.5 * (1.0 - x)) ** 3)[:, None]
    terms = np.linalg.solve(chebyshev.chebvander(x, n_terms - 1), values)
    # g = Σ_n a_n T_n, and Σ_n a_n = 0 at the cutoff, where all T_n are 1.
    expansion: Floats = np.asarray(-2.0 * terms[1:].T, dtype=np.float64)
    return expansion


def _bond(model: AceModel, z: int, other: int) -> dict[str, Any]:
    """Radial functions of neighbours of species `other` around species z."""
    expansion, n_l = radial_expansion(model), model.l_max + 1
    plain = np.repeat(expansion[:, None], n_l, axis=1)
    block = model.mixing[z, :, other * model.n_radial : (other + 1) * model.n_radial]
    mixed = np.einsum("lkc,kn->cln", block, expansion)
    start, end = model.core[z, other].tolist()
    return {
        "nradmax": model.n_radial + model.n_channels,
        "lmax": model.l_max,
        "nradbasemax": model.n_radial + 2,
        "radbasename": "ChebPow",
        "radparameters": [1.0],
        "radcoefficients": np.concatenate([plain, mixed]).tolist(),
        "prehc": 0.0,
        "lambdahc": 1.0,
        "rcut": model.cutoff,
        "dcut": 0.01,
        "rcut_in": end,
        "dcut_in": end - start,
        "inner_cutoff_type": "distance",
    }


def _function(
    z: int, ns: Sequence[int], shape: Shape, orders: Iterable[tuple[int, ...]], values: Iterable[float]
) -> dict[str, Any]:
    flat, weights = list(itertools.chain(*orders)), [float(value) for value in values]
    ls, mus = shape
    return {
        "mu0": z,
        "rank": len(ns),
        "ndensity": 1,
        "num_ms_combs": len(weights),
        "mus": list(mus),
        "ns": list(ns),
        "ls": list(ls),
        "ms_combs": flat,
        "ctildes": weights,
    }


def _single(model: AceModel, coefficients: Coefficients, z: int) -> Iterator[dict[str, Any]]:
    """Linear terms; functions of one density are of the G_n themselves."""
    weights = coefficients.linear[z].reshape(model.n_species, -1) @ radial_expansion(model)
    for other, row in enumerate(weights):
        for n, weight in enumerate(row):
            yield _function(z, [n + 1], ((0,), (other,)), [(0,)], [weight])


def _pairs(model: AceModel, coefficients: Coefficients, z: int) -> Iterator[dict[str, Any]]:
    """Pair terms: Σ_m A_lm A'_lm = Σ_m (-1)^m A^c_{l,m} A'^c_{l,-m}."""
    for degree in range(model.l_max + 1):
        orders = range(-degree, degree + 1)
        for q, other in itertools.combinations_with_replacement(range(model.n_density), 2):
            species, ks = zip(*(divmod(index, model.n_radial) for index in (q, other)), strict=True)
            weight = coefficients.pair[z, degree, q, other] * (1.0 if q == other else 2.0)
            yield _function(
                z,
                [k + 1 for k in ks],
                ((degree, degree), species),
                [(m, -m) for m in orders],
                [weight * (-1) ** abs(m) for m in orders],
            )


def _products(coefficients: Coefficients, z: int, terms: Terms) -> Iterator[dict[str, Any]]:
    """Products, channel by channel."""
    n_radial = coefficients.linear.shape[1] // len(coefficients.linear)
    for c, theta in enumerate(coefficients.product[z].T):
        for shape, weights in terms.items():
            ns = [n_radial + c + 1] * len(shape[0])
            yield _function(z, ns, shape, weights, (theta @ weight for weight in weights.values()))


def _product_terms(model: AceModel) -> Terms:
    """All products in complex densities with explicit species."""
    total: Terms = defaultdict(lambda: defaultdict(lambda: np.zeros(len(model.paths))))
    for number, path in enumerate(model.paths):
        for components, weight in complex_polynomial(path).items():
            for species in itertools.product(range(model.n_species), repeat=len(components)):
                pairs = zip(components, species, strict=True)
                factors = sorted((degree, z, m) for (degree, m), z in pairs)
                ls, mus, ms = zip(*factors, strict=True)
                total[ls, mus][ms][number] += weight
    return total


def complex_polynomial(path: ProductPath) -> dict[tuple[Component, ...], float]:
    """A product as a polynomial in complex densities; monomials are sorted tuples of (l, m).

    The coefficients are real, since the product is real and invariant.
    """
    total: dict[tuple[Component, ...], complex] = defaultdict(complex)
    for monomial, coefficient in path.monomials:
        for factors in itertools.product(*(_in_complex(index) for index in monomial)):
            components = tuple(sorted(component for component, _ in factors))
            total[components] += coefficient * math.prod(weight for _, weight in factors)
    return {components: weight.real for components, weight in total.items() if abs(weight) > NEGLIGIBLE}


def _in_complex(index: int) -> list[tuple[Component, complex]]:
    """A real density as combination of complex ones.

    A_{l,±m} = {1, -i} ((-1)^m A^c_{l,m} ± A^c_{l,-m}) / √2.
    """
    degree = math.isqrt(index)
    order = index - degree * degree - degree
    m = abs(order)
    if m == 0:
        return [((degree, 0), 1.0)]
    unit, sign = (1.0, 1.0) if order > 0 else (-1.0j, -1.0)
    return [((degree, m), unit * (-1) ** m / math.sqrt(2)), ((degree, -m), unit * sign / math.sqrt(2))]


def _entry(name: str, value: Any) -> str:
    return f"{name}: {_flow(value)}"


def _flow(value: Any) -> str:
    """YAML in flow style; floats with all digits and a point, without which some readers take them for text."""
    if isinstance(value, dict):
        return "{" + ", ".join(_entry(name, item) for name, item in value.items()) + "}"
    if isinstance(value, list | np.ndarray):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return f"{value:.16e}" if isinstance(value, float) else str(value)
