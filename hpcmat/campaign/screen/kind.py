"""Screening campaigns as the driver sees them: each task is one label of one candidate's recipe.

The recipe is run anew from the labels that are done whenever one more is, so that nothing but the journal and the
result store is remembered. Candidates that were begun are finished before another is.
"""

from __future__ import annotations

from collections.abc import Iterator

from hpcmat.campaign.events import Decision, ScreenSummary, Stopping
from hpcmat.campaign.outcomes import label_summary
from hpcmat.campaign.screen.grids import on_one_grid
from hpcmat.campaign.screen.search import Choice, Enough, Search
from hpcmat.campaign.screen.standing import CrystalState, crystal_states
from hpcmat.campaign.state import CampaignState, TaskState, last_ended
from hpcmat.campaign.stopping import spent_reason
from hpcmat.engines.labelling import LabelRequest, label_key
from hpcmat.engines.recipes.formation import References
from hpcmat.engines.recipes.steps import Need, Refusal, Standing, advance
from hpcmat.engines.recipes.whole import recipe
from hpcmat.engines.settings import EngineSettings
from hpcmat.records import Label, Provenance, Record, Resources, Structure, Task, decode, encode
from hpcmat.store.results import ResultStore

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
        self._wanted: dict[int, list[tuple[str, Structure]]] = {}
        """By candidate: the labels that its recipe waited for when it was last run."""

    def decide(self, state: CampaignState) -> Decision | None:
        """The next label of a candidate that was begun, or the first of another."""
        if state.stopping is not None:
            return None
        crystals, done = crystal_states(state), _done(state)
        for crystal in crystals:
            if crystal.status == "running" and (label := next(self._undecided(crystal, state, done), None)):
                begun = crystal.tasks[0].decision
                return self._decision(
                    state,
                    crystal,
                    label,
                    Choice(crystal.number, "recipe", f"label of {crystal.name}, begun with {begun.id}"),
                )
        choice = self._search.next(crystals)
        if isinstance(choice, Enough):
            return None
        crystal = crystals[choice.crystal]
        # Another candidate may be waiting for the same labels; their ends are waited for then.
        first = next(self._undecided(crystal, state, done), None)
        return self._decision(state, crystal, first, choice) if first else None

    def foresee(self, state: CampaignState) -> None:
        """Choose the next candidate as things are now."""
        if state.stopping is None:
            self._search.next(crystal_states(state))

    def summarise(self, record: Record, task: TaskState, state: CampaignState) -> ScreenSummary:
        """Summary of a label, with the properties where it was the last of its recipe."""
        label = decode(Label, record.outcome)
        summary = label_summary(label)
        number = task.decision.crystal
        assert number is not None, "every label of a screening belongs to a candidate"
        self._labels[task.key] = label
        match self._standing(number, _done(state) | {task.key}):
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
        crystals = crystal_states(state)
        if any(crystal.status == "running" for crystal in crystals) or state.open_tasks:
            return None
        enough = self._search.next(crystals)
        if isinstance(enough, Choice):
            return None
        return Stopping("budget" if enough.exhausted else "target", enough.sentence)

    def _undecided(
        self, crystal: CrystalState, state: CampaignState, done: set[str]
    ) -> Iterator[tuple[str, Structure]]:
        """Labels that the recipe waits for and that no task is to give."""
        wanted = [label for label in self._wanted.get(crystal.number, ()) if label[0] not in done]
        if not wanted:
            structures = self._waits_for(crystal, done)
            wanted = [(self._key(crystal.number, structure), structure) for structure in structures]
        self._wanted[crystal.number] = wanted
        coming = {task.key for task in state.open_tasks}
        return (label for label in wanted if label[0] not in coming)

    def _waits_for(self, crystal: CrystalState, done: set[str]) -> tuple[Structure, ...]:
        standing = self._standing(crystal.number, done)
        if isinstance(standing, Need):
            return standing.structures
        # All labels are there, some by tasks of other candidates: one of its own lets the journal know.
        own = self._standing(crystal.number, {task.key for task in crystal.tasks if task.status == "done"})
        assert isinstance(own, Need), "with all labels of its own a candidate has ended"
        return own.structures[:1]

    def _standing(self, crystal: int, done: set[str]) -> Standing:
        def known(structure: Structure) -> Label | None:
            key = self._key(crystal, structure)
            return self._label(key) if key in done else None

        campaign = self._campaign
        steps = recipe(self._created.seeds[crystal], campaign.recipe, campaign.asked, self._references)
        return advance(steps, known)

    def _engine(self, crystal: int, structure: Structure) -> EngineSettings:
        return on_one_grid(self._campaign.engine, self._created.seeds[crystal], structure)

    def _key(self, crystal: int, structure: Structure) -> str:
        return label_key(structure, self._engine(crystal, structure))

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
        walls = [task.execution.wall_s for task in last_ended(state, 20, "screen") if task.execution]
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
                request=encode(LabelRequest(structure, self._engine(crystal.number, structure), key=key)),
                resources=Resources(walltime_s=self._campaign.failures.task_walltime_s.label),
                provenance=provenance,
                governance=self._campaign.governance.record(),
            ),
            score=choice.score,
            passed_over=choice.passed_over,
            predicted_s=sum(walls) / len(walls) if walls else None,
            crystal=crystal.number,
        )


def _done(state: CampaignState) -> set[str]:
    """Keys of the labels that are there, whichever candidate they were computed for."""
    return {task.key for task in state.done("screen")}
