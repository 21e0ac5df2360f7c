"""Commands as a user calls them: exit codes, one line for an error, JSON that parses, nothing written unasked."""

import json
import os
import subprocess
import sys

import pytest

from hpcmat.cli import app
from hpcmat.cli.app import COMMANDS
from hpcmat.errors import BusyError, DispatchError, InputError, StorageError

TEACHER = """\
kind = "potential"
name = "si"
[system]
elements = ["Si"]
structures = [{ crystal = "diamond", element = "Si", a_ang = 5.43 }]
[engine]
name = "teacher"
[target]
force_rmse_ev_per_ang = 0.1
[budget]
labels = 70
"""

HEAVY = (
    "numpy",
    "scipy",
    "ase",
    "parsl",
    "jax",
    "numba",
    "mpi4py",
    "sqlalchemy",
    "plotly",
    "jinja2",
    "pydantic",
    "rich",
)


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "si.toml"
    path.write_text(TEACHER)
    return path


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def loaded_by(code):
    return set(python(f"{code}\nimport sys; print('LOADED', *sys.modules)").rpartition("LOADED")[2].split())


def test_help_imports_nothing_heavy():
    loaded = loaded_by("from hpcmat.cli.app import run; run(['--help'])")
    assert "hpcmat.cli.check" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_driver_starts_without_the_statistics_of_scipy():
    """They would cost every driver and every pool of workers a fifth of the time of their imports."""
    loaded = loaded_by("import hpcmat.campaign.lifecycle, hpcmat.surrogates.training")
    assert "scipy.linalg" in loaded and "scipy.stats" not in loaded


def test_the_guard_on_imports_can_fail():
    assert not loaded_by("import hpcmat.records").isdisjoint(HEAVY)


def test_help_names_every_command_and_exit_code(capsys, hpcmat):
    assert hpcmat("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert all(f"  {code} " in shown for code in (0, 1, 2, 3, 4, 5, 130))


def test_no_command_shows_the_help(capsys, hpcmat):
    assert hpcmat() == 0
    assert "Commands:" in capsys.readouterr().out


def test_version(capsys, hpcmat):
    assert hpcmat("--version") == 0
    assert capsys.readouterr().out.startswith("hpcmat 0.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["chek"], "Did you mean 'check'"),
        (["check"], "Missing argument"),
        (["check", "si.toml", "--jsn"], "No such option"),
        (["check", "absent.toml"], "absent.toml: no such file"),
        (["plan", "si.toml", "--site", "nowhere"], "unknown site 'nowhere'"),
        (["schema", "sight"], "'sight' is not one of"),
        (["init", "si.toml"], "si.toml exists; name another file"),
        (["init", "no/folder/a.toml"], "no such folder"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_bad_input_is_one_line_and_exit_code_2(campaign, capsys, arguments, expected, as_json, hpcmat):
    assert hpcmat(*arguments, *(["--json"] if as_json else [])) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert expected in captured.err
    if as_json:
        assert json.loads(captured.out) == {"error": captured.err.removeprefix("error: ").strip(), "exit_code": 2}
    else:
        assert captured.out == ""
    assert os.listdir(campaign.parent) == ["si.toml"]


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError, 2), (StorageError, 3), (DispatchError, 4), (BusyError, 5), (KeyboardInterrupt, 130)],
)
def test_each_family_of_errors_has_its_exit_code(monkeypatch, capsys, error, code, hpcmat):
    def fail(**_):
        raise error("the disk is full; free some space")

    monkeypatch.setattr(app, "build_app", lambda: fail)
    assert hpcmat("check") == code
    assert capsys.readouterr().err.startswith("error: ")


def test_an_unexpected_error_is_not_hidden(monkeypatch, hpcmat):
    def fail(**_):
        raise ZeroDivisionError

    monkeypatch.setattr(app, "build_app", lambda: fail)
    with pytest.raises(ZeroDivisionError):
        hpcmat("check")


def test_init_then_check(campaign, capsys, hpcmat):
    assert hpcmat.answer("init", "new.toml") == {"file": "new.toml"}
    text = (campaign.parent / "new.toml").read_text()
    (campaign.parent / "new.toml").write_text(text.replace('name = "gpaw"', 'name = "teacher"'))
    assert hpcmat("check", "new.toml") == 2
    assert "unknown key 'xc'" in capsys.readouterr().err
    without = [line for line in text.splitlines() if not line.startswith(("xc", "cutoff_ev", "kpoint"))]
    (campaign.parent / "new.toml").write_text("\n".join(without).replace('name = "gpaw"', 'name = "teacher"'))
    assert hpcmat("check", "new.toml") == 0
    assert "campaign 'new' is valid" in capsys.readouterr().out


def test_the_template_is_valid_as_it_is(campaign, capsys, hpcmat):
    pytest.importorskip("gpaw")
    assert hpcmat("init", "my campaign.toml") == 0
    assert hpcmat("check", "my campaign.toml", "--json") == 0
    assert '"my-campaign"' in capsys.readouterr().out


def test_check_prints_defaults_with_units(campaign, capsys, hpcmat):
    assert hpcmat("check", campaign) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("  ")}
    assert lines["surrogate.cutoff_ang"][1:4] == ["5.0", "Å", "default"]
    assert lines["budget.labels"][1:3] == ["70", "given"]
    assert lines["explore.temperatures_k"][-1] != ""


def test_check_as_json(campaign, hpcmat):
    checked = hpcmat.answer("check", campaign)
    assert checked["valid"] is True
    settings = {setting["key"]: setting for setting in checked["settings"]}
    assert settings["target.confidence"] == {
        "key": "target.confidence",
        "value": 0.95,
        "unit": None,
        "origin": "default",
        "meaning": "Probability with which the bound on the error holds",
    }
    assert checked["reference_structures"] == 7
    assert checked["validation_frames"] == 12


def test_check_writes_nothing(campaign, hpcmat):
    assert hpcmat("check", campaign) == 0
    assert os.listdir(campaign.parent) == ["si.toml"]


@pytest.mark.parametrize("what", ["campaign", "site"])
def test_schema_is_json(capsys, what, hpcmat):
    assert hpcmat("schema", what) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    kinds = [schema["$defs"][name] for name in ("Campaign", "ScreenCampaign")] if what == "campaign" else [schema]
    assert all(kind["additionalProperties"] is False for kind in kinds)
    if what == "campaign":
        assert set(schema["discriminator"]["mapping"]) == {"potential", "screen"}


def test_module_and_script_agree():
    answer = subprocess.run([sys.executable, "-m", "hpcmat", "check", "absent.toml", "--json"], capture_output=True)
    assert answer.returncode == 2
    assert json.loads(answer.stdout)["exit_code"] == 2
