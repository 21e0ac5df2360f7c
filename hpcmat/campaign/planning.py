"""From a scheduled action to a decision: which structure, which request, and the reasons."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice

from hpcmat.campaign.choosing import Chooser
from hpcmat.campaign.conditions import Conditions
from hpcmat.campaign.costs import CostBook, size_of
from hpcmat.campaign.events import BIASED, Candidate, Condition, Created, Decision, ExploreSummary
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import CampaignState
from hpcmat.engines.exploration import ExploreConditions, ExploreRequest, explore_key
from hpcmat.engines.labelling import LabelRequest, label_key
from hpcmat.records import Provenance, Resources, Structure, Task, encode
from hpcmat.steering.chance import seed_for
from hpcmat.steering.schedule import Action
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.training import FitRequest, fit_key

RUNNERS = {
    "label": "hpcmat.engines.labelling:run_label",
    "explore": "hpcmat.engines.exploration:run_explore",
    "fit": "hpcmat.surrogates.training:run_fit",
}
_BARREN_LIMIT = 3


class Planner:
    """Turns actions into decisions; reads arrays through `Evidence`, writes nothing."""

    def __init__(self, campaign: Campaign, evidence: Evidence, created: Created) -> None:
        self.campaign = campaign
        self._identity = created.identity
        self.references = created.references
        self._seeds = created.seeds
        self._evidence = evidence
        self._store = created.store
        self._book = CostBook()
        self._conditions = Conditions(campaign, created.seeds)
        self.cold_seeds = self._conditions.cold_seeds
        self._chooser = Chooser(campaign, evidence, self._book)
        self._settings = AceSettings(
            elements=campaign.system.elements,
            cutoff_ang=campaign.surrogate.cutoff_ang,
            inner_ang=campaign.surrogate.inner_ang,
            size=campaign.surrogate.size,
            seed=campaign.surrogate.seed,
        )

    def decide(self, action: Action, state: CampaignState) -> Decision:
        """The decision for an action that the schedule found possible."""
        self._book.catch_up(state)
        match action:
            case Action.REFERENCE:
                return self._reference(state)
            case Action.VALIDATION:
                return self._validation(state)
            case Action.TRAIN:
                return self._train(state)
            case Action.EXPLORE:
                return self._explore(state)
            case Action.FIT:
                return self._fit(state)

    def cut_short(self, state: CampaignState) -> int:
        """How many conditions the newest potential should explore because an older one ended early there."""
        return self._conditions.cut_short(state)

    def foresee(self, state: CampaignState) -> None:
        """Compute what the next choice among candidates will rest on, if nothing changes: for idle moments."""
        self._book.catch_up(state)
        if state.stopping is None and state.index.number(("train", "validation")) < self.campaign.budget.labels:
            self._chooser.foresee(state, self._pool(state))

    def _reference(self, state: CampaignState) -> Decision:
        number = state.index.number(("reference",))
        fraction = f"{number + 1} of {len(self.references)}"
        reason = f"volume {fraction} of the reference equation of state, never trained on"
        structure = self.references[number]
        draft = Decision("", "reference", "reference", reason, _NO_TASK)
        return self._label(state, draft, structure, label_key(structure, self.campaign.engine))

    def _validation(self, state: CampaignState) -> Decision:
        candidate = self._conditions.to_judge(state)
        reason = (
            "drawn at random from the longest trajectory of the condition judged least, to measure the error; "
            "never trained on"
        )
        draft = Decision(
            "",
            "validation",
            "random",
            reason,
            _NO_TASK,
            candidate=candidate,
            pool_size=state.pool.number(reserved=True),
        )
        return self._label(state, draft, self._evidence.structure(candidate), candidate.key)

    def _train(self, state: CampaignState) -> Decision:
        pool = self._pool(state)
        choice = self._chooser.choose(state, pool)
        draft = Decision(
            "",
            "train",
            choice.rule,
            choice.reason,
            _NO_TASK,
            candidate=choice.candidate,
            model=state.model.key if state.model else None,
            score=choice.score,
            pool_size=len(pool),
            passed_over=choice.passed_over,
        )
        return self._label(state, draft, self._evidence.structure(choice.candidate), choice.candidate.key)

    def _pool(self, state: CampaignState) -> list[Candidate]:
        """The newest candidates for training."""
        return state.pool.newest(self.campaign.steering.pool_max)

    def _label(self, state: CampaignState, draft: Decision, structure: Structure, key: str) -> Decision:
        return self._with_task(state, draft, key, encode(LabelRequest(structure, self.campaign.engine, key=key)))

    def _explore(self, state: CampaignState) -> Decision:
        number = state.index.number(("explore",))
        explore = self.campaign.explore
        model = state.model if explore.method == "md" and not self._barren(state) else None
        condition = self._conditions.to_explore(state)
        again = ", again since an audit failed there" if self._conditions.failed_audit(state, condition) else ""
        biased = model is not None and self._bias_due(state)
        cold = model is None and number < len(self.cold_seeds)
        copies = math.ceil(explore.cold_start / len(self.cold_seeds)) if cold else explore.cold_start
        request = ExploreRequest(
            store=self._store,
            model=model.key if model else None,
            seed_structure=self._seeds[condition.seed],
            conditions=self._explore_conditions(condition, explore.bias if biased else 0.0),
            settings=self._settings,
            seed=seed_for(self.campaign.seed, "explore", number) % 2**31,
            n_frames=copies,
        )
        dynamics = BIASED if biased else "molecular dynamics"
        rule = dynamics if model else "cold-start" if cold else "rattle"
        reason = (
            f"{dynamics} at {condition} with potential {len(state.models)}{again}"
            if model
            else f"{copies} rattled and strained copies of seed {condition.seed + 1}"
        )
        draft = Decision("", "explore", rule, reason, _NO_TASK, model=model.key if model else None, condition=condition)
        return self._with_task(state, draft, explore_key(request), encode(request))

    def _explore_conditions(self, condition: Condition, bias: float) -> ExploreConditions:
        explore = self.campaign.explore
        return ExploreConditions(
            temperature_k=condition.temperature_k,
            strain=explore.strain,
            rattle_ang=explore.rattle_ang,
            steps=explore.steps,
            timestep_fs=explore.timestep_fs,
            sample_every=explore.sample_every,
            sigma_stop_ev_per_ang=self.campaign.sigma_stop_ev_per_ang,
            repeat=explore.repeat,
            end_temperature_k=condition.end_temperature_k,
            bias=bias,
        )

    def _bias_due(self, state: CampaignState) -> bool:
        """Whether the next dynamics is drawn to what the potential does not know: the first is not, every second is."""
        with_potential = state.index.number(("explore",)) - state.index.explorations_with[None]
        return self.campaign.explore.bias > 0.0 and with_potential % 2 == 1

    def _barren(self, state: CampaignState) -> bool:
        """Whether the last explorations all ended without a frame, so that another of the kind would be wasted."""
        done = (task for task in reversed(state.index.purposes.get("explore", [])) if task.status == "done")
        last = [t.summary for t in islice(done, _BARREN_LIMIT) if isinstance(t.summary, ExploreSummary)]
        return len(last) == _BARREN_LIMIT and not any(summary.candidates for summary in last)

    def _fit(self, state: CampaignState) -> Decision:
        train = tuple(sorted(task.key for task in state.done("train")))
        validation = tuple(sorted(task.key for task in state.done("validation")))
        reference = tuple(sorted(task.key for task in state.done("reference")))
        complete = len(reference) == len(self.references)
        request = FitRequest(
            store=self._store,
            settings=self._settings,
            train=train,
            validation=validation,
            previous=state.model.key if state.model else None,
            reference=reference if complete else (),
        )
        before = len(state.model.decision.train) if state.model else 0
        reason = f"{len(train) - before} new training labels, {len(train)} in all, judged by {len(validation)}"
        draft = Decision("", "fit", "refit", reason, _NO_TASK, train=train, validation=validation)
        return self._with_task(state, draft, fit_key(request), encode(request))

    def _with_task(self, state: CampaignState, draft: Decision, key: str, request: str) -> Decision:
        kind = draft.purpose if draft.purpose in {"explore", "fit"} else "label"
        number = state.index.number(("train", "validation", "reference") if kind == "label" else (kind,)) + 1
        walltimes = self.campaign.failures.task_walltime_s
        identity = f"{kind}-{number:04d}"
        task = Task(
            id=identity,
            kind=kind,
            key=key,
            runner=RUNNERS[kind],
            request=request,
            resources=Resources(walltime_s=getattr(walltimes, kind)),
            provenance=self._provenance(identity, draft),
            governance=self.campaign.governance.record(),
        )
        size = size_of(kind, request)
        if kind == "label":
            self._book.expect(identity, size)
        known = self._book.model(kind).number > 0
        predicted = self._book.expected(kind, size).expected_s if known else None
        return replace(draft, id=identity, task=task, predicted_s=predicted)

    def _provenance(self, identity: str, draft: Decision) -> Provenance:
        origins = (draft.candidate.exploration,) if draft.candidate else ()
        return Provenance(
            campaign=self._identity,
            decision=identity,
            selected_by=draft.rule,
            derived_from=origins + ((draft.model,) if draft.model else ()),
            frame=draft.candidate.frame if draft.candidate else None,
            score=draft.score,
            pool_size=draft.pool_size or None,
            seed=self.campaign.seed,
        )


_NO_TASK = Task("", "label", "", "", "", Resources(), Provenance("", "", ""))
"""Stands in a draft until the request is known."""
