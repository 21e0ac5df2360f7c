"""The model card: what a potential is, how wrong it is, whether it knows, and where it must not be used.

One HTML file that opens offline, in the style of a campaign's report.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpcmat import __version__
from hpcmat.errors import InputError
from hpcmat.records import Label
from hpcmat.report import model_card_figures as figures
from hpcmat.report.html import Figure, json_in_html, render_page
from hpcmat.report.text import number, percent, plural
from hpcmat.store.atomic import write_text
from hpcmat.surrogates.calibration import PotentialCalibration, calibration_of
from hpcmat.surrogates.elastic import ElasticConstants
from hpcmat.surrogates.extrapolation import ExtrapolationLimits, score_structure
from hpcmat.surrogates.potential import Potential
from hpcmat.surrogates.scoring import Comparison, Errors, compare, summarise

Floats = NDArray[np.float64]

GOOD_RMS_Z = (0.9, 1.1)
GOOD_COVERAGE_95 = (0.93, 0.97)
"""Outside of these the card says that the error bars are wrong."""
BAD_GROUP_RMS_Z = 1.4
"""Above this it names the group: error bars that hold on average may be too small where it matters."""


@dataclass(frozen=True, slots=True, eq=False)
class JudgedFrame:
    """One label beside its prediction."""

    group: str
    """Kind of structure, e.g. `Surface`; empty where the data do not say."""
    comparison: Comparison
    volume: float
    """Å³ per atom; 0 without a cell."""
    score: float | None = None
    """`extrapolation_score`, where it was computed."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A file that the potential was fitted to or judged by."""

    name: str
    role: str
    """`train` or `test`."""
    frames: int
    sha256: str


@dataclass(frozen=True, slots=True)
class PhysicalCheck:
    """One property by the potential and, where it is known, by a reference."""

    quantity: str
    """With its unit, e.g. `C11, GPa`."""
    potential: float
    reference: float | None = None
    source: str = ""
    """Where the reference is from."""


@dataclass(frozen=True, slots=True, eq=False)
class EnergyVolumeCurve:
    """Energies of a crystal over its volume by the potential, and by reference labels where there are any."""

    crystal: str
    volumes: Floats
    """(m,) Å³/atom"""
    energies: Floats
    """(m,) eV/atom by the potential"""
    reference_volumes: Floats
    """(k,) Å³/atom; empty without reference"""
    reference_energies: Floats
    """(k,) eV/atom"""


@dataclass(frozen=True, slots=True, eq=False)
class CardInput:
    """What is shown beside the potential itself. Everything but the frames may be missing."""

    name: str
    train: tuple[JudgedFrame, ...]
    test: tuple[JudgedFrame, ...] = ()
    """Never trained on; calibration is judged by these."""
    data: tuple[DataFile, ...] = ()
    checks: tuple[PhysicalCheck, ...] = ()
    curves: tuple[EnergyVolumeCurve, ...] = ()
    limits: ExtrapolationLimits | None = None
    notes: tuple[str, ...] = ()
    """Remarks of the maker, e.g. frames of the test set that are copies of training frames."""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """Errors of one group of frames."""

    group: str
    train: Errors | None
    test: Errors | None
    test_rms_z: float | None
    """Of force components."""


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence for the list on top, with its tone: good, note or warning."""

    tone: str
    title: str
    detail: str


def judge(
    potential: Potential, labels: Iterable[tuple[str, Label]], limits: ExtrapolationLimits | None = None
) -> tuple[JudgedFrame, ...]:
    """Predict (group, label) pairs, and score them where limits are given; InputError where the potential cannot."""

    def judged(number: int, group: str, label: Label) -> JudgedFrame:
        score = None if limits is None else score_structure(potential, label.structure, limits)
        return JudgedFrame(group, compare(potential, str(number), label), _volume(label), score)

    return tuple(judged(number, group, label) for number, (group, label) in enumerate(labels))


def _volume(label: Label) -> float:
    structure = label.structure
    return abs(float(np.linalg.det(structure.cell))) / len(structure) if all(structure.pbc) else 0.0


def elastic_checks(
    found: ElasticConstants, reference: Sequence[tuple[str, float]] = (), source: str = ""
) -> tuple[PhysicalCheck, ...]:
    """Rows for the cubic averages and moduli; `reference` names C11, C12, C44, B, G in GPa as far as known."""
    known = dict(reference)
    unknown = set(known) - {"C11", "C12", "C44", "B", "G"}
    if unknown:
        raise InputError(f"no elastic constant is called {', '.join(sorted(unknown))}; use C11, C12, C44, B, G")
    values = dict(zip(("C11", "C12", "C44"), found.cubic, strict=True))
    values |= {"B": found.bulk_modulus_gpa, "G": found.shear_modulus_gpa}
    return tuple(PhysicalCheck(f"{name}, GPa", value, known.get(name), source) for name, value in values.items())


def write_model_card(path: Path, potential: Potential, evaluation: CardInput) -> None:
    """Write the card of a potential to a file, whole or not at all.

    Raises
    ------
    InputError
        There is no frame at all.
    StorageError
        The file cannot be written.
    """
    write_text(path, render_model_card(potential, evaluation))


def render_model_card(potential: Potential, evaluation: CardInput) -> str:
    """Page of the card; nothing is loaded from outside."""
    if not evaluation.train and not evaluation.test:
        raise InputError("a model card needs frames to judge the potential by; pass training or test labels")
    calibration = calibration_of([f.comparison for f in evaluation.test]) if evaluation.test else None
    groups = group_rows(evaluation)
    return render_page(
        "model_card.html.j2",
        card=evaluation,
        potential=potential,
        metadata=potential.metadata,
        parameters=len(potential.coefficients),
        noise=potential.noise,
        total=groups[-1],
        groups=groups,
        calibration=calibration,
        remarks=remarks(potential, evaluation, calibration),
        domain=_domain(evaluation.train or evaluation.test),
        figures=_figures(evaluation, calibration),
        version=__version__,
        r=None,
    )


def group_rows(evaluation: CardInput) -> tuple[GroupRow, ...]:
    """One row per group in order of name, and `all` at the end."""
    names = sorted({frame.group for frame in (*evaluation.train, *evaluation.test)})
    rows = [_group_row(name, evaluation, {name}) for name in names if len(names) > 1]
    return (*rows, _group_row("all", evaluation, set(names)))


def _group_row(title: str, evaluation: CardInput, groups: set[str]) -> GroupRow:
    train, test = (
        tuple(frame.comparison for frame in frames if frame.group in groups)
        for frames in (evaluation.train, evaluation.test)
    )
    z2 = [(c.score().forces_z2, c.n_atoms) for c in test]
    rms_z = float(np.sqrt(np.average([z for z, _ in z2], weights=[n for _, n in z2]))) if z2 else None
    errors = tuple(summarise(part) if part else None for part in (train, test))
    return GroupRow(title or "not named", errors[0], errors[1], rms_z)


def remarks(
    potential: Potential, evaluation: CardInput, calibration: PotentialCalibration | None
) -> tuple[Remark, ...]:
    """What a user must know first."""
    elements = ", ".join(potential.settings.elements)
    found = [
        Remark("note", f"For {elements} only, with neighbours within {potential.settings.cutoff_ang:g} Å.",
               "No long-range electrostatics or dispersion, no magnetism, no charge states."),
        _calibration_remark(calibration),
        _limit_remark(evaluation),
        *_group_remarks(evaluation),
        *(Remark("note", note, "") for note in evaluation.notes),
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda remark: ("warning", "good", "note").index(remark.tone)))


def _calibration_remark(calibration: PotentialCalibration | None) -> Remark:
    if calibration is None:
        return Remark("warning", "The error bars were not tested.", "Evaluate labels that were not trained on.")
    forces = calibration.forces.components
    inside = GOOD_RMS_Z[0] <= forces.rms_z <= GOOD_RMS_Z[1]
    inside &= GOOD_COVERAGE_95[0] <= forces.coverage_95 <= GOOD_COVERAGE_95[1]
    figures_of = f"rms z {number(forces.rms_z)} and {percent(forces.coverage_95)} inside the 95 % interval"
    where = f"on {plural(forces.n_structures, 'test frame')}"
    if inside:
        return Remark("good", "The error bars of forces hold.", f"{figures_of} {where}.")
    small = forces.rms_z > 1.0
    advice = "Multiply them by the conformal factors below" if small else "They err on the safe side"
    return Remark(
        "warning",
        f"The error bars of forces are too {'small' if small else 'wide'}.",
        f"{figures_of} {where}. {advice}.",
    )


def _group_remarks(evaluation: CardInput) -> Iterator[Remark]:
    for row in group_rows(evaluation)[:-1]:
        if row.test is not None and row.test_rms_z is not None and row.test_rms_z > BAD_GROUP_RMS_Z:
            yield Remark(
                "warning",
                f"Error bars are too small for {row.group}.",
                f"Their rms z is {number(row.test_rms_z)} on {plural(row.test.n_frames, 'test frame')}. "
                "Label more structures of this kind before relying on the potential there.",
            )


def _limit_remark(evaluation: CardInput) -> Remark:
    if evaluation.limits is None:
        return Remark("warning", "No limit of extrapolation was set.",
                      "Compute it from the training set, or watch the force uncertainty while simulating.")  # fmt: skip
    scores = [frame.score for frame in evaluation.test if frame.score is not None]
    share = f" {percent(float(np.mean(np.array(scores) > 1)))} of the test frames lie beyond it." if scores else ""
    return Remark("note", "Do not trust structures with an extrapolation score above 1.",
                  "It compares their uncertainty with that of 95 % of the training frames." + share)  # fmt: skip


def _domain(frames: tuple[JudgedFrame, ...]) -> tuple[tuple[str, str], ...]:
    """(what, range) of what the potential has seen."""
    volumes = [frame.volume for frame in frames if frame.volume]
    atoms = [frame.comparison.n_atoms for frame in frames]
    largest = max(float(np.abs(frame.comparison.forces[0]).max()) for frame in frames)
    energies = [frame.comparison.energy[0] for frame in frames]
    ranges = [
        ("Volume per atom", f"{number(min(volumes), 4)} to {number(max(volumes), 4)} Å³" if volumes else "no cells"),
        ("Energy per atom", f"{min(energies):.3f} to {max(energies):.3f} eV"),
        ("Largest force component", f"{number(largest)} eV/Å"),
        ("Atoms per structure", f"{min(atoms)} to {max(atoms)}"),
    ]
    return tuple(ranges)


def _figures(evaluation: CardInput, calibration: PotentialCalibration | None) -> dict[str, Figure]:
    sets = {"training": evaluation.train, "test": evaluation.test}
    comparisons = {name: tuple(f.comparison for f in frames) for name, frames in sets.items() if frames}
    built = [Figure("parity", _json(figures.parity(comparisons)), "Predicted against labelled energies and forces.")]
    if calibration is not None:
        forces = calibration.forces.components
        words = f"rms z {number(forces.rms_z)}, {percent(forces.coverage_95)} inside 95 %"
        built.append(Figure("calibration", _json(figures.calibration(comparisons["test"], forces)),
                            f"Reliability of force intervals and distribution of z: {words}."))  # fmt: skip
        built.append(Figure("error-sigma", _json(figures.error_against_sigma(comparisons["test"])),
                            "Root mean square force error against predicted standard deviation."))  # fmt: skip
    built += [
        Figure(f"curve-{k}", _json(figures.energy_volume(curve)), f"Energy against volume of {curve.crystal}.")
        for k, curve in enumerate(evaluation.curves)
    ]
    return {figure.id: figure for figure in built}


def _json(figure: figures.PlotlyFigure) -> str:
    return json_in_html(figure.to_json())
