"""What convergence studies leave beside the campaign file, and what they change in it."""

import pytest

from hpcmat.campaign import converged
from hpcmat.campaign.converged import (
    Converged,
    add_converged,
    not_converged,
    other_physics,
    read_converged,
    record_file,
    with_engine_values,
)
from hpcmat.engines.settings import EspressoSettings, TeacherSettings
from hpcmat.engines.study.convergence import Tolerances
from hpcmat.engines.study.differences import Differences
from hpcmat.errors import InputError, StorageError
from hpcmat.records import Method

FILE = """\
# A campaign.
name = "x" # name = "engine"
[system]
cutoff_ev = 1.0
[ engine ]  # the code
name = "espresso"
  cutoff_ev   = 250.0      # converge it
extra.system.nbnd = 9

[engine.extra.control]
cutoff_ev = 3
"""


class Engine:
    def __init__(self, settings):
        self.settings = settings

    def method(self, symbols):
        return Method("espresso", "7", "{}", "", tuple(f"{symbol}.gth 00" for symbol in symbols))


@pytest.fixture(autouse=True)
def _no_program(monkeypatch):
    monkeypatch.setattr(converged, "engine_for", Engine)


def outcome(settings, symbols=("Si",), force=10.0):
    return Converged(
        physics=other_physics(settings, symbols),
        cutoff_ev=300.0,
        kpoint_spacing_per_ang=0.3,
        tolerances=Tolerances(1.0, force),
        errors=Differences(2, 0.1, 0.1, 2.0, 5.0, None),
        tight_cutoff_ev=600.0,
        tight_spacing_per_ang=0.15,
        code="espresso",
        version="7",
    )


def settings(**changed):
    return EspressoSettings(**({"cutoff_ev": 300.0, "kpoint_spacing_per_ang": 0.3} | changed))


def test_settings_as_tight_as_those_found_are_covered_and_others_are_not(tmp_path):
    campaign = tmp_path / "si.toml"
    assert "never converged" in not_converged(settings(), ("Si",), campaign)
    assert add_converged(campaign, outcome(settings())) == record_file(campaign) == tmp_path / "si.converged.json"
    for covered in ({}, {"cutoff_ev": 400.0}, {"kpoint_spacing_per_ang": 0.2}, {"keep_files": "none"}):
        assert not_converged(settings(**covered), ("Si",), campaign) == ""
    for other in ({"cutoff_ev": 299.0}, {"kpoint_spacing_per_ang": 0.31}, {"xc": "LDA"}, {"smearing_ev": 0.1}):
        assert "never converged" in not_converged(settings(**other), ("Si",), campaign)
    assert "never converged" in not_converged(settings(), ("O", "Si"), campaign)
    assert not_converged(TeacherSettings(), ("Si",), campaign) == ""


def test_outcomes_add_up_and_equal_ones_give_way(tmp_path):
    campaign = tmp_path / "si.toml"
    for found in (outcome(settings()), outcome(settings(xc="LDA")), outcome(settings(), force=5.0)):
        add_converged(campaign, found)
        add_converged(campaign, found)
    assert len(read_converged(campaign)) == 3
    record_file(campaign).write_text("[{}]")
    with pytest.raises(StorageError, match="cannot be read"):
        read_converged(campaign)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_two_numbers_change_and_nothing_else(tmp_path, end):
    campaign = tmp_path / "si.toml"
    campaign.write_bytes(FILE.replace("\n", end).encode())
    edited = with_engine_values(campaign, {"cutoff_ev": 300.0, "kpoint_spacing_per_ang": 0.25})
    expected = FILE.replace("= 250.0  ", "= 300.0  ").replace(
        'name = "espresso"\n', 'name = "espresso"\nkpoint_spacing_per_ang = 0.25\n'
    )
    assert edited == expected.replace("\n", end)


@pytest.mark.parametrize(
    "text",
    [
        'engine = { name = "espresso", cutoff_ev = 250.0 }\n',
        'engine.name = "espresso"\n',
        'a = """\n[engine]\nname = 1\n"""\n[ "engine" ]\nname = "espresso"\n',
    ],
)
def test_a_file_that_is_written_otherwise_is_left_alone(tmp_path, text):
    campaign = tmp_path / "si.toml"
    campaign.write_text(text)
    with pytest.raises(InputError, match=r"by hand: cutoff_ev = 300.0"):
        with_engine_values(campaign, {"cutoff_ev": 300.0})
