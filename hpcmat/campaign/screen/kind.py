"""Screening campaigns as the driver sees them: each task is one label of one candidate's recipe.

The recipe is run anew from the labels that are done whenever one more is, so that nothing but the journal and the
result store is remembered. Candidates that were begun are finished before another is, at the cheap fidelity first:
what it tells is waited for.
"""

from __future__ import annotations

from collections.abc import Iterator

from hpcmat.campaign.events import Decision, Fidelity, ScreenSummary, Stopping
from hpcmat.campaign.outcomes import label_summary
from hpcmat.campaign.screen.fidelities import standings
from hpcmat.campaign.screen.grids import on_one_grid
from hpcmat.campaign.screen.search import Choice, Enough, Search
from hpcmat.campaign.screen.standing import CrystalState
from hpcmat.campaign.state import CampaignState, TaskState, last_ended
from hpcmat.campaign.stopping import spent_reason
from hpcmat.engines.labelling import LabelRequest, label_key
from hpcmat.engines.recipes.formation import References
from hpcmat.engines.recipes.steps import Need, Refusal, Standing, advance
from hpcmat.engines.recipes.whole import recipe
from hpcmat.engines.settings import EngineSettings
from hpcmat.records import Label, Provenance, Record, Resources, Structure, Task, decode, encode
from hpcmat.store.results import ResultStore

Calculation = tuple[Fidelity, int]
"""Fidelity and number of the candidate."""

_RUNNER = "hpcmat.engines.labelling:run_label"


class ScreenKind:
    """Chooses candidates and takes their recipes forward; see `hpcmat.campaign.kinds.Kind`."""

    def __init__(self, state: CampaignState, store: ResultStore) -> None:
        assert state.created is not None, "a journal begins with its Created event"
        self._created = state.created
        self._campaign = state.screen
        self._store = store
        self._search = Search(state.screen, state.created.seeds)
        self._labels: dict[str, Label] = {}
        """By content key."""
        self._references = References(state.created.references)
        self._wanted: dict[Calculation, list[tuple[str, Structure]]] = {}
        """By fidelity and candidate: the labels that its recipe waited for when it was last run."""

    def decide(self, state: CampaignState) -> Decision | None:
        """The next label of a candidate that was begun, or the first of another."""
        if state.stopping is not None:
            return None
        crystals, done = standings(state), _done(state)
        for crystal in (*crystals.cheap, *crystals.dear):
            if crystal.status == "running" and (label := next(self._undecided(crystal, state, done), None)):
                return self._decision(state, crystal, label, _continued(crystal))
        choice = self._search.next(crystals.dear, crystals.cheap)
        if not isinstance(choice, Choice):
            return None
        crystal = crystals.of(choice.fidelity)[choice.crystal]
        # Another candidate may be waiting for the same labels; their ends are waited for then.
        first = next(self._undecided(crystal, state, done), None)
        return self._decision(state, crystal, first, choice) if first else None

    def foresee(self, state: CampaignState) -> None:
        """Choose the next candidate as things are now."""
        if state.stopping is None:
            crystals = standings(state)
            self._search.next(crystals.dear, crystals.cheap)

    def summarise(self, record: Record, task: TaskState, state: CampaignState) -> ScreenSummary:
        """Summary of a label, with the properties where it was the last of its recipe."""
        label = decode(Label, record.outcome)
        summary = label_summary(label)
        number = task.decision.crystal
        assert number is not None, "every label of a screening belongs to a candidate"
        self._labels[task.key] = label
        match self._standing((task.decision.fidelity, number), _done(state) | {task.key}):
            case Need():
                return ScreenSummary(summary)
            case Refusal(reason):
                return ScreenSummary(summary, refused=reason)
            case properties:
                return ScreenSummary(summary, properties=properties)

    def stopping(self, state: CampaignState, now: float) -> Stopping | None:
        """Spent, failing, or enough candidates known and none under way."""
        if spent := spent_reason(state, now):
            return spent
        crystals = standings(state)
        if any(crystal.status == "running" for crystal in (*crystals.cheap, *crystals.dear)) or state.open_tasks:
            return None
        enough = self._search.next(crystals.dear, crystals.cheap)
        if not isinstance(enough, Enough):
            return None
        return Stopping("budget" if enough.exhausted else "target", enough.sentence)

    def _undecided(
        self, crystal: CrystalState, state: CampaignState, done: set[str]
    ) -> Iterator[tuple[str, Structure]]:
        """Labels that the recipe waits for and that no task is to give."""
        at = crystal.fidelity, crystal.number
        wanted = [label for label in self._wanted.get(at, ()) if label[0] not in done]
        if not wanted:
            structures = self._waits_for(crystal, done)
            wanted = [(self._key(at, structure), structure) for structure in structures]
        self._wanted[at] = wanted
        coming = {task.key for task in state.open_tasks}
        return (label for label in wanted if label[0] not in coming)

    def _waits_for(self, crystal: CrystalState, done: set[str]) -> tuple[Structure, ...]:
        at = crystal.fidelity, crystal.number
        standing = self._standing(at, done)
        if isinstance(standing, Need):
            return standing.structures
        # All labels are there, some by tasks of other candidates: one of its own lets the journal know.
        own = self._standing(at, {task.key for task in crystal.tasks if task.status == "done"})
        assert isinstance(own, Need), "with all labels of its own a candidate has ended"
        return own.structures[:1]

    def _standing(self, at: Calculation, done: set[str]) -> Standing:
        def known(structure: Structure) -> Label | None:
            key = self._key(at, structure)
            return self._label(key) if key in done else None

        campaign = self._campaign
        steps = recipe(self._created.seeds[at[1]], campaign.recipe, campaign.asked, self._references)
        return advance(steps, known)

    def _engine(self, at: Calculation, structure: Structure) -> EngineSettings:
        return on_one_grid(self._campaign.engine_of(at[0]), self._created.seeds[at[1]], structure)

    def _key(self, at: Calculation, structure: Structure) -> str:
        return label_key(structure, self._engine(at, structure))

    def _label(self, key: str) -> Label:
        if key not in self._labels:
            record = self._store.read(key)
            assert record is not None, "a finished label has an accepted record"
            self._labels[key] = decode(Label, record.outcome)
        return self._labels[key]

    def _decision(
        self, state: CampaignState, crystal: CrystalState, label: tuple[str, Structure], choice: Choice
    ) -> Decision:
        identity = f"label-{state.index.number(('screen',)) + 1:04d}"
        key, structure = label
        at, ended = (crystal.fidelity, crystal.number), last_ended(state, 20, "screen", fidelity=crystal.fidelity)
        walls = [task.execution.wall_s for task in ended if task.execution]
        provenance = Provenance(
            self._created.identity, identity, choice.rule, score=choice.score, seed=self._campaign.seed
        )
        return Decision(
            id=identity,
            purpose="screen",
            rule=choice.rule,
            reason=choice.reason,
            task=Task(
                id=identity,
                kind="label",
                key=key,
                runner=_RUNNER,
                request=encode(LabelRequest(structure, self._engine(at, structure), key=key)),
                resources=Resources(walltime_s=self._campaign.failures.task_walltime_s.label),
                provenance=provenance,
                governance=self._campaign.governance.record(),
            ),
            score=choice.score,
            passed_over=choice.passed_over,
            predicted_s=sum(walls) / len(walls) if walls else None,
            crystal=crystal.number,
            fidelity=crystal.fidelity,
        )


def _continued(crystal: CrystalState) -> Choice:
    begun = crystal.tasks[0].decision
    cheap = "cheap " if crystal.fidelity == "cheap" else ""
    return Choice(crystal.number, "recipe", f"{cheap}label of {crystal.name}, begun with {begun.id}")


def _done(state: CampaignState) -> set[str]:
    """Keys of the labels that are there, whichever candidate they were computed for."""
    return {task.key for task in state.done("screen")}
