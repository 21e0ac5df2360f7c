"""From records of the result store to summaries in the journal: what the driver needs to know of a result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from statistics import fmean

import numpy as np

from hpcmat.campaign.events import (
    Candidate,
    Condition,
    Decision,
    ExploreSummary,
    FitSummary,
    LabelSummary,
    ReferenceComparison,
    Scores,
    Summary,
)
from hpcmat.campaign.state import CampaignState, fit_summaries
from hpcmat.engines.exploration import ExploreResult
from hpcmat.engines.labelling import label_key
from hpcmat.records import Label, Record, decode
from hpcmat.steering.chance import reserved_frames
from hpcmat.steering.stopping import error_bound, looks_at
from hpcmat.surrogates.scoring import FrameScore
from hpcmat.surrogates.training import FitResult, ReferenceCheck


def summarise(record: Record, decision: Decision, state: CampaignState, references: Collection[str]) -> Summary:
    """Summary of an accepted record.

    Parameters
    ----------
    references : content keys of the reference cells, which no candidate may repeat.
    """
    if record.task_kind == "label":
        return label_summary(decode(Label, record.outcome))
    if record.task_kind == "fit":
        return _of_fit(decode(FitResult, record.outcome), state)
    return _of_exploration(decode(ExploreResult, record.outcome), decision, state, references)


def label_summary(label: Label) -> LabelSummary:
    """Summary of a label."""
    return LabelSummary(
        energy_per_atom=label.energy / len(label.structure),
        max_force=float(np.linalg.norm(label.forces, axis=1).max()),
        scf_steps=label.scf_steps,
        n_atoms=len(label.structure),
    )


def _of_exploration(
    result: ExploreResult, decision: Decision, state: CampaignState, references: Collection[str]
) -> ExploreSummary:
    """Candidates of an exploration, without structures seen before, some reserved for the validation stream.

    Seeds rattled for want of a potential are no sample of what it will visit: none of them is reserved, unless
    rattling is the method of the campaign. Nor is what a bias led to.
    """
    key, campaign = decision.task.key, state.campaign
    reserved: frozenset[int] = frozenset()
    if decision.rule == "molecular dynamics" or (campaign.explore.method == "rattle" and decision.rule == "rattle"):
        fraction = campaign.steering.validation_fraction
        reserved = reserved_frames(len(result.frames), fraction, campaign.seed, "validation", key)
    seen = set(references)
    candidates = []
    for number, frame in enumerate(result.frames):
        label = label_key(frame.structure, campaign.engine)
        if label not in seen and label not in state.pool.labels:
            seen.add(label)
            candidates.append(
                Candidate(key, number, label, frame.sigma, number in reserved, frame.step, frame.temperature_k)
            )
    return ExploreSummary(tuple(candidates), result.stopped, result.steps_run, decision.model)


def _of_fit(result: FitResult, state: CampaignState) -> FitSummary:
    target = state.campaign.target
    looks = len(looks_at([f.validation.n_frames for f in fit_summaries(state)], target.min_validation))
    last = state.stopping is not None and state.stopping.reason == "target"
    squares = _by_condition(result.validation, state)
    bound = error_bound(squares, target.confidence, looks if last else looks + 1, last)
    return FitSummary(
        n_train=result.n_train,
        n_features=result.n_features,
        effective_parameters=result.effective_parameters,
        train_energy_rmse=result.train.energy_rmse,
        train_forces_rmse=result.train.forces_rmse,
        noise_forces=result.noise_forces,
        validation=_scores(result.validation),
        prequential=_scores(result.prequential),
        reference=_comparison(result.reference),
        force_rmse=bound.rmse if bound else None,
        force_rmse_bound=bound.upper if bound else None,
        force_rmse_lower=bound.lower if bound else None,
    )


def _by_condition(scores: Sequence[FrameScore], state: CampaignState) -> list[list[float]]:
    """Mean squared force errors of the trajectories judged at each condition, (eV/Å)²."""
    conditions = {task.key: task.decision.condition for task in state.of_purpose("explore")}
    origins = {task.key: c.exploration for task in state.done("validation") if (c := task.decision.candidate)}
    by_trajectory: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        by_trajectory[origins.get(score.key, score.key)].append(score.forces_mse)
    by_condition: dict[Condition | None, list[float]] = defaultdict(list)
    for trajectory, squares in by_trajectory.items():
        by_condition[conditions.get(trajectory)].append(fmean(squares))
    return list(by_condition.values())


def _scores(scores: Sequence[FrameScore]) -> Scores:
    return Scores(
        n_frames=len(scores),
        forces_mse=tuple(score.forces_mse for score in scores),
        energy_errors=tuple(score.energy_error for score in scores),
        forces_z2=tuple(score.forces_z2 for score in scores),
        coverage_95=tuple(score.coverage_95 for score in scores),
    )


def _comparison(check: ReferenceCheck | None) -> ReferenceComparison | None:
    if check is None:
        return None
    return ReferenceComparison(
        lattice_label_ang=check.label.lattice_constant_ang,
        lattice_potential_ang=check.potential.lattice_constant_ang if check.potential else None,
        bulk_modulus_label_gpa=check.label.bulk_modulus_gpa,
        bulk_modulus_potential_gpa=check.potential.bulk_modulus_gpa if check.potential else None,
    )
