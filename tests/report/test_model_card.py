"""The model card of a potential for silicon, fitted to labels of a known teacher."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.stillinger_weber import StillingerWeber
from hpcmat.errors import InputError, StorageError
from hpcmat.records import Label, Method
from hpcmat.report import model_card_figures
from hpcmat.report.model_card import (
    CardInput,
    DataFile,
    EnergyVolumeCurve,
    JudgedFrame,
    PhysicalCheck,
    elastic_checks,
    group_rows,
    judge,
    remarks,
    render_model_card,
    write_model_card,
)
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.calculator import structure_of
from hpcmat.surrogates.calibration import calibration_of
from hpcmat.surrogates.elastic import ElasticConstants
from hpcmat.surrogates.extrapolation import ExtrapolationLimits, score_structure
from hpcmat.surrogates.fitting import fit_potential
from hpcmat.surrogates.scoring import Comparison

ATTACK = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


class Page(HTMLParser):
    """What a browser would load, run and show."""

    def __init__(self, text):
        super().__init__()
        self.loads, self.handlers, self.figures, self.scripts, self.text = [], [], [], 0, []
        self._script = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.handlers += [name for name in found if name.startswith("on")]
        self.loads += [found[name] for name in ("src", "href", "data") if name in found and tag != "a"]
        if tag == "script":
            self._script = found.get("type", "text/javascript")
            self.scripts += self._script == "text/javascript"

    def handle_endtag(self, tag):
        self._script = None if tag == "script" else self._script

    def handle_data(self, data):
        if self._script == "application/json":
            self.figures.append(json.loads(data))
        elif self._script is None:
            self.text.append(data)

    @property
    def words(self):
        return re.sub(r"\s+", " ", " ".join(self.text))


def labelled(seed):
    atoms = bulk("Si", cubic=True)
    atoms.positions += (0.15 if seed % 2 else 0.05) * np.random.default_rng(seed).normal(size=(8, 3))
    atoms.calc = StillingerWeber()
    forces, stress = atoms.get_forces(), atoms.get_stress()
    label = Label(structure_of(atoms), atoms.get_potential_energy(), forces, stress, Method("sw", "1", "{}", "0"))
    return ("hot" if seed % 2 else "cold"), label


@pytest.fixture(scope="module")
def potential():
    return fit_potential(tuple(labelled(seed)[1] for seed in range(16)), AceSettings(("Si",), cutoff_ang=4.5)).potential


@pytest.fixture(scope="module")
def card(potential):
    frames = [labelled(seed) for seed in range(26)]
    constants = ElasticConstants(np.diag([150.0, 150, 150, 60, 60, 60]) + 75.0 * _off(), 0.1, frames[0][1].structure)
    volumes = np.linspace(18, 22, 9)
    return CardInput(
        name="silicon, small",
        train=judge(potential, frames[:16]),
        test=tuple(replace(frame, score=0.5 + 0.2 * k) for k, frame in enumerate(judge(potential, frames[16:]))),
        data=(DataFile("Si_train.xyz", "train", 16, "ab" * 32),),
        checks=(*elastic_checks(constants, (("C11", 156.0),), "teacher"), PhysicalCheck("vacancy, eV", 3.5)),
        curves=(EnergyVolumeCurve("diamond", volumes, (volumes - 20) ** 2, volumes[::2], (volumes[::2] - 20) ** 2),),
        limits=ExtrapolationLimits(0.1, 0.002),
        notes=("Made for a test.",),
    )


def _off():
    off = np.zeros((6, 6))
    off[:3, :3] = 1 - np.eye(3)
    return off


def test_frames_are_scored_where_there_are_limits(potential):
    frames, limits = [labelled(seed) for seed in (20, 21)], ExtrapolationLimits(0.1, 0.002)
    scores = [frame.score for frame in judge(potential, frames, limits)]
    assert scores == [score_structure(potential, label.structure, limits) for _, label in frames]
    assert [frame.score for frame in judge(potential, frames)] == [None, None]


def made_up(sigma_scale, n=40):
    """A frame whose errors are Gaussian of size 0.1 and whose bars are `sigma_scale` times that."""
    rng = np.random.default_rng(0)
    label = rng.normal(size=3 * n)
    predicted = label + 0.1 * rng.normal(size=3 * n)
    sigma = np.full(3 * n, 0.1 * sigma_scale)
    return JudgedFrame(
        "made up", Comparison("k", n, (0.0, 0.001, 0.001), (label, predicted, sigma), np.empty(0), np.empty(0)), 20.0
    )


def test_card_shows_every_number_that_was_given(potential, card, tmp_path):
    write_model_card(tmp_path / "card.html", potential, card)
    page = Page((tmp_path / "card.html").read_text(encoding="utf-8"))
    assert page.loads == [] and page.handlers == [] and page.scripts == 2
    assert len(page.figures) == 4 and all(figure["data"] for figure in page.figures)
    for word in ("silicon, small", "ab" * 32, "Made for a test.", "156", "vacancy, eV", "C44, GPa", "4.50 Å", "hot"):
        assert word in page.words, word
    total = group_rows(card)[-1]
    errors = [c.comparison.forces[1] - c.comparison.forces[0] for c in card.test]
    rmse = np.sqrt(np.mean(np.concatenate(errors) ** 2))
    assert total.test.forces_rmse == pytest.approx(rmse) and f"{rmse:.3g}" in page.words


def test_groups_are_kept_apart(card):
    rows = {row.group: row for row in group_rows(card)}
    assert list(rows) == ["cold", "hot", "all"]
    assert rows["cold"].train.n_frames == 8 and rows["cold"].test.n_frames == 5
    assert rows["cold"].test.forces_rmse < rows["all"].test.forces_rmse < rows["hot"].test.forces_rmse
    one = CardInput("x", tuple(replace(frame, group="") for frame in card.train))
    assert [row.group for row in group_rows(one)] == ["all"] and group_rows(one)[0].test is None


@pytest.mark.parametrize(
    ("scale", "tone", "words"),
    [(1.0, "good", "hold"), (0.5, "warning", "too small"), (2.0, "warning", "too wide")],
)
def test_card_says_whether_the_bars_hold(potential, scale, tone, words):
    evaluation = CardInput("x", (), (made_up(scale),))
    found = remarks(potential, evaluation, calibration_of([made_up(scale).comparison]))
    about = [remark for remark in found if "error bars of forces" in remark.title]
    assert [remark.tone for remark in about] == [tone] and words in about[0].title


def test_a_group_with_small_bars_is_named_although_the_average_is_right(potential):
    right = tuple(replace(made_up(1.0), group="bulk") for _ in range(30))
    evaluation = CardInput("x", (), (*right, replace(made_up(0.4, n=4), group="surface")))
    calibration = calibration_of([frame.comparison for frame in evaluation.test])
    titles = [remark.title for remark in remarks(potential, evaluation, calibration)]
    assert "The error bars of forces hold." in titles and "Error bars are too small for surface." in titles
    assert not any("bulk" in title for title in titles)


def test_what_is_missing_is_said(potential, card):
    page = Page(render_model_card(potential, CardInput("bare", card.train)))
    assert "were not tested" in page.words and "No limit of extrapolation" in page.words
    assert "None were made" in page.words and len(page.figures) == 1
    with pytest.raises(InputError, match="needs frames"):
        render_model_card(potential, CardInput("empty", ()))


def test_text_of_others_is_inert(potential, card):
    hostile = replace(
        card,
        name=ATTACK,
        notes=(ATTACK,),
        train=tuple(replace(frame, group=ATTACK) for frame in card.train),
        data=(DataFile(ATTACK, "train", 1, ""),),
        curves=(replace(card.curves[0], crystal=ATTACK),),
        checks=(PhysicalCheck(ATTACK, 1.0, 2.0, ATTACK),),
    )
    page = Page(render_model_card(potential, hostile))
    assert page.loads == [] and page.handlers == [] and page.scripts == 2
    assert page.words.count("window.hacked") > 6
    # Negative control: unescaped it would load and run.
    assert Page(ATTACK).loads == ["x"] and Page(ATTACK).handlers == ["onerror"]


def test_histogram_counts_all_and_reliability_starts_at_zero():
    frame = made_up(1.0).comparison
    forces = calibration_of([frame]).forces.components
    figure = model_card_figures.calibration([frame], forces)
    bars = next(trace for trace in figure.data if trace.type == "bar")
    assert np.sum(bars.y) * bars.width == pytest.approx(1.0)
    observed = next(trace for trace in figure.data if trace.name == "observed")
    assert observed.y[0] == 0.0 and np.all(np.diff(observed.y) >= 0)


def test_unknown_constants_are_refused(card):
    constants = ElasticConstants(np.eye(6), 0.0, None)
    with pytest.raises(InputError, match="C13"):
        elastic_checks(constants, (("C13", 1.0),))


def test_card_that_cannot_be_written_says_so(potential, card, tmp_path):
    with pytest.raises(StorageError):
        write_model_card(tmp_path / "missing" / "card.html", potential, card)
