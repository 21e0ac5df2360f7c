"""`sites`, `plan --site` and `doctor --site`: what they tell of machines that are not this one."""

from pathlib import Path

import pytest

from hpcmat.cli import health_site
from hpcmat.cli.app import run
from hpcmat.dispatch import sites
from hpcmat.dispatch.providers.pjm.rules import violations
from hpcmat.dispatch.sites import load_site

TEACHER = Path(__file__).parents[2] / "jobs" / "campaigns" / "si-teacher.toml"


def test_sites_are_listed_and_those_that_never_ran_say_so(capsys, hpcmat):
    rows = {row["site"]: row for row in hpcmat.answer("sites")}
    assert rows.keys() >= {"local", "slurm", "pbs", "fugaku", "wisteria", "genkai", "miyabi", "abci", "tsubame"}
    assert rows["fugaku"]["verified"] == "never run"
    assert (rows["fugaku"]["max_nodes"], rows["genkai"]["max_walltime_h"]) == (12288, 168.0)
    assert run(["sites"]) == 0
    shown = capsys.readouterr().out
    assert any(line.split()[:2] == ["fugaku", "pjm"] for line in shown.splitlines())
    assert "never run" in shown


def test_wrong_site_file_is_told_with_exit_code_2(tmp_path, monkeypatch, capsys):
    (tmp_path / "bad.toml").write_text('name = "bad"\nkind = "slurm"\n')
    monkeypatch.setattr(sites, "_site_folders", lambda: [tmp_path])
    assert run(["sites"]) == 2
    assert "bad.toml: batch: missing" in capsys.readouterr().out


def test_plan_prints_the_script_that_would_be_submitted(tmp_path, monkeypatch, capsys, hpcmat):
    monkeypatch.chdir(tmp_path)
    words = ["plan", str(TEACHER), "--site", "fugaku", "--account", "hp1", "--walltime", "2", "--guaranteed", "0.5"]
    plan = hpcmat.answer(*words)
    script = plan["allocation"]["script"]
    assert violations(script) == ()
    assert '#PJM -L "elapse=0:30:00-2:00:00"' in script
    assert f"$HOME/hpcmat-a64fx/bin/python -m hpcmat run {TEACHER} --site fugaku --out {tmp_path}/campaign" in script
    assert plan["site"]["workers"] == 48
    assert run(words) == 0
    shown = capsys.readouterr().out
    assert "in queue 'small'; the driver and 48 workers of 1 core(s)" in shown
    assert '    #PJM -L "rscgrp=small"\n' in shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--site", "fugaku"], "refuses jobs without an account"),
        (["--site", "fugaku", "--account", "a", "--queue", "larg"], "did you mean 'large'?"),
        (["--site", "pbs"], 'cores_per_node, memory_gib: "auto"'),
    ],
)
def test_plan_refuses_what_the_site_would(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["plan", str(TEACHER), *words]) == 2
    assert message in capsys.readouterr().err


def test_run_on_a_site_with_a_scheduler_wants_an_allocation(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["run", str(TEACHER), "--site", "fugaku"]) == 2
    assert "use `hpcmat submit CAMPAIGN --site fugaku`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def findings_of(site, folder, environment):
    return {finding.check: finding for finding in health_site.examine_site(site, folder, environment)}


def test_doctor_on_a_machine_without_the_scheduler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(health_site.sys, "executable", str(tmp_path / "python"))
    found = findings_of(load_site("fugaku"), tmp_path, {})
    assert {name for name, finding in found.items() if finding.status == "fail"} == {
        "pjsub",
        "pjstat",
        "pjwait",
        "pjdel",
    }
    assert found["launcher"].status == "warn"
    assert found["site file"].found.endswith("never run")
    assert found["rename"].status == found["clock"].status == "ok"


def test_commands_of_pjm_are_not_missed_inside_a_job(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    inside = health_site.check_commands(load_site("fugaku"), {"PJM_JOBID": "1"})
    assert {finding.status for finding in inside} == {"ok"}
    inside = health_site.check_commands(load_site("slurm"), {"SLURM_JOB_ID": "1"})
    assert {finding.status for finding in inside} == {"fail"}


@pytest.mark.parametrize(
    ("printed", "status"),
    [("world 2 2", "ok"), ("world 1\nworld 1", "fail"), ("world 2", "fail"), ("", "fail")],
)
def test_worlds_of_one_are_noticed(tmp_path, monkeypatch, printed, status):
    launcher = tmp_path / "mpiexec.hydra"
    launcher.write_text(f"#!/bin/sh\necho '{printed}'\n")
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    found = health_site.check_world(load_site("miyabi"), {})
    assert found.status == status
    assert (found.remedy == "") == (status == "ok")


def test_real_ranks_find_each_other():
    found = health_site.check_world(load_site("miyabi"), {})
    assert found.status == "ok", found


def test_launchers_of_allocations_are_not_asked_outside_one(tmp_path, monkeypatch):
    launcher = tmp_path / "srun"
    launcher.write_text("#!/bin/sh\nexit 1\n")
    launcher.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    slurm = load_site("slurm")
    assert health_site.check_world(slurm, {}).found.startswith("not asked")
    assert health_site.check_world(slurm, {"SLURM_JOB_ID": "1"}).status == "fail"


def test_memory_is_compared_inside_an_allocation(monkeypatch):
    monkeypatch.setattr(sites, "total_memory_gib", lambda: 16.0)
    fugaku = load_site("fugaku")
    assert health_site.check_memory(fugaku, {"PJM_JOBID": "1"}).status == "warn"
    assert health_site.check_memory(fugaku, {}).status == "ok"
    monkeypatch.setattr(sites, "total_memory_gib", lambda: 32.0)
    assert health_site.check_memory(fugaku, {"PJM_JOBID": "1"}).status == "ok"


def test_gpus_are_counted_inside_an_allocation(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    tsubame, inside = load_site("tsubame"), {"JOB_ID": "1"}
    assert health_site.check_gpus(tsubame, {}).status == "ok"
    assert health_site.check_gpus(load_site("fugaku"), {"PJM_JOBID": "1"}).status == "ok"
    assert "does not answer" in health_site.check_gpus(tsubame, inside).found
    program = tmp_path / "nvidia-smi"
    for found, status in ((4, "ok"), (3, "warn")):
        program.write_text("#!/bin/sh\n" + "echo GPU H100\n" * found)
        program.chmod(0o755)
        finding = health_site.check_gpus(tsubame, inside)
        assert (finding.status, finding.found[0]) == (status, str(found))


def test_clock_of_the_file_system(tmp_path, monkeypatch):
    monkeypatch.setattr(health_site.time, "time", lambda: 0.0)
    assert health_site.check_clock(tmp_path).status == "warn"
    assert health_site.check_clock(tmp_path / "gone").status == "fail"
    assert health_site.check_rename(tmp_path / "gone").status == "fail"


def test_doctor_with_a_site_adds_its_findings(tmp_path, monkeypatch, hpcmat):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpcmat.cli.health.examine", lambda folder, environment: iter(()))
    checks = [finding["check"] for finding in hpcmat.answer("doctor", "--site", "local")["findings"]]
    assert checks == ["site file", "allocation", "launcher", "MPI world", "rename", "clock", "node memory", "GPUs"]
