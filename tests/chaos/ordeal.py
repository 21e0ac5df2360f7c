"""One campaign under its faults, from the first call to the audit."""

from __future__ import annotations

import shutil
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from harness import Trial, kill
from slurm import Slurm

from chaos.audit import audit, gather
from chaos.disk import small_disk
from chaos.injectors import INJECTORS
from chaos.injectors.scene import Injury, Scene
from chaos.keeper import Keeper
from chaos.plan import CampaignPlan, Fault, Kind
from chaos.processes import drivers, left, send
from chaos.watch import Watch
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.errors import HpcmatError

TEACHER_FAULTS = "crash = 0.03, not_converged = 0.05, truncated = 0.03"
_PAUSE_S = 0.1
_HANG_S = 240.0
"""Without an event for so long a campaign is taken to hang."""
_LEAVE_S = 30.0
"""The processes of a campaign that is complete are given so long to go."""


@dataclass(frozen=True, slots=True)
class Teller:
    """Says what happens, and keeps what is left where something was found."""

    keep: Path | None = None

    def tell(self, text: str) -> None:
        """To whoever looks on."""
        print(text, flush=True)

    def found(self, name: str, trial: Trial) -> None:
        """Copy a campaign before its small disk goes."""
        if self.keep is not None:
            shutil.copytree(trial.root, self.keep / name, dirs_exist_ok=True)


@dataclass(slots=True)
class Blow:
    """A fault that has struck."""

    fault: Fault
    injury: Injury
    struck: float
    finished: int
    """Results that the journal held then."""
    healed: bool = False
    recovered_s: float | None = None
    """Until the next result was in the journal."""

    @property
    def due(self) -> bool:
        """Whether it is time to heal it."""
        injury = self.injury
        late = time.monotonic() - self.struck >= injury.heals_after_s
        return late or (injury.heals_when is not None and injury.heals_when())


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one campaign."""

    plan: CampaignPlan
    blows: tuple[Blow, ...]
    labels: int
    executions: int
    calls: int
    wall_s: float
    findings: tuple[str, ...]


@dataclass
class Ordeal:
    """Drives the harness around one campaign; `run` once."""

    plan: CampaignPlan
    scene: Scene
    keeper: Keeper
    teller: Teller
    blows: list[Blow] = field(default_factory=list)

    def run(self) -> Outcome:
        """Until it is complete, or hangs."""
        begun = time.monotonic()
        hung = self._until_complete()
        findings = [hung] if hung else []
        self._heal(all_of_them=True)
        psutil.wait_procs(left(self.scene.trial), timeout=0.0 if hung else _LEAVE_S)
        trial = self.scene.trial
        try:
            findings += audit(gather(trial))
            labels = len(trial.label_keys())
        except HpcmatError as error:
            findings, labels = [*findings, f"{type(error).__name__}: {error}"], 0
        if findings:
            self.teller.found(self.plan.name, trial)
        executions = trial.executions("start").total()
        wall = time.monotonic() - begun
        return Outcome(self.plan, tuple(self.blows), labels, executions, self.keeper.calls, wall, tuple(findings))

    def _until_complete(self) -> str:
        watch, waiting = Watch(self.scene.trial.folder.journal_file), list(self.plan.faults)
        last, since = -1, time.monotonic()
        pause = threading.Event()
        while not self._complete():
            counts = watch.counts()
            if counts.total() != last:
                last, since = counts.total(), time.monotonic()
            if time.monotonic() - since > _HANG_S:
                return f"nothing has happened for {_HANG_S:.0f} s; {self._about()}"
            self._recover(counts["finished"])
            self._heal()
            self.keeper.keep()
            if (
                waiting
                and counts[waiting[0].event] >= waiting[0].number
                and self._strike(waiting[0], counts["finished"])
            ):
                waiting.pop(0)
            pause.wait(_PAUSE_S)
        self._recover(10**9)
        return f"{len(waiting)} faults found no victim" if waiting else ""

    def _complete(self) -> bool:
        """Its last event is there and its driver, which writes the report, has gone."""
        trial = self.scene.trial
        if trial.folder.driven or drivers(trial) or not trial.folder.report.exists():
            return False
        ended = trial.state().ended
        return ended is not None and ended.complete

    def _strike(self, fault: Fault, finished: int) -> bool:
        injury = INJECTORS[fault.kind](fault, self.scene)
        if injury is None:
            return False
        self.blows.append(Blow(fault, injury, time.monotonic(), finished))
        self.teller.tell(f"{self.plan.name}: {fault.kind} ({injury.victim}) after {fault.number} {fault.event}")
        return True

    def _heal(self, *, all_of_them: bool = False) -> None:
        # The last first: a scheduler that was stopped is woken before it is asked for anything.
        for blow in reversed(self.blows):
            if not blow.healed and (all_of_them or blow.due) and blow.injury.healable():
                blow.healed = True
                blow.injury.heal()

    def _recover(self, finished: int) -> None:
        for blow in self.blows:
            if blow.recovered_s is None and finished > blow.finished:
                blow.recovered_s = time.monotonic() - blow.struck

    def _about(self) -> str:
        found = [f"{p.pid} {p.name()} ({p.status()})" for p in left(self.scene.trial)]
        return "alive: " + (", ".join(found) or "nothing")


@contextmanager
def scene_of(plan: CampaignPlan, root: Path, slurm: Slurm) -> Iterator[Scene]:
    """A fresh campaign on a small disk; whatever of it lives is ended at last."""
    with small_disk(root / "disk") as disk:
        trial = Trial(
            root,
            plan.name,
            plan.seed,
            points=5,
            median_s=0.7,
            sigma=0.4,
            faults=TEACHER_FAULTS,
            labels=plan.labels,
            walltime_s=90.0,
            store=disk / "store",
            ledger=root / "ledger",
        )
        trial.folder = CampaignFolder(disk / "campaign")
        try:
            yield Scene(trial, disk, slurm)
        finally:
            send(signal.SIGCONT, [slurm.daemon("slurmctld")])
            slurm.cancel_all()
            for process in left(trial):
                kill(process)


def undergo(plan: CampaignPlan, root: Path, slurm: Slurm, teller: Teller) -> Outcome:
    """One campaign under its faults."""
    with scene_of(plan, root, slurm) as scene:
        keeper = Keeper(scene.trial, plan.site, slurm)
        try:
            return Ordeal(plan, scene, keeper, teller).run()
        finally:
            keeper.close()


def table(outcomes: list[Outcome]) -> str:
    """Kind, number, campaigns, recovered, and the time to the next result."""
    lines = [f"{'fault':<22}{'number':>7}{'campaigns':>10}{'recovered':>10}{'median s':>9}{'longest s':>10}"]
    for kind in Kind:
        blows = [blow for outcome in outcomes for blow in outcome.blows if blow.fault.kind is kind]
        campaigns = sum(any(blow.fault.kind is kind for blow in outcome.blows) for outcome in outcomes)
        times = [blow.recovered_s for blow in blows if blow.recovered_s is not None]
        median, longest = (statistics.median(times), max(times)) if times else (0.0, 0.0)
        lines.append(f"{kind:<22}{len(blows):>7}{campaigns:>10}{len(times):>10}{median:>9.1f}{longest:>10.1f}")
    return "\n".join(lines)


def sentence(outcome: Outcome) -> str:
    """One campaign in a line, with its findings below it."""
    plan = outcome.plan
    head = (
        f"{plan.name} ({plan.site}): {len(outcome.blows)} faults, {outcome.labels} labels in {outcome.executions} "
        f"executions, {outcome.calls} calls of the command line, {outcome.wall_s:.0f} s"
    )
    return "\n".join([head, *(f"  FOUND: {finding}" for finding in outcome.findings)])
