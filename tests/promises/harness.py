"""Campaigns in processes of their own, so that they can be killed; and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import psutil

from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.state import CampaignState
from hpcmat.dispatch.orphans import CAMPAIGN_VARIABLE
from hpcmat.store.results import ResultStore

TEMPLATE = """
kind = "potential"
name = "{name}"
seed = {seed}
[system]
elements = ["Si"]
structures = [{structures}]
reference = {{ points = {points} }}
[engine]
name = "teacher"
calculator = "stillinger-weber"
ledger = "{ledger}"
duration = {{ median_s = {median_s}, sigma = {sigma} }}
faults = {{ {faults} }}
[explore]
method = "{method}"
cold_start = {cold_start}
[steering]
refit_every = 10
pool_min = {pool_min}
acquisition = "{acquisition}"
schedule = "{schedule}"
[target]
force_rmse_ev_per_ang = {target}
min_validation = 2
[budget]
labels = {labels}
[failures]
task_walltime_s = {{ label = {walltime_s} }}
"""

SEED = '{{ crystal = "diamond", element = "Si", a_ang = 5.431, repeat = [{}] }}'


@dataclass
class Trial:
    """One campaign in a folder, with its ledger of executions outside the store."""

    root: Path
    name: str = "trial"
    seed: int = 3
    points: int = 0
    median_s: float = 0.0
    sigma: float = 0.0
    faults: str = ""
    method: str = "rattle"
    acquisition: str = "random"
    schedule: str = "asynchronous"
    target: float = 1e-9
    labels: int = 30
    cold_start: int = 10
    pool_min: int = 20
    repeats: tuple[str, ...] = ("1, 1, 1",)
    """Cells of the seed structures along each lattice vector."""
    walltime_s: float = 60.0
    store: Path | None = None
    ledger: Path | None = None

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.store = self.store or self.root / "store"
        self.ledger = self.ledger or self.root / "ledger.txt"
        self.folder = CampaignFolder(self.root / "campaign")
        self.file = self.root / "campaign.toml"
        self.file.write_text(self.text())

    def text(self) -> str:
        """The campaign file."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        fields["structures"] = ", ".join(SEED.format(repeat) for repeat in self.repeats)
        return TEMPLATE.format(**fields)

    def start(self, *extra: str) -> subprocess.Popen[bytes]:
        """Start the driver as a user would."""
        command = [sys.executable, "-m", "hpcmat", "run", str(self.file), "--out", str(self.folder.root)]
        # Files, not pipes: what a killed driver leaves behind would hold a pipe open.
        with self.file.with_name("stdout").open("w") as out, self.file.with_name("stderr").open("w") as err:
            arguments = [*command, "--store", str(self.store), "--json", *extra]
            return subprocess.Popen(arguments, stdout=out, stderr=err, start_new_session=True)

    def run(self, *extra: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        process = self.start(*extra)
        try:
            process.wait(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, self.output("stdout"), self.errors)

    @property
    def errors(self) -> str:
        """Standard error of the last driver."""
        return self.output("stderr")

    def output(self, name: str) -> str:
        """Text of one of the last driver's streams."""
        return self.file.with_name(name).read_text()

    def state(self) -> CampaignState:
        """What the journal says."""
        return self.folder.read()

    def label_keys(self) -> set[str]:
        """Keys of the labels the campaign ended with."""
        return {task.key for task in self.state().done("train", "validation", "reference", "screen")}

    def executions(self, mark: str) -> Counter[str]:
        """How often each key was executed, from the ledger: `start` or `end`."""
        assert self.ledger is not None
        lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
        return Counter(line.split()[1] for line in lines if line.split()[0] == mark)

    def results(self) -> ResultStore:
        """The store."""
        assert self.store is not None
        return ResultStore(self.store)

    def processes(self) -> list[psutil.Process]:
        """Everything that drivers of this campaign have started and that still lives."""
        identity = str(self.folder.root.resolve())
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(CAMPAIGN_VARIABLE) == identity and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def busy_workers(self) -> list[psutil.Process]:
        """Worker processes that wait for a task they have forked."""
        parents = {parent.pid: parent for task in self.tasks() if (parent := _parent(task)) is not None}
        return [parents[process.pid] for process in self.processes() if process.pid in parents]

    def tasks(self) -> list[psutil.Process]:
        """Processes that are executing a task."""
        return [process for process in self.processes() if _is_task(process)]


def kill(process: psutil.Process | subprocess.Popen[bytes]) -> None:
    """SIGKILL, and take its end in."""
    try:
        os.kill(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    if isinstance(process, subprocess.Popen):
        process.wait()


def _parent(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.NoSuchProcess:
        return None


def _is_task(process: psutil.Process) -> bool:
    try:
        return process.name() == "hpcmat-task"
    except psutil.NoSuchProcess:
        return False
