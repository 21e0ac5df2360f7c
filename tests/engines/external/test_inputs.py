"""What the external engines decide before anything runs: settings, files, k-points, inputs, missing programs."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from pydantic import ValidationError

from hpcmat.cli.health import check_external_codes
from hpcmat.engines.base import EngineFailure, Job, physics_of
from hpcmat.engines.external.code import Code, Sources
from hpcmat.engines.external.engine import bands
from hpcmat.engines.external.espresso import pools
from hpcmat.engines.external.gth import find_potential, format_potential
from hpcmat.engines.external.pseudopotentials import Search, find, read_header
from hpcmat.engines.kpoints import grid_has_lattice_symmetry, grid_shift
from hpcmat.engines.parallel import Parallel
from hpcmat.engines.registry import EXTERNAL_CODES, check_engine, engine_for
from hpcmat.engines.settings import AbinitSettings, EspressoSettings
from hpcmat.engines.structures import from_atoms
from hpcmat.errors import InputError
from hpcmat.records import FailureKind

SILICON = from_atoms(bulk("Si", "diamond", 5.47))
SETTINGS = {"espresso": EspressoSettings, "abinit": AbinitSettings}
UPF = (
    '<UPF version="2.0.1">\n<PP_HEADER\nelement="{0}"\npseudo_type="{1}"\nfunctional="{2}"\nz_valence="4.0"\n/>\n</UPF>'
)


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """Programs that print what they are given and their environment, under the names of the codes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, version in (("pw.x", "Program PWSCF v.9.9 starts"), ("abinit", "9.9.9")):
        (folder / name).write_text(f"#!/bin/sh\necho '{version}'\nenv\necho arguments: $@\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def written(settings, folder, structure=SILICON, remedies=()):
    """Text of the input that this engine writes, from a run of a program that computes nothing."""
    folder.mkdir()
    with pytest.raises(EngineFailure):
        engine_for(settings).calculate(structure, Job(folder, remedies=remedies))
    return (folder / ("pw.in" if settings.name == "espresso" else "run.abi")).read_text()


@pytest.mark.parametrize("name", SETTINGS)
def test_remedies_change_the_road_and_never_the_physics(programs, gth, tmp_path, name):
    settings = SETTINGS[name](pseudopotentials=str(gth), smearing_ev=0.1, kpoint_grid="gamma")
    plain = written(settings, tmp_path / "plain")
    texts = {}
    for remedy in ("mixing", "more-steps", "eigensolver", "no-symmetry", "more-bands"):
        texts[remedy] = written(settings, tmp_path / remedy, remedies=(remedy,))
        changed = set(texts[remedy].splitlines()) ^ set(plain.splitlines())
        assert 0 < len(changed) <= 2, changed
    assert len(set(texts.values())) == 5


def test_physical_settings_reach_pw(programs, gth, tmp_path):
    settings = EspressoSettings(
        pseudopotentials=str(gth),
        cutoff_ev=300.0,
        smearing_ev=0.2,
        smearing="gaussian",
        spin_polarized=True,
        density_cutoff_factor=6.0,
        energy_tolerance_ev=1e-6,
        extra={"system": {"nbnd": 11, "starting_charge(1)": 0.5}},
    )
    lines = {line.replace(" ", "") for line in written(settings, tmp_path / "run").splitlines()}
    for line in ("nspin=2", "smearing='gaussian'", "nbnd=11", "starting_charge(1)=0.5", "tstress=.true.", "444111"):
        assert line in lines
    values = {line.partition("=")[0]: line.partition("=")[2] for line in lines}
    assert float(values["ecutwfc"]) == pytest.approx(300.0 / 13.605693, rel=1e-6)
    assert float(values["ecutrho"]) == pytest.approx(6 * 300.0 / 13.605693, rel=1e-6)
    assert float(values["degauss"]) == pytest.approx(0.2 / 13.605693, rel=1e-6)
    assert float(values["starting_magnetization(1)"]) == pytest.approx(0.25)
    assert float(values["conv_thr"]) == pytest.approx(2e-6 / 13.605693, rel=1e-6)


def test_physical_settings_reach_abinit(programs, gth, tmp_path):
    settings = AbinitSettings(
        pseudopotentials=str(gth), cutoff_ev=300.0, smearing_ev=0.2, spin_polarized=True, extra={"nband": 11}
    )
    words = written(settings, tmp_path / "run").split()
    value = {words[i]: words[i + 1] for i in range(len(words) - 1)}
    assert (value["ecut"], value["tsmear"], value["occopt"], value["nsppol"]) == ("300.0", "0.2", "3", "2")
    assert (value["nband"], value["ixc"], value["nsym"], value["pseudos"]) == ("11", "11", "1", '"scratch/Si.gth"')
    assert words[words.index("ngkpt") + 1 : words.index("ngkpt") + 4] == ["4", "4", "4"]
    assert words[words.index("shiftk") + 1] == "0.5"


def test_the_program_runs_where_and_with_what_it_was_given(programs, gth, tmp_path, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "3")
    (tmp_path / "run").mkdir()
    parallel = Parallel(4, 3, launch=("/usr/bin/env", "LAUNCHED=yes"), environment=(("FROM_SITE", "1"),))
    monkeypatch.setenv("HPCMAT_ESPRESSO", f"{programs}/pw.x -nk 2")
    with pytest.raises(EngineFailure):
        engine_for(EspressoSettings(pseudopotentials=str(gth))).calculate(
            SILICON, Job(tmp_path / "run", parallel=parallel)
        )
    lines = (tmp_path / "run" / "pw.out").read_text().splitlines()
    assert "arguments: -nk 2 -in pw.in" in lines
    assert {"LAUNCHED=yes", "FROM_SITE=1", "OMP_NUM_THREADS=3", f"PWD={tmp_path}/run"} <= set(lines)
    assert not any(line.startswith("PMI_") for line in lines)


@pytest.mark.parametrize(
    ("name", "extra", "message"),
    [
        ("espresso", {"system": {"ecutwfc": 30.0}}, "set cutoff_ev instead"),
        ("espresso", {"system": {"Nspin": 2}}, "set spin_polarized instead"),
        ("espresso", {"electrons": {"mixing_beta": 0.1}}, "decided by the engine's own settings"),
        ("espresso", {"system": {"nbdn": 8}}, "did you mean 'nbnd'"),
        ("espresso", {"ions": {}}, "electrons"),
        ("abinit", {"ecut": 10.0}, "set cutoff_ev instead"),
        ("abinit", {"tolvrs1": 1e-3}, "set energy_tolerance_ev instead"),
    ],
)
def test_raw_keys_that_contradict_are_refused(name, extra, message):
    with pytest.raises(ValidationError, match=message):
        SETTINGS[name](extra=extra)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_slab_is_refused_before_anything_runs(programs, gth, name):
    settings = SETTINGS[name](pseudopotentials=str(gth))
    check_engine(settings, {"Si"}, [SILICON])
    with pytest.raises(InputError, match="periodic in three directions"):
        check_engine(settings, {"Si"}, [replace(SILICON, pbc=(True, True, False))])


def test_spins_need_smearing():
    with pytest.raises(ValidationError, match="smearing_ev above 0"):
        EspressoSettings(spin_polarized=True)


def test_what_is_not_physics_stays_out_of_the_key():
    one = EspressoSettings(keep_files="none", pseudopotentials="/somewhere", code_version="7.2")
    assert physics_of(one) == physics_of(EspressoSettings())
    assert "cutoff_ev" in json.loads(physics_of(one))
    assert hash(EspressoSettings(extra={"system": {"nbnd": 9}})) == hash(
        EspressoSettings(extra={"system": {"nbnd": 9}})
    )


@pytest.mark.parametrize("name", SETTINGS)
def test_odd_electrons_without_smearing_are_refused(programs, gth, tmp_path, name):
    aluminium = from_atoms(bulk("Al", "fcc", 4.04))
    with pytest.raises(EngineFailure, match="cannot hold 3 electrons") as failure:
        engine_for(SETTINGS[name](pseudopotentials=str(gth))).calculate(aluminium, Job(tmp_path))
    assert failure.value.kind is FailureKind.BAD_SETTINGS


def test_missing_programs_say_how_to_get_them(monkeypatch, gth):
    monkeypatch.setenv("PATH", "/nowhere")
    for name, settings in SETTINGS.items():
        with pytest.raises(InputError, match=r"Debian: apt-get install .*Spack: spack install .*Fugaku: "):
            engine_for(settings(pseudopotentials=str(gth))).check({"Si"})
        assert name in str(settings().name)
    findings = list(check_external_codes())
    assert [finding.check for finding in findings] == [code.title for code in EXTERNAL_CODES]
    absent = [finding for finding in findings if "on PATH" in finding.found]
    assert len(absent) == len(EXTERNAL_CODES)
    assert all(finding.status == "warn" and "Spack: spack install" in finding.remedy for finding in absent)


def test_a_stated_version_needs_no_program(monkeypatch, gth):
    monkeypatch.setenv("PATH", "/nowhere")
    engine = engine_for(EspressoSettings(pseudopotentials=str(gth), code_version="7.4"))
    engine.check({"Si"})
    assert engine.method({"Si"}).version == "7.4"


def test_a_program_is_asked_once_for_its_version(tmp_path, monkeypatch):
    program = tmp_path / "thing"
    program.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho version 1.2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    code = Code("Thing", "thing", "HPCMAT_THING", Sources(), version_pattern=r"version (\S+)")
    assert [code.version() for _ in range(3)] == ["1.2"] * 3
    assert (tmp_path / "asked").read_text() == "asked\n"
    program.write_text("#!/bin/sh\necho version 1.3 of another build\n")
    assert code.version() == "1.3"
    program.write_text("#!/bin/sh\necho Illegal instruction >&2; exit 132\n")
    with pytest.raises(InputError, match=r"Illegal instruction.*code_version"):
        code.version()


def files(folder, **contents):
    for name, text in contents.items():
        (folder / f"{name}.UPF").write_text(text)
    return Search(formats=("upf",), variables=(), folders=(folder,), get="get some")


def test_the_one_fitting_pseudopotential_is_found(tmp_path):
    search = files(
        tmp_path,
        Si_nc=UPF.format("Si", "NC", "PBE"),
        Si_us=UPF.format("Si", "USPP", "PBE"),
        Si_lda=UPF.format("Si", "NC", "SLA PZ NOGX NOGC"),
        S=UPF.format("S", "NC", "PBE"),
        Si_broken="<UPF",
    )
    assert find({"Si"}, "PBE", "", search)["Si"].path.name == "Si_nc.UPF"
    assert find({"Si"}, "LDA", "", search)["Si"].path.name == "Si_lda.UPF"
    with pytest.raises(InputError, match=r"no PBE pseudopotential for Ge.*get some"):
        find({"Ge"}, "PBE", "", search)
    with pytest.raises(InputError, match=r"no PBEsol pseudopotential for S "):
        find({"S"}, "PBEsol", "", search)
    (tmp_path / "Si_two.UPF").write_text(UPF.format("Si", "NC", "PBE"))
    with pytest.raises(InputError, match=r"2 PBE pseudopotentials for Si \(Si_nc.UPF, Si_two.UPF\)"):
        find({"Si"}, "PBE", "", search)


def test_functionals_of_like_names_and_spin_orbit_coupling_are_told_apart(tmp_path):
    """Revised PBE of Hammer, Hansen and Nørskov is not that of Zhang and Yang."""
    rpbe, zhang_yang = (UPF.format("Si", "NC", f"SLA PW {name} PBC") for name in ("HHNX", "RPB"))
    for number, yes in enumerate(("T", ".true.", ".TRUE.", "true")):
        files(tmp_path, **{f"Si_so{number}": rpbe.replace("z_valence", f'has_so="{yes}"\nz_valence')})
    search = files(tmp_path, Si_other=zhang_yang, Si_scalar=rpbe.replace("z_valence", 'has_so=".false."\nz_valence'))
    assert find({"Si"}, "RPBE", "", search)["Si"].path.name == "Si_scalar.UPF"


def test_families_are_folders_by_path_or_by_name(tmp_path, monkeypatch):
    family = tmp_path / "dojo"
    family.mkdir()
    search = files(tmp_path)
    (family / "Si.UPF").write_text(UPF.format("Si", "NC", "PBE"))
    for name in ("dojo", str(family)):
        assert find({"Si"}, "PBE", name, search)["Si"].path == family / "Si.UPF"
    with pytest.raises(InputError, match="did you mean 'dojo'"):
        find({"Si"}, "PBE", "doyo", search)
    monkeypatch.setenv("HPCMAT_PSEUDOPOTENTIALS", str(family))
    assert find({"Si"}, "PBE", "", search)["Si"].path == family / "Si.UPF"


def test_gth_files_hold_the_numbers_of_the_table(gth):
    header = read_header(gth / "Mg.gth")
    assert (header.symbol, header.xc, header.valence, header.format) == ("Mg", "PBE", 10.0, "gth")
    table = Path(__file__).with_name("gth-pbe.txt")
    # Oxygen's p channel is empty, and both codes run into the end of a file that says so.
    assert format_potential(find_potential(table, "O", "PBE")).splitlines()[2:] == [
        "10 11 0 0 2001 0 pspcod,pspxc,lmax,lloc,mmax,r2well",
        "0.24455430 2 -16.66721480 2.48731132 rloc nloc c",
        "1 nnonloc",
        "0.22095592 1 18.33745811",
    ]
    with pytest.raises(InputError, match="it has GTH-PBE-q4"):
        find_potential(table, "Si", "PADE")


@pytest.mark.parametrize(
    ("cell", "grid", "kind", "symmetric"),
    [
        (bulk("Si", "diamond", 5.47), (4, 4, 4), "gamma", True),
        (bulk("Si", "diamond", 5.47), (4, 4, 4), "monkhorst-pack", False),
        (bulk("Si", "diamond", 5.47), (5, 5, 5), "monkhorst-pack", True),
        (bulk("Si", "diamond", 5.47, cubic=True), (2, 2, 2), "monkhorst-pack", True),
        (bulk("Si", "diamond", 5.47, cubic=True), (4, 2, 2), "gamma", False),
        (bulk("Fe", "bcc", 2.87), (6, 6, 6), "monkhorst-pack", True),
        (bulk("Mg", "hcp", 3.2, 5.2), (4, 4, 3), "monkhorst-pack", False),
        (bulk("Mg", "hcp", 3.2, 5.2), (4, 4, 3), "gamma", True),
        # Rhombohedral, though three of its axes hide it.
        (bulk("Al", "fcc", 4.04).repeat((1, 1, 2)), (4, 4, 2), "monkhorst-pack", False),
    ],
)
def test_grids_with_the_symmetry_of_the_lattice(cell, grid, kind, symmetric):
    assert grid_has_lattice_symmetry(cell.cell.array, grid, grid_shift(grid, kind)) is symmetric


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shifted_grids_are_those_of_monkhorst_and_pack(count):
    published = sorted((2 * r - count - 1) / (2 * count) % 1 for r in range(1, count + 1))
    shift = grid_shift((count, 1, 1), "monkhorst-pack")[0]
    np.testing.assert_allclose(sorted((i + shift / 2) / count % 1 for i in range(count)), published, atol=1e-12)


def test_more_bands_are_more():
    for electrons in (1, 3, 12, 100):
        assert electrons / 2 < bands(electrons, many=False) <= bands(electrons, many=False, spins=True)
        assert bands(electrons, many=False, spins=True) < bands(electrons, many=True)
    # Iron with 16 electrons and a moment of 3 has 9.5 in one spin; without spins it would have 8.
    assert bands(32, many=False, spins=True) >= 19 + 4


@pytest.mark.parametrize(
    ("ranks", "kpoints", "groups"),
    [(1, 14, 1), (2, 14, 2), (2, 1, 1), (4, 3, 2), (6, 4, 3), (48, 14, 12), (7, 6, 1), (7, 7, 7), (4, 0, 1)],
)
def test_pools_are_of_one_size_and_none_is_without_kpoints(ranks, kpoints, groups):
    assert pools(ranks, kpoints) == groups


@pytest.mark.parametrize(
    ("options", "spacing", "words"),
    [("", 0.6, "-nk 4"), ("", 3.0, ""), (" -nk 2", 0.6, "-nk 2"), (" -npool 1", 0.6, "-npool 1")],
)
def test_pw_shares_kpoints_out_among_its_ranks(programs, gth, tmp_path, monkeypatch, options, spacing, words):
    """Unless whoever named the executable has decided; one k-point is not shared out."""
    monkeypatch.setenv("HPCMAT_ESPRESSO", f"pw.x{options}")
    settings = EspressoSettings(pseudopotentials=str(gth), kpoint_spacing_per_ang=spacing)
    with pytest.raises(EngineFailure):
        engine_for(settings).calculate(SILICON, Job(tmp_path, parallel=Parallel(4, 1, ("env",))))
    arguments = (tmp_path / "pw.out").read_text().rpartition("arguments: ")[2]
    assert arguments.replace("-in pw.in", "").split() == words.split()


@pytest.mark.parametrize(
    ("walltime_s", "limit"), [(None, ""), (0.5, "0-00:00:01"), (4000.0, "0-01:00:00"), (200000.0, "2-02:00:00")]
)
def test_abinit_is_told_nine_tenths_of_its_walltime(programs, gth, tmp_path, walltime_s, limit):
    with pytest.raises(EngineFailure):
        settings = AbinitSettings(pseudopotentials=str(gth))
        engine_for(settings).calculate(SILICON, Job(tmp_path, walltime_s=walltime_s))
    arguments = (tmp_path / "log.txt").read_text().rpartition("arguments: ")[2].split()
    assert arguments == ["run.abi", *(["--timelimit", limit] if limit else [])]
