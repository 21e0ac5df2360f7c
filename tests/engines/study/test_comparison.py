"""Engines on the same structures, with teachers in their place."""

import pytest
from ase.build import bulk

from hpcmat.engines.sampling import cold_start
from hpcmat.engines.settings import EspressoSettings, FaultSettings, TeacherSettings
from hpcmat.engines.settings.translation import settings_for
from hpcmat.engines.structures import from_atoms
from hpcmat.engines.study.comparison import compare
from hpcmat.errors import InputError
from hpcmat.records import FailureKind

SILICON = from_atoms(bulk("Si", "diamond", 5.43))
FRAMES = cold_start(SILICON, 0.03, 0.05, 3, seed=1)
VOLUMES = tuple(from_atoms(bulk("Si", "diamond", 5.43 * scale)) for scale in (0.98, 0.99, 1.0, 1.01, 1.02))
OURS = TeacherSettings(calculator="stillinger-weber")


def test_an_engine_agrees_with_itself_and_not_with_another(tmp_path):
    first, same, other = compare([OURS, OURS, TeacherSettings(calculator="tersoff")], FRAMES, VOLUMES, tmp_path)
    assert first.apart is None
    assert first.complete
    assert first.state.volume == pytest.approx(5.431**3 / 8, rel=1e-3)
    assert same.apart.force_max_mev_per_ang == same.apart.energy_max_mev_per_atom == same.delta_mev_per_atom == 0.0
    assert other.apart.structures == 3
    assert other.apart.force_max_mev_per_ang > 10.0
    assert other.delta_mev_per_atom > 0.01


def test_a_failure_is_named_and_never_counted(tmp_path):
    broken = TeacherSettings(faults=FaultSettings(not_converged=1.0))
    _, other = compare([OURS, broken], FRAMES, VOLUMES, tmp_path)
    assert [number for number, _ in other.frames.failures] == [0, 1, 2]
    assert {failure.failure for _, failure in other.frames.failures} == {FailureKind.NOT_CONVERGED}
    assert not other.complete
    assert (other.apart.structures, other.state, other.delta_mev_per_atom) == (0, None, None)
    # The ladder went to its end before.
    assert (tmp_path / "1" / "frames" / "0" / "attempt-3").is_dir()


def test_physics_goes_to_another_engine_and_raw_keys_stay():
    ours = EspressoSettings(
        xc="LDA", cutoff_ev=321.0, smearing_ev=0.2, pseudopotentials="family", extra={"system": {"nbnd": 9}}
    )
    theirs = settings_for("abinit", ours)
    assert (theirs.xc, theirs.cutoff_ev, theirs.smearing_ev, theirs.pseudopotentials) == ("LDA", 321.0, 0.2, "family")
    assert theirs.extra == {}
    assert settings_for("espresso", ours) is ours
    # CP2K's cutoff is that of its density grid.
    assert settings_for("cp2k", ours).cutoff_ev == 5500.0


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("abinitt", {}, "did you mean 'abinit'"),
        ("cp2k", {"xc": "PBEsol"}, "cp2k with the settings of espresso: xc"),
        ("gpaw", {"smearing_ev": 0.1, "smearing": "gaussian"}, "Fermi-Dirac alone"),
    ],
)
def test_what_another_engine_cannot_do_is_refused(name, given, message):
    with pytest.raises(InputError, match=message):
        settings_for(name, EspressoSettings(**given))
