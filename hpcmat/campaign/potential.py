"""Campaigns that end in an interatomic potential, as the driver sees them."""

from __future__ import annotations

from dataclasses import replace

from hpcmat.campaign.events import Decision, LabelSummary, Stopping, Summary
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.folder import CampaignFolder
from hpcmat.campaign.outcomes import summarise
from hpcmat.campaign.planning import Planner
from hpcmat.campaign.scheduling import rules_of, view_of
from hpcmat.campaign.state import CampaignState, TaskState
from hpcmat.campaign.stopping import stopping_reason
from hpcmat.engines.labelling import label_key
from hpcmat.errors import InputError, StorageError
from hpcmat.records import Label, Record, decode
from hpcmat.steering.audit import Audit, audited
from hpcmat.steering.schedule import barrier_action, next_action
from hpcmat.store.atomic import storage_error, write_bytes
from hpcmat.store.results import ResultStore


class PotentialKind:
    """Explores, labels and fits; see `hpcmat.campaign.kinds.Kind`."""

    def __init__(self, state: CampaignState, folder: CampaignFolder, store: ResultStore, workers: int) -> None:
        assert state.created is not None, "a journal begins with its Created event"
        self._folder = folder
        self._store = store
        self._evidence = Evidence(store)
        self._planner = Planner(state.campaign, self._evidence, state.created)
        engine = state.campaign.engine
        self._references = {label_key(structure, engine) for structure in self._planner.references}
        self._rules = rules_of(state.campaign, workers, len(self._planner.cold_seeds))

    def decide(self, state: CampaignState) -> Decision | None:
        """What the schedule of the campaign file finds most useful."""
        schedule = barrier_action if state.campaign.steering.schedule == "barrier" else next_action
        view = view_of(state, len(self._planner.references), self._planner.cut_short(state))
        action = schedule(view, self._rules)
        return self._planner.decide(action, state) if action is not None else None

    def foresee(self, state: CampaignState) -> None:
        """Rank the candidates as they are now."""
        self._planner.foresee(state)

    def summarise(self, record: Record, task: TaskState, state: CampaignState) -> Summary:
        """Summary of the result; a fit's potential becomes that of the campaign."""
        summary = summarise(record, task.decision, state, self._references)
        if task.purpose == "fit":
            self._publish_potential(task)
        if task.purpose == "validation" and isinstance(summary, LabelSummary):
            return replace(summary, audit=self._audit(decode(Label, record.outcome), task, state))
        return summary

    def stopping(self, state: CampaignState, now: float) -> Stopping | None:
        """Target, budget, plateau or failures."""
        return stopping_reason(state, now)

    def _audit(self, label: Label, task: TaskState, state: CampaignState) -> Audit | None:
        """What a frame drawn from a trajectory says of the potential that ran it; None where none did or it is gone."""
        candidate = task.decision.candidate
        exploration = state.index.explorations.get(candidate.exploration) if candidate else None
        if candidate is None or exploration is None or exploration.decision.model is None:
            return None
        try:
            errors, variances = self._evidence.errors(candidate, exploration.decision.model, label)
        except (StorageError, InputError):
            # Where that potential can no longer be read, the label still counts.
            return None
        return audited(errors, variances, state.campaign.sigma_stop_ev_per_ang)

    def _publish_potential(self, task: TaskState) -> None:
        source = self._store.folder(task.key) / "potential.npz"
        try:
            potential = source.read_bytes()
        except OSError as error:
            raise storage_error(source, error) from error
        write_bytes(self._folder.potential, potential)
