"""Campaign files: one clear message for each mistake, nothing written, defaults known, schema closed."""

import json
import tomllib
from pathlib import Path

import pytest

from hpcmat.campaign.screen.candidates import candidates_of
from hpcmat.campaign.spec import Campaign, canonical_spec_json, load_campaign
from hpcmat.campaign.spec_checks import validation_expected
from hpcmat.campaign.spec_table import resolved_settings
from hpcmat.campaign.specification import load_specification, parse_specification
from hpcmat.errors import EXIT_BAD_INPUT, InputError
from hpcmat.records import Governance

JOBS = Path(__file__).resolve().parents[2] / "jobs" / "campaigns"

GOOD = """\
kind = "potential"
name = "good"
[system]
elements = ["Si"]
structures = [{ crystal = "diamond", element = "Si", a_ang = 5.43 }]
[engine]
name = "teacher"
calculator = "stillinger-weber"
[explore]
temperatures_k = [300.0]
[target]
force_rmse_ev_per_ang = 0.1
[budget]
labels = 100
"""


def write(folder, text=GOOD, name="campaign.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def message(folder, text):
    """Message of a file that must be refused without anything being written."""
    path = write(folder, text)
    before = sorted(folder.rglob("*"))
    with pytest.raises(InputError) as caught:
        load_campaign(path)
    assert sorted(folder.rglob("*")) == before
    assert caught.value.exit_code == EXIT_BAD_INPUT
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def test_good_file_is_accepted(tmp_path):
    campaign = load_campaign(write(tmp_path))
    assert campaign.name == "good"
    assert campaign.folder == tmp_path
    assert campaign.system.structures[0].a_ang == 5.43
    assert campaign.explore.temperatures_k == (300.0,)


GPAW = 'name = "gpaw"'
TEACHER = 'name = "teacher"\ncalculator = "stillinger-weber"'

MISTAKES = {
    "unknown key": ("labels = 100", "label = 100", "budget.label: unknown key 'label'; did you mean 'labels'?"),
    "unknown table": ("[target]", "[tarjet]", "tarjet: unknown key 'tarjet'; did you mean 'target'?"),
    "nothing close": ("labels = 100", "zzz = 1", "allowed here: node_hours, walltime_s, labels"),
    "in an engine": (TEACHER, GPAW + "\ncutof_ev = 1.0", "engine.cutof_ev: unknown key 'cutof_ev'; did you mean 'cut"),
    "rydberg": (TEACHER, GPAW + "\ncutoff_ry = 22", "the unit of cutoff is eV here: write cutoff_ev = 299.3"),
    "hartree": (TEACHER, GPAW + "\ncutoff_ha = 11.0", "write cutoff_ev = 299.3"),
    "per bohr": (TEACHER, GPAW + "\nkpoint_spacing_per_bohr = 0.3", "write kpoint_spacing_per_ang = 0.5669"),
    "nanometre": ("a_ang = 5.43", "a_nm = 0.543", "system.structures[0].a_nm: unknown key 'a_nm'; the unit of a is Å"),
    "bohr": ("[explore]", "[explore]\nrattle_bohr = 0.1", "write rattle_ang = 0.05292"),
    "celsius": ("temperatures_k = [300.0]", "temperatures_c = [27]", "write temperatures_k = [300.15]"),
    "picoseconds": ("[explore]", "[explore]\ntimestep_ps = 0.002", "write timestep_fs = 2.0"),
    "hours": ("labels = 100", "walltime_h = 2", "write walltime_s = 7200.0"),
    "force unit": ("rmse_ev_per_ang = 0.1", "rmse_mev_per_ang = 100.0", "write force_rmse_ev_per_ang = 0.1"),
    "force in atomic units": (
        "rmse_ev_per_ang = 0.1",
        "rmse_ha_per_bohr = 0.01",
        "write force_rmse_ev_per_ang = 0.5142",
    ),
    "unit in the value": (TEACHER, GPAW + '\ncutoff_ev = "22 Ry"', "got the text '22 Ry'; write cutoff_ev = 299.3"),
    "number as text": (
        TEACHER,
        GPAW + '\ncutoff_ev = "400"',
        "engine.cutoff_ev: expected a number, got the text '400'",
    ),
    "length in a force's place": ("0.1\n[budget]", '"1 nm"\n[budget]', "write a number in eV/Å"),
    "negative": ("a_ang = 5.43", "a_ang = -5.43", "system.structures[0].a_ang: must be greater than 0, got -5.43"),
    "nan": ("a_ang = 5.43", "a_ang = nan", "system.structures[0].a_ang: must be a finite number, got nan"),
    "infinite": ("a_ang = 5.43", "a_ang = inf", "must be a finite number"),
    "float for integer": ("labels = 100", "labels = 99.5", "budget.labels: expected an integer, got 99.5"),
    "whole float for integer": ("labels = 100", "labels = 100.0", "budget.labels: expected an integer, got 100.0"),
    "bool for integer": ("labels = 100", "labels = true", "budget.labels: expected an integer, got true"),
    "text for list": ('elements = ["Si"]', 'elements = "Si"', "system.elements: expected a list, got the text 'Si'"),
    "number for table": ("[explore]\n", "[[explore]]\n", "explore: expected a table"),
    "empty list": (
        "temperatures_k = [300.0]",
        "temperatures_k = []",
        "explore.temperatures_k: must have at least 1 item",
    ),
    "date": ("labels = 100", "labels = 2026-01-01", "found the date 2026-01-01"),
    "missing": ("force_rmse_ev_per_ang = 0.1", "", "target.force_rmse_ev_per_ang: missing (Root mean square error"),
    "missing table": ("[target]\nforce_rmse_ev_per_ang = 0.1\n", "", "target: missing"),
    "missing lattice constant": (", a_ang = 5.43", "", "system.structures[0].a_ang: missing (Lattice constant a"),
    "neither crystal nor file": ('crystal = "diamond", ', "", "needs either the key 'crystal' or the key 'file'"),
    "unknown engine": (TEACHER, 'name = "gpwa"', "engine.name: unknown engine 'gpwa'; did you mean 'gpaw'?"),
    "far-off engine": (
        TEACHER,
        'name = "xyz"',
        "engine.name: unknown engine 'xyz'; available: gpaw, espresso, abinit, cp2k, vasp, siesta, tblite, teacher",
    ),
    "engine without name": (TEACHER, "", "engine.name: missing"),
    "screen": ('"potential"', '"screen"', "this is a screening campaign"),
    "unknown kind": ('"potential"', '"potentail"', "unknown value 'potentail'; did you mean 'potential'?"),
    "unknown method": ("[explore]", '[explore]\nmethod = "mc"', "unknown value 'mc'; choose one of md, rattle"),
    "name": ('name = "good"', 'name = "../good"', "name: '../good' cannot be part of a file name"),
    "licence": ("[budget]", '[governance]\nlicence = "CC-BY-4"\n[budget]', "did you mean 'CC-BY-4.0'?"),
    "strain": ("[explore]", "[explore]\nstrain = 3.0", "explore.strain: must be less than or equal to 0.3, got 3.0"),
    "volumes": ("[engine]", "[system.reference]\nvolumes = [1.1, 1.2]\n[engine]", "must begin below 1 and end above 1"),
    "volume points": ("[engine]", "[system.reference]\npoints = 3\n[engine]", "write at least 5, or 0"),
    "reference of no seed": ("[engine]", "[system.reference]\nstructure = 1\n[engine]", "there is no seed structure 1"),
    "syntax": ("labels = 100", "labels = = 100", "not valid TOML: Invalid value (at line 14, column 10)"),
    "key twice": ("labels = 100", "labels = 100\nlabels = 1", "not valid TOML: Cannot overwrite a value (at line 15"),
    "no element": ('elements = ["Si"]', 'elements = ["silicon"]', "system.elements: 'silicon' is no chemical element"),
    "wrong case": ('elements = ["Si"]', 'elements = ["si"]', "'si' is no chemical element; did you mean 'Si'?"),
    "element twice": ('elements = ["Si"]', 'elements = ["Si", "Si"]', "repeats an element"),
    "element in no structure": ('["Si"]', '["Si", "Ge"]', "no structure contains Ge"),
    "element not listed": ('element = "Si"', 'element = "Ge"', "contains Ge, which system.elements does not list"),
    "no such crystal": ('element = "Si"', 'element = "Qq"', "system.structures[0].element: no diamond crystal of 'Qq'"),
    "c of a cubic crystal": ("a_ang = 5.43", "a_ang = 5.43, c_ang = 6.0", "diamond has one lattice constant"),
    "overlapping atoms": ("a_ang = 5.43", "a_ang = 2.0", "sum of their covalent radii"),
    "element the engine lacks": (
        GOOD[GOOD.index("elements") : GOOD.index("[engine]")],
        'elements = ["Cu"]\nstructures = [{ crystal = "fcc", element = "Cu", a_ang = 3.6 }]\n',
        "engine: ",
    ),
    "missing structure file": ('crystal = "diamond", element = "Si", a_ang = 5.43', 'file = "no.xyz"', "no file"),
    "no room for validation": ("labels = 100", "labels = 30", "leaves 4 validation frames"),
    "cold start above budget": ("labels = 100", "labels = 5", "10 labels exceed budget.labels = 5"),
    "inner radius": ("[target]", "[surrogate]\ninner_ang = 6.0\n[target]", "is not below cutoff_ang = 5.0"),
    "no sample": ("[explore]", "[explore]\nsteps = 10", "explore.sample_every: 20 exceeds steps = 10"),
    "pool": ("[explore]", "[steering]\npool_min = 500\n[explore]", "steering.pool_min: 500 exceeds pool_max = 200"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistake_gives_one_clear_message(tmp_path, case):
    old, new, expected = MISTAKES[case]
    assert GOOD.count(old) >= 1
    found = message(tmp_path, GOOD.replace(old, new, 1))
    assert expected in found
    assert "\n" not in found
    assert "pydantic" not in found


def test_element_without_paw_data_is_refused(tmp_path):
    pytest.importorskip("gpaw")
    text = GOOD.replace(TEACHER, GPAW).replace('["Si"]', '["Np"]').replace('element = "Si"', 'element = "Np"')
    assert "engine: " in message(tmp_path, text)
    assert "Np" in message(tmp_path, text)


def test_unreadable_files_are_input_errors(tmp_path):
    with pytest.raises(InputError, match=r"no such file; did you mean 'campaign.toml'\?"):
        load_campaign(write(tmp_path).with_name("campain.toml"))
    with pytest.raises(InputError, match="is a folder"):
        load_campaign(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(InputError, match="not UTF-8"):
        load_campaign(tmp_path / "binary.toml")


def test_unknown_key_is_told_before_the_missing_one(tmp_path):
    found = message(tmp_path, GOOD.replace("force_rmse_ev_per_ang", "forces_rmse_ev_per_ang"))
    assert "unknown key 'forces_rmse_ev_per_ang'; did you mean 'force_rmse_ev_per_ang'?" in found


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_campaigns_are_valid(path):
    campaign = parse_specification(tomllib.loads(path.read_text(encoding="utf-8")), path)
    assert campaign.name == path.stem
    if campaign.engine.name == "teacher":
        assert load_specification(path) == campaign
    if campaign.kind == "screen":
        assert {known.candidate for known in campaign.literature} <= {c.name for c in candidates_of(campaign)}
    else:
        assert validation_expected(campaign) >= campaign.target.min_validation


def test_canonical_json_does_not_depend_on_order_or_on_written_defaults(tmp_path):
    campaign = load_campaign(write(tmp_path))
    other = GOOD.replace("[budget]", "[surrogate]\ncutoff_ang = 5.0\n[budget]").replace(
        '{ crystal = "diamond", element = "Si", a_ang = 5.43 }', '{ a_ang = 5.43, element = "Si", crystal = "diamond" }'
    )
    text = canonical_spec_json(campaign)
    assert canonical_spec_json(load_campaign(write(tmp_path, other))) == text
    assert canonical_spec_json(load_campaign(write(tmp_path, GOOD.replace("5.43", "5.44")))) != text
    assert canonical_spec_json(Campaign.model_validate_json(text)) == text


def test_settings_say_what_is_default(tmp_path):
    settings = {setting.path: setting for setting in resolved_settings(load_campaign(write(tmp_path)))}
    assert settings["budget.labels"].given
    assert settings["budget.labels"].value == 100
    assert not settings["surrogate.cutoff_ang"].given
    assert settings["surrogate.cutoff_ang"].unit == "Å"
    assert settings["target.force_rmse_ev_per_ang"].unit == "eV/Å"
    assert settings["failures.task_walltime_s.label"].unit == "s"
    assert settings["budget.node_hours"].value is None
    assert settings["system.structures[0].crystal"].given


def test_every_setting_of_the_campaign_is_described(tmp_path):
    settings = resolved_settings(load_campaign(write(tmp_path)))
    assert not [item.path for item in settings if not item.description and not item.path.startswith("engine.")]


def test_schema_is_closed_and_knows_every_key():
    schema = Campaign.model_json_schema()
    tables = [schema, *(table for table in schema["$defs"].values() if table["type"] == "object")]
    assert len(tables) > 10
    assert all(table["additionalProperties"] is False for table in tables)
    assert set(schema["required"]) == {"kind", "name", "system", "engine", "target"}
    assert json.loads(json.dumps(schema)) == schema


def test_governance_becomes_a_record(tmp_path):
    text = GOOD + '[governance]\ncreators = ["A. Author"]\nlicence = "LicenseRef-mine"\ntier = "open"\n'
    assert load_campaign(write(tmp_path, text)).governance.record() == Governance(
        ("A. Author",), "LicenseRef-mine", "open"
    )


@pytest.mark.parametrize(
    ("labels", "cold", "fraction", "frames"), [(60, 10, 0.2, 10), (59, 10, 0.2, 9), (5, 10, 0.2, 0), (110, 10, 0.1, 10)]
)
def test_validation_frames_within_the_budget(tmp_path, labels, cold, fraction, frames):
    campaign = load_campaign(write(tmp_path))
    changed = campaign.model_copy(
        update={
            "budget": campaign.budget.model_copy(update={"labels": labels}),
            "explore": campaign.explore.model_copy(update={"cold_start": cold}),
            "steering": campaign.steering.model_copy(update={"validation_fraction": fraction}),
        }
    )
    assert validation_expected(changed) == frames
