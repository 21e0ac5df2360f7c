"""Events and campaigns to fold and to drive, made by hand."""

from __future__ import annotations

import tomllib
from concurrent.futures import Future
from pathlib import Path

from hpcmat.campaign.driver import Driver
from hpcmat.campaign.events import (
    Candidate,
    Created,
    Decided,
    Decision,
    Event,
    ExploreSummary,
    Failed,
    Finished,
    FitSummary,
    LabelSummary,
    RunStarted,
    Scores,
    Submitted,
    event_json,
)
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.spec import Campaign, canonical_spec_json, parse_campaign
from hpcmat.campaign.specification import Specification, contents_of
from hpcmat.campaign.state import CampaignState
from hpcmat.dispatch.worker import perform
from hpcmat.records import Execution, Failure, FailureKind, Provenance, Resources, Task, encode

LABELS = 8
"""Budget of the campaigns driven here."""
TEXT = """\
kind = "potential"
name = "si"
[system]
elements = ["Si"]
structures = [{{ crystal = "diamond", element = "Si", a_ang = 5.431 }}]
reference = {{ points = {points} }}
[engine]
name = "teacher"
ledger = "{ledger}"
{engine}
[explore]
method = "rattle"
cold_start = 4
{explore}
[steering]
acquisition = "random"
refit_every = 20
pool_min = 1
[target]
force_rmse_ev_per_ang = {target}
min_validation = 2
[budget]
labels = {labels}
{budget}
"""


class EvenMachine:
    """Every task of a rehearsal takes as long, and none fails."""

    def seconds(self, task: Task, attempt: int, outcome: str) -> float:
        """Duration, s."""
        return 10.0

    def fails(self, task: Task, attempt: int) -> bool:
        """Nothing does."""
        return False


def campaign_of(**changes: object) -> Campaign:
    """A campaign of rattled silicon labelled by the teacher."""
    values = {"points": 0, "ledger": "", "engine": "", "explore": "", "target": 1e-9, "labels": LABELS, "budget": ""}
    text = TEXT.format(**(values | changes)).replace('ledger = ""\n', "")
    return parse_campaign(tomllib.loads(text), Path("si.toml"))


def created(campaign: Specification, store: Path | str = "store") -> Created:
    """The first event."""
    found = contents_of(campaign)
    spec = canonical_spec_json(campaign)
    return Created("si-1", spec, "0.1.0", str(store), found.seeds, found.references, found.names)


def run_started(epoch: str = "e") -> RunStarted:
    """A driver with two workers."""
    return RunStarted(epoch, "host", 1, "local", 2, 2, ())


def execution(seconds: float = 36.0) -> Execution:
    """One core of a node of two for so long."""
    return Execution(1, "host", 7, 100.0, 100.0 + seconds, cores_per_node=2)


def decided(identity: str, purpose: str = "train", **changes: object) -> Decided:
    """A decision whose key is its id."""
    kind = purpose if purpose in {"explore", "fit"} else "label"
    task = Task(identity, kind, f"key-{identity}", "m:f", "{}", Resources(), Provenance("si-1", identity, "random"))
    return Decided(Decision(identity, purpose, "random", "because", task, **changes))


def candidate(number: int, *, reserved: bool = False, exploration: str = "key-explore") -> Candidate:
    """Frame of an exploration."""
    return Candidate(exploration, number, f"label-key-{number}", 0.1, reserved)


LABEL = LabelSummary(-4.0, 1.0, 12, 8)


def explored(*candidates: Candidate, model: str | None = None) -> ExploreSummary:
    """What an exploration found."""
    return ExploreSummary(candidates, "finished", 100, model)


def fitted(rmse: float = 0.1, bound: float | None = 0.2, frames: int = 4) -> FitSummary:
    """A fit judged on so many frames."""
    scores = Scores(frames, (rmse**2,) * frames, (0.0,) * frames, (1.0,) * frames, (0.95,) * frames)
    return FitSummary(10, 50, 20.0, 0.01, 0.1, 0.05, scores, scores, None, rmse, bound, rmse / 2)


def finished(identity: str, summary: object = LABEL, adopted: str = "", seconds: float = 36.0) -> Finished:
    """The end of a task."""
    return Finished(identity, summary, execution(seconds), adopted)


def failed(identity: str, remedies: tuple[str, ...] | None = (), kind: FailureKind = FailureKind.CRASH) -> Failed:
    """A failed attempt of 36 s."""
    return Failed(identity, Failure(kind, "it broke"), execution(), remedies)


def submitted(identity: str, remedies: tuple[str, ...] = (), before: int = 0) -> Submitted:
    """An attempt."""
    return Submitted(identity, remedies, before)


def fold(*events: Event) -> CampaignState:
    """State after these events, one second apart."""
    return CampaignState.of((event, float(second)) for second, event in enumerate(events))


class InlineDispatcher:
    """Carries each order out at once, in a child of this process."""

    workers = room = 2
    draining = False
    held = 0

    def __init__(self) -> None:
        self.healthy = True
        self.restarts = 0
        self.orders: list[str] = []

    def resources(self, task: object) -> object:
        """One process."""
        return task.resources

    def submit(self, order: object) -> Future[str]:
        """Order and result in one."""
        future: Future[str] = Future()
        self.orders.append(order.task.id)
        try:
            future.set_result(self.carry_out(order))
        except (OSError, ValueError) as error:
            future.set_exception(error)
        return future

    def carry_out(self, order: object) -> str:
        """What a worker does; tests replace it."""
        return perform(encode(order))

    def give_back(self) -> None:
        """Nothing waits here."""

    def restart(self) -> None:
        """Mend it."""
        self.restarts += 1
        self.healthy = True


class Drive:
    """A campaign in a folder, driven in this process."""

    def __init__(self, root: Path, campaign: Specification, name: str = "campaign", store: Path | None = None) -> None:
        self.folder = CampaignFolder(root / name)
        self.folder.root.mkdir(parents=True)
        self.journal = self.folder.journal()
        self.journal.create()
        self.state = CampaignState()
        self.dispatcher = InlineDispatcher()
        self.events: list[Event] = []
        identity = {"identity": f"si-{name}"}
        first = created(campaign, store or root / "store")
        self.append(Created(**{slot: getattr(first, slot) for slot in first.__slots__} | identity))
        self.append(run_started())

    def append(self, event: Event) -> None:
        """Into journal and state."""
        for entry in self.journal.append([(event.kind, event_json(event))]):
            self.state.apply(event, entry.time)

    def driver(self) -> Driver:
        """A driver of it."""
        return Driver(self.folder, self.journal, self.state, self.dispatcher, 2, self.observe)

    def observe(self, event: Event, state: CampaignState) -> None:
        """Keep what happened."""
        self.events.append(event)

    def run(self) -> CampaignState:
        """To the end."""
        self.driver().run()
        return self.state
