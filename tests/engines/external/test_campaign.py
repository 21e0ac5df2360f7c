"""A campaign whose labels pw.x computes, through the driver, the workers and the result store."""

import json

import numpy as np

from hpcmat.campaign.converged import Converged, add_converged, other_physics
from hpcmat.campaign.spec import load_campaign
from hpcmat.engines.study.convergence import Tolerances
from hpcmat.engines.study.differences import Differences
from hpcmat.records import Label, Record, decode
from hpcmat.store.atomic import sha256_of

CAMPAIGN = """
kind = "potential"
name = "si-espresso"
[system]
elements = ["Si"]
structures = [{ file = "si.xyz" }]
[engine]
name = "espresso"
cutoff_ev = 120.0
kpoint_spacing_per_ang = 1.3
pseudopotentials = "PSEUDOPOTENTIALS"
[explore]
method = "rattle"
cold_start = 4
[steering]
validation_fraction = 0.4
[target]
force_rmse_ev_per_ang = 1e-6
min_validation = 2
[budget]
labels = 9
[surrogate]
cutoff_ang = 4.0
"""


def records_of(store):
    texts = [path.read_text().partition("\n")[2] for path in store.glob("*/*/attempt-*/record.json")]
    return [decode(Record, text) for text in texts]


def as_if_converged(campaign):
    """The outcome that a study of these very settings would leave beside the campaign file."""
    settings = campaign.engine
    return Converged(
        physics=other_physics(settings, campaign.system.elements),
        cutoff_ev=settings.cutoff_ev,
        kpoint_spacing_per_ang=settings.kpoint_spacing_per_ang,
        tolerances=Tolerances(1.0, 10.0),
        errors=Differences(2, 0.1, 0.1, 2.0, 5.0, None),
        tight_cutoff_ev=2.0 * settings.cutoff_ev,
        tight_spacing_per_ang=0.5 * settings.kpoint_spacing_per_ang,
        code="espresso",
        version="6.7",
    )


def test_a_campaign_of_pw_labels_trains_and_ends(pw, gth, tmp_path, capsys, hpcmat):
    """With the GTH files of which this pw.x computes no stress worth having: the fit does without."""
    from ase.build import bulk
    from ase.io import write

    write(tmp_path / "si.xyz", bulk("Si", "diamond", 5.47), format="extxyz")
    file = tmp_path / "campaign.toml"
    file.write_text(CAMPAIGN.replace("PSEUDOPOTENTIALS", str(gth)))
    store = tmp_path / "store"
    options = ["--out", str(tmp_path / "out"), "--store", str(store), "--json"]
    assert hpcmat("run", file, *options) == 0
    printed = capsys.readouterr()
    assert "cutoff_ev = 120 and kpoint_spacing_per_ang = 1.3 were never converged" in printed.err
    summary = json.loads(printed.out)
    assert (tmp_path / "out" / "potential.npz").exists(), summary
    records = [record for record in records_of(store) if record.task_kind == "label"]
    assert len(records) >= 9
    for record in records:
        label = decode(Label, record.outcome)
        folder = next(store.glob(f"*/{record.key}/attempt-1"))
        kept = dict(record.files)
        assert {"pw.in", "pw.out", "pw.xml", "calculation.json"} <= set(kept)
        assert kept["pw.out"] == sha256_of(folder / "pw.out")
        assert not (folder / "scratch").exists()
        assert label.method.inputs[0].startswith("Si.gth ")
        assert np.isfinite(label.energy)
        assert label.stress.size == 6 or "stress left out" in label.notes[-1]
    add_converged(file, as_if_converged(load_campaign(file)))
    assert hpcmat("run", file, *options) == 0
    assert "never converged" not in capsys.readouterr().err
