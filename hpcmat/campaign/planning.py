"""From a scheduled action to a decision: which structure, which request, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import islice

from hpcmat.campaign.events import Candidate, Created, Decision, ExploreSummary, Purpose
from hpcmat.campaign.evidence import Evidence
from hpcmat.campaign.spec import Campaign
from hpcmat.campaign.state import OPEN, CampaignState, last_ended
from hpcmat.engines.exploration import ExploreConditions, ExploreRequest, explore_key
from hpcmat.engines.labelling import LabelRequest, label_key
from hpcmat.records import Provenance, Resources, Structure, Task, encode
from hpcmat.steering.chance import seed_for, uniform_for
from hpcmat.steering.ranking import TOLERANCE, Ranking
from hpcmat.steering.schedule import Action
from hpcmat.surrogates.ace import AceSettings
from hpcmat.surrogates.training import FitRequest, fit_key

RUNNERS = {
    "label": "hpcmat.engines.labelling:run_label",
    "explore": "hpcmat.engines.exploration:run_explore",
    "fit": "hpcmat.surrogates.training:run_fit",
}
_BARREN_LIMIT = 3
_LISTED = 3
_IN_A_ROW = 8
"""So many choices between two ends of tasks are made by judging all candidates anew."""


@dataclass(slots=True)
class _Ranked:
    """A ranking, and what it rests on."""

    basis: tuple[object, ...]
    pool: list[Candidate]
    ranking: Ranking
    decided: int
    """How many of the training tasks beyond the newest fit it accounts for."""
    places: dict[Candidate, int] = field(init=False)

    def __post_init__(self) -> None:
        self.places = {candidate: place for place, candidate in enumerate(self.pool)}


class Planner:
    """Turns actions into decisions; reads arrays through `Evidence`, writes nothing."""

    def __init__(self, campaign: Campaign, evidence: Evidence, created: Created) -> None:
        self.campaign = campaign
        self._identity = created.identity
        self.references = created.references
        self._seeds = created.seeds
        self._evidence = evidence
        self._store = created.store
        self._ranked: _Ranked | None = None
        self._settings = AceSettings(
            elements=campaign.system.elements,
            cutoff_ang=campaign.surrogate.cutoff_ang,
            inner_ang=campaign.surrogate.inner_ang,
            size=campaign.surrogate.size,
            seed=campaign.surrogate.seed,
        )

    def decide(self, action: Action, state: CampaignState) -> Decision:
        """The decision for an action that the schedule found possible."""
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

    def foresee(self, state: CampaignState) -> None:
        """Compute what the next choice among candidates will rest on, if nothing changes: for idle moments."""
        number, budget = state.index.number(("train",)), self.campaign.budget.labels
        pool = self._pool(state)
        labels_left = number + state.index.number(("validation",)) < budget
        if state.model and pool and labels_left and state.stopping is None and not self._at_random(number):
            # The next choice comes after another task has ended.
            self._ranking(state, pool, in_a_row=0)

    def _reference(self, state: CampaignState) -> Decision:
        number = state.index.number(("reference",))
        fraction = f"{number + 1} of {len(self.references)}"
        reason = f"volume {fraction} of the reference equation of state, never trained on"
        structure = self.references[number]
        draft = Decision("", "reference", "reference", reason, _NO_TASK)
        return self._label(state, draft, structure, label_key(structure, self.campaign.engine))

    def _validation(self, state: CampaignState) -> Decision:
        candidate = next(state.pool.reserved())
        reason = "drawn at random from the explored frames to measure the error; never trained on"
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
        draft = self._choose(state, self._pool(state))
        assert draft.candidate is not None, "every rule names a candidate"
        return self._label(state, draft, self._evidence.structure(draft.candidate), draft.candidate.key)

    def _choose(self, state: CampaignState, pool: list[Candidate]) -> Decision:
        model = state.model
        number = state.index.number(("train",))
        draft = Decision("", "train", "cold-start", "", _NO_TASK, candidate=pool[0], pool_size=len(pool))
        if model is None:
            return replace(draft, reason="rattled and strained seed: there is no potential yet")
        if self._at_random(number):
            # The pool is in the order of exploration; within one exploration the draw depends on names alone.
            first = [c for c in pool if c.exploration == pool[0].exploration]
            chosen = min(first, key=lambda c: self._chance("train", c.exploration, c.frame))
            reason = "drawn at random from the explored frames, so that nothing the potential visits is left out"
            return replace(draft, rule="random", reason=reason, candidate=chosen, model=model.key)
        return self._most_informative(state, pool, replace(draft, rule="i-optimal", model=model.key))

    def _most_informative(self, state: CampaignState, pool: list[Candidate], draft: Decision) -> Decision:
        ranked = self._ranking(state, pool, state.index.train_since_end)
        (best, gain), *others = ranked.ranking.best(1 + _LISTED)
        before = ranked.ranking.variance
        in_flight = state.index.number(("train",), *OPEN)
        reason = (
            f"lowers the mean force variance on what is explored by {100 * gain / before:.1f} %, "
            f"the most of {len(pool)} candidates, with {in_flight} labels in flight accounted for"
        )
        passed = tuple((ranked.pool[index].id, score / before) for index, score in others)
        return replace(draft, candidate=ranked.pool[best], reason=reason, score=gain / before, passed_over=passed)

    def _ranking(self, state: CampaignState, pool: list[Candidate], in_a_row: int) -> _Ranked:
        """The candidates by informativeness, with all that was decided taken in.

        Parameters
        ----------
        in_a_row : how many training tasks were decided since a task ended.
        """
        model = state.model
        assert model is not None, "informativeness is judged on a posterior"
        basis = (model.key, state.index.number(("explore",), "done"), state.index.beyond_fit_losses, len(state.runs))
        if self._ranked is None or self._ranked.basis != basis or self._outdated(self._ranked, state, in_a_row):
            covariance, reference = self._evidence.covariance(state, model), self._evidence.reference(state)
            ranking = Ranking(covariance, [self._evidence.rows(c, model) for c in pool], reference)
            self._ranked = _Ranked(basis, pool, ranking, len(state.index.beyond_fit))
        return self._ranked

    def _outdated(self, ranked: _Ranked, state: CampaignState, in_a_row: int) -> bool:
        """Take in what was decided since; whether all candidates have to be judged anew because of it.

        The first choices after a task has ended are made by judging all. More in a row mean that many workers wait: the
        ranking is kept up for these, as long as half of it lasts.
        """
        assert state.model is not None, "a ranking rests on a model"
        for task in state.index.beyond_fit_since(ranked.decided):
            assert task.decision.candidate is not None, "every rule names a candidate"
            candidate = task.decision.candidate
            ranked.ranking.take_in(self._evidence.rows(candidate, state.model), ranked.places.get(candidate))
            ranked.decided += 1
        change, used = ranked.ranking.change, 2 * len(ranked.ranking.taken) > len(ranked.pool)
        return used or (change > TOLERANCE and in_a_row < _IN_A_ROW)

    def _pool(self, state: CampaignState) -> list[Candidate]:
        """The newest candidates for training."""
        return state.pool.newest(self.campaign.steering.pool_max)

    def _at_random(self, number: int) -> bool:
        """Whether this training label is drawn, not chosen."""
        steering = self.campaign.steering
        return steering.acquisition == "random" or self._chance("rule", number) < steering.random_fraction

    def _label(self, state: CampaignState, draft: Decision, structure: Structure, key: str) -> Decision:
        return self._with_task(state, draft, key, encode(LabelRequest(structure, self.campaign.engine)))

    def _explore(self, state: CampaignState) -> Decision:
        number = state.index.number(("explore",))
        explore = self.campaign.explore
        model = state.model if explore.method == "md" and not self._barren(state) else None
        temperatures = explore.temperatures_k
        conditions = ExploreConditions(
            temperature_k=temperatures[(number // len(self._seeds)) % len(temperatures)],
            strain=explore.strain,
            rattle_ang=explore.rattle_ang,
            steps=explore.steps,
            timestep_fs=explore.timestep_fs,
            sample_every=explore.sample_every,
            sigma_stop_ev_per_ang=explore.sigma_stop_ev_per_ang or self.campaign.target.force_rmse_ev_per_ang,
            repeat=explore.repeat,
        )
        request = ExploreRequest(
            store=self._store,
            model=model.key if model else None,
            seed_structure=self._seeds[number % len(self._seeds)],
            conditions=conditions,
            settings=self._settings,
            seed=seed_for(self.campaign.seed, "explore", number) % 2**31,
            n_frames=explore.cold_start,
        )
        rule = "molecular dynamics" if model else "rattle" if number else "cold-start"
        reason = (
            f"molecular dynamics at {conditions.temperature_k:g} K with potential {len(state.models)}"
            if model
            else f"{explore.cold_start} rattled and strained seeds"
        )
        draft = Decision("", "explore", rule, reason, _NO_TASK, model=model.key if model else None)
        return self._with_task(state, draft, explore_key(request), encode(request))

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
        return replace(draft, id=identity, task=task, predicted_s=_predicted(state, draft.purpose))

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

    def _chance(self, *names: object) -> float:
        return uniform_for(self.campaign.seed, *names)


def _predicted(state: CampaignState, purpose: Purpose) -> float | None:
    """Mean duration of the last tasks for this purpose, s."""
    labels: tuple[Purpose, ...] = ("train", "validation", "reference")
    purposes = labels if purpose in labels else (purpose,)
    walls = [task.execution.wall_s for task in last_ended(state, 20, *purposes) if task.execution]
    return sum(walls) / len(walls) if walls else None


_NO_TASK = Task("", "label", "", "", "", Resources(), Provenance("", "", ""))
"""Stands in a draft until the request is known."""
