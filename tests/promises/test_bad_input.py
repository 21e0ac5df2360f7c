"""Bad input: one sentence, one exit code, nothing written."""

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hpcmat.campaign.events import Created, event_json
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.spec import canonical_spec_json, load_campaign
from hpcmat.campaign.structures import reference_structures, seed_structures

GOOD = """\
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
OVERLAPPING = """\
2
Lattice="6 0 0 0 6 0 0 0 6" Properties=species:S:1:pos:R:3 pbc="T T T"
Si 0 0 0
Si 0.3 0 0
"""


def begun(folder: Path) -> Path:
    """A campaign in `out` as its driver left it after its first event."""
    campaign = load_campaign(folder / "si.toml")
    campaign_folder = CampaignFolder(folder / "out")
    campaign_folder.root.mkdir()
    campaign_folder.lock.touch()
    journal = campaign_folder.journal()
    journal.create()
    created = Created(
        "si-0",
        canonical_spec_json(campaign),
        "0.1.0",
        str(folder / "store"),
        seed_structures(campaign),
        reference_structures(campaign),
    )
    journal.append([(created.kind, event_json(created))])
    journal.close()
    return campaign_folder.journal_file


def written_by_a_newer_version(folder):
    with sqlite3.connect(begun(folder)) as connection:
        connection.execute("UPDATE campaigns SET schema_version = 99")


def with_an_event_of_a_newer_version(folder):
    begun(folder)
    journal = CampaignFolder(folder / "out").journal()
    list(journal.read())
    journal.append([("teleported", '{"kind": "teleported"}')])
    journal.close()


def another_campaign(folder):
    begun(folder)
    (folder / "si.toml").write_text(GOOD.replace("5.43", "5.44"))


def locked(folder):
    begun(folder)


@dataclass
class Case:
    """What is wrong, and what the sentence must name."""

    expected: str
    text: str = GOOD
    arguments: list[str] = field(default_factory=list)
    prepare: object = None
    code: int = 2
    campaign: str = "si.toml"


def change(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


CASES = {
    "unknown key": Case("did you mean 'labels'", change("labels = 70", "label = 70")),
    "wrong unit": Case("a_ang", change("a_ang = 5.43", "a_nm = 0.543")),
    "wrong type": Case("expected an integer", change("labels = 70", 'labels = "many"')),
    "element the engine lacks": Case("stillinger-weber", GOOD.replace("Si", "Cu").replace("diamond", "fcc")),
    "overlapping atoms": Case(
        "move them apart",
        change('{ crystal = "diamond", element = "Si", a_ang = 5.43 }', '{ file = "overlap.xyz" }'),
        prepare=lambda folder: (folder / "overlap.xyz").write_text(OVERLAPPING),
    ),
    "missing structure file": Case(
        "absent.xyz", change('{ crystal = "diamond", element = "Si", a_ang = 5.43 }', '{ file = "absent.xyz" }')
    ),
    "missing campaign file": Case("no such file", campaign="absent.toml"),
    "syntax": Case("not valid TOML", change("labels = 70", "labels = = 70")),
    "newer journal": Case("newer hpcmat", prepare=written_by_a_newer_version),
    "newer event": Case("use the version that wrote it", prepare=with_an_event_of_a_newer_version),
    "another campaign": Case("another system.structures", prepare=another_campaign),
    "unknown site": Case("unknown site", arguments=["--site", "nowhere"]),
    "site larger than the machine": Case(
        "cores_per_worker",
        arguments=["--site", "huge.toml"],
        prepare=lambda folder: (folder / "huge.toml").write_text('name = "huge"\ncores_per_worker = 100000\n'),
    ),
    "out below a file": Case("not a folder", arguments=["--out", "si.toml/out"], code=3),
    "store below a file": Case("not a folder", arguments=["--store", "si.toml/store"], code=3),
    "unusable journal": Case("not a usable database URL", arguments=["--journal", "nosuch://x"], code=3),
    "another driver": Case("another driver runs this campaign", prepare=locked, code=5),
}


@dataclass
class Result:
    """One call of the command line, with the folder before and after."""

    process: subprocess.CompletedProcess
    before: dict[str, bytes | None]
    after: dict[str, bytes | None]


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def command(folder, case):
    arguments = [case.campaign, "--out", "out", "--store", "store", *case.arguments, "--json"]
    return subprocess.run(
        [sys.executable, "-m", "hpcmat", "run", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def call(folder: Path, case: Case) -> Result:
    (folder / "si.toml").write_text(GOOD)
    if case.prepare is not None:
        case.prepare(folder)
    if case.text is not GOOD:
        (folder / "si.toml").write_text(case.text)
    before = snapshot(folder)
    if case.prepare is locked:
        with (folder / "out" / "driver.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return Result(command(folder, case), before, snapshot(folder))
    return Result(command(folder, case), before, snapshot(folder))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folders = {name: tmp_path_factory.mktemp(name.replace(" ", "-")) for name in CASES}
    with ThreadPoolExecutor(2) as pool:
        futures = {name: pool.submit(call, folders[name], case) for name, case in CASES.items()}
    return {name: future.result() for name, future in futures.items()}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_sentence_and_leaves_everything_as_it_was(results, name):
    case, result = CASES[name], results[name]
    process = result.process
    assert process.returncode == case.code, process.stderr
    lines = process.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert case.expected in lines[0]
    assert json.loads(process.stdout) == {"error": lines[0].removeprefix("error: "), "exit_code": case.code}
    assert result.after == result.before


def test_the_file_that_is_spoilt_in_each_case_is_good(tmp_path):
    """Negative control: what is refused above is refused for its one fault."""
    (tmp_path / "si.toml").write_text(GOOD)
    assert load_campaign(tmp_path / "si.toml").name == "si"


AS_NOBODY = """
import os, sys
from pathlib import Path
from hpcmat.errors import StorageError
from hpcmat.store.atomic import require_writable
if os.geteuid() == 0:
    os.setresuid(65534, 65534, 65534)
try:
    require_writable(Path(sys.argv[1]) / "below" / "it")
except StorageError as error:
    print(error)
else:
    print("writable")
"""
"""Root may write anywhere, so that the question is asked as nobody, by a process that has imported all it needs."""


@pytest.mark.parametrize(("mode", "expected"), [(0o555, "not writable; choose another folder"), (0o777, "writable")])
def test_folder_without_permission_is_refused_before_anything_is_written(mode, expected):
    # Not pytest's own folder, into which nobody else may look.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, mode)
        asked = subprocess.run([sys.executable, "-c", AS_NOBODY, folder], capture_output=True, text=True, check=True)
        assert expected in asked.stdout
        assert os.listdir(folder) == []
        os.chmod(folder, 0o755)


def test_read_only_disk_is_named(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a read-only disk needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    try:
        case = Case(f"{disk}: not writable; choose another folder", arguments=["--store", str(disk / "store")], code=3)
        result = call(tmp_path, case)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert result.process.returncode == 3
    assert case.expected in result.process.stderr
    assert result.after == result.before
