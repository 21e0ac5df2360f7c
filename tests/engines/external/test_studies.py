"""Studies of real engines, small ones: pw.x on two atoms of silicon."""

import numpy as np
import pytest
from ase.build import bulk

from hpcmat.engines.sampling import scaled
from hpcmat.engines.settings import EspressoSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.engines.study import convergence
from hpcmat.engines.study.calculations import Calculated
from hpcmat.engines.study.comparison import compare
from hpcmat.records import Label, Method

CAMPAIGN = """\
kind = "potential"
name = "si"
[system]
elements = ["Si"]
structures = [{ file = "si.xyz" }]
reference = { points = 5 }
[engine]
name = "espresso"
cutoff_ev = 120.0    # to be converged
kpoint_spacing_per_ang = 1.5
[target]
force_rmse_ev_per_ang = 0.1
"""


@pytest.fixture
def campaign(tmp_path):
    bulk("Si", "diamond", 5.47).write(tmp_path / "si.xyz")
    path = tmp_path / "si.toml"
    path.write_text(CAMPAIGN)
    return path


def test_a_campaign_is_converged_and_says_so(pw, campaign, hpcmat):
    before = hpcmat.answer("check", campaign)
    assert "cutoff_ev = 120 " in before["warnings"][0]
    tolerances = ("--energy-tolerance", "60", "--force-tolerance", "700", "--tight-cutoff", "200")
    found = hpcmat.answer("engines", "converge", campaign, *tolerances, "--write")
    assert found["found"]["errors"]["force_max_mev_per_ang"] <= 700.0
    assert found["found"]["cpu_s"] > 0.0
    after = hpcmat.answer("check", campaign)
    assert after["warnings"] == []
    written = campaign.read_text()
    assert f"cutoff_ev = {found['found']['cutoff_ev']}    # to be converged\n" in written
    assert len(written.splitlines()) == len(CAMPAIGN.splitlines())


def test_nothing_is_written_where_nothing_is_within_tolerance(pw, campaign, monkeypatch, hpcmat):
    rng = np.random.default_rng(1)

    def noise(settings, structures, folder):
        method = Method("espresso", "0", "{}", "")
        labels = [Label(s, rng.normal(), rng.normal(size=(len(s), 3)), np.zeros(0), method) for s in structures]
        return Calculated(tuple(labels), 1.0)

    monkeypatch.setattr(convergence, "calculate", noise)
    found = hpcmat.answer("engines", "converge", campaign, "--write", code=4)
    assert (found["found"], found["record"]) == (None, None)
    assert campaign.read_text() == CAMPAIGN
    assert [path.name for path in campaign.parent.iterdir() if "converged" in path.name] == []


def test_codes_are_compared_with_each_other_and_with_the_published_crystal(pw, abinit, campaign, hpcmat):
    campaign.write_text(CAMPAIGN.replace("120.0", "200.0").replace("1.5", "1.1"))
    found = hpcmat.answer("engines", "compare", campaign, "--engine", "abinit", "--reference")
    ours, theirs = found["engines"]
    assert theirs["engine"] == "abinit"
    assert theirs["settings"]["cutoff_ev"] == 200.0
    assert 0.0 < theirs["differences"]["force_rms_mev_per_ang"] < 100.0
    assert ours["differences"] is None
    # A coarse grid of k-points.
    for engine in found["engines"]:
        assert engine["equation_of_state"]["volume"] == pytest.approx(found["published"]["volume"], rel=0.05)
        assert engine["delta_to_published_mev_per_atom"] < 10.0


@pytest.mark.parametrize(
    ("crystal", "settings", "published", "other"),
    [
        (bulk("Si", "diamond", 5.45), {"xc": "PBE", "cutoff_ev": 300.0}, 5.475, 5.407),
        (bulk("Al", "fcc", 4.0), {"xc": "LDA", "cutoff_ev": 250.0, "smearing_ev": 0.3}, 3.983, 4.041),
    ],
)
def test_lattice_constants_are_the_published_ones_of_the_functional(pw, tmp_path, crystal, settings, published, other):
    """Haas, Tran and Blaha, Phys. Rev. B 79, 085104 (2009), all electrons: within 1 %, and not those of the other one.

    `make engines` compares more codes and crystals.
    """
    volumes = [scaled(from_atoms(crystal), fraction) for fraction in (0.94, 0.97, 1.0, 1.03, 1.06)]
    engine = EspressoSettings(kpoint_spacing_per_ang=0.6, kpoint_grid="gamma", **settings)
    [studied] = compare([engine], [], volumes, tmp_path)
    assert studied.complete
    found = (4 * len(crystal) * studied.state.volume) ** (1 / 3)
    assert found == pytest.approx(published, rel=0.01)
    assert found != pytest.approx(other, rel=0.01)


def test_one_engine_alone_has_nothing_to_be_compared_with(pw, campaign, hpcmat):
    hpcmat.answer("engines", "compare", campaign, code=2)
