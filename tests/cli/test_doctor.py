"""Each check of the machine can pass and can fail."""

import os

import pytest

from hpcmat.cli import health
from hpcmat.cli.app import run
from hpcmat.cli.health import Finding


def test_this_machine_is_examined(tmp_path, monkeypatch, hpcmat):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(health, "check_mpi_library", lambda: Finding("MPI library", "ok", "not asked here"))
    answer = hpcmat.answer("doctor")
    assert answer["healthy"] is True
    assert {finding["check"] for finding in answer["findings"]} >= {"python", "numpy", "cores", "disk", "BLAS"}
    assert os.listdir(tmp_path) == []


def test_a_failure_gives_exit_code_4_and_its_remedy(monkeypatch, capsys, hpcmat):
    bad = Finding("disk", "fail", "0.0 GiB free", "free some space")
    monkeypatch.setattr(health, "examine", lambda folder, environment: iter([bad]))
    assert run(["doctor"]) == 4
    shown = capsys.readouterr().out
    assert "fail  disk  0.0 GiB free -> free some space" in shown
    assert "1 failures" in shown
    monkeypatch.setattr(health, "examine", lambda folder, environment: iter([bad]))
    assert hpcmat.answer("doctor", code=4)["healthy"] is False


def test_warnings_do_not_fail(monkeypatch):
    weak = Finding("memory", "warn", "1 GiB", "use fewer workers")
    monkeypatch.setattr(health, "examine", lambda folder, environment: iter([weak]))
    assert run(["doctor"]) == 0


@pytest.mark.parametrize(
    ("version", "status"), [((3, 10), "fail"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 14), "fail")]
)
def test_python(version, status):
    assert health.check_python(version).status == status


def test_package():
    assert health.check_package("numpy").status == "ok"
    missing = health.check_package("no-such-package-of-ours")
    assert (missing.status, missing.remedy) == ("fail", "pip install hpcmat")


def test_forced_blas_kernel():
    assert health.check_blas({}).status == "ok"
    forced = health.check_blas({"OPENBLAS_CORETYPE": "Haswell"})
    assert (forced.status, forced.remedy) == ("warn", "unset OPENBLAS_CORETYPE")


@pytest.mark.parametrize(("free_gib", "status"), [(100, "ok"), (1, "warn"), (0, "fail")])
def test_disk(tmp_path, monkeypatch, free_gib, status):
    usage = type("Usage", (), {"free": free_gib * 2**30})
    monkeypatch.setattr(health.shutil, "disk_usage", lambda folder: usage)
    assert health.check_disk(tmp_path).status == status


@pytest.mark.parametrize(("memory", "status"), [(64.0, "ok"), (1.0, "warn")])
def test_memory(monkeypatch, memory, status):
    monkeypatch.setattr("hpcmat.dispatch.sites.total_memory_gib", lambda: memory)
    findings = {finding.check: finding for finding in health.check_machine()}
    assert findings["memory"].status == status
    assert findings["cores"].status == "ok"


def test_writable_folder_and_locks(tmp_path):
    assert health.check_writable("scratch", tmp_path).status == "ok"
    assert health.check_locks(tmp_path).status == "ok"
    gone = tmp_path / "gone"
    assert health.check_writable("scratch", gone).status == "fail"
    assert health.check_locks(gone).status == "fail"


def test_numba_cache(tmp_path, monkeypatch):
    assert health.check_numba_cache({"NUMBA_CACHE_DIR": str(tmp_path)}).status == "ok"
    monkeypatch.setattr(health.os, "access", lambda folder, mode: False)
    assert health.check_numba_cache({"NUMBA_CACHE_DIR": str(tmp_path)}).status == "warn"
    monkeypatch.setattr(health.importlib.util, "find_spec", lambda name: None)
    assert health.check_numba_cache({}).status == "fail"


@pytest.mark.parametrize(
    ("code", "status", "found"),
    [("print('MPICH 5')", "ok", "MPICH 5"), ("raise SystemExit('no libmpi')", "warn", "no libmpi")],
)
def test_mpi_library_is_asked_in_its_own_process(tmp_path, monkeypatch, code, status, found):
    interpreter = tmp_path / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {health.sys.executable} -c "{code}"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(health.sys, "executable", str(interpreter))
    finding = health.check_mpi_library()
    assert (finding.status, finding.found) == (status, found)


def test_mpi_launcher_beside_the_interpreter_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(health.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", "")
    assert health.check_mpi_launcher().status == "warn"
    (tmp_path / "mpiexec").write_text("#!/bin/sh\n")
    (tmp_path / "mpiexec").chmod(0o755)
    assert health.check_mpi_launcher() == Finding("MPI launcher", "ok", str(tmp_path / "mpiexec"))


def test_compiler_matters_only_without_gpaw(monkeypatch):
    monkeypatch.setattr(health.shutil, "which", lambda name: None)
    monkeypatch.setattr(health.importlib.util, "find_spec", lambda name: object())
    assert health.check_compiler().status == "ok"
    monkeypatch.setattr(health.importlib.util, "find_spec", lambda name: None)
    assert health.check_compiler().status == "warn"
