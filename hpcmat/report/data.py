"""A campaign in numbers: everything the report shows, from the journal's state and the result store."""

from __future__ import annotations

from dataclasses import replace

from hpcmat.campaign.state import CampaignState
from hpcmat.records import SCHEMA_VERSION
from hpcmat.report import audits, learning, tasks
from hpcmat.report.cost import cost
from hpcmat.report.findings import findings
from hpcmat.report.outcome import campaign_phase, outcome, target_reached
from hpcmat.report.parity import Parity, read_parity, reliability
from hpcmat.report.reference import equation_of_state, label_method
from hpcmat.report.schema import CurvePoint, Provenance, Report, RunRow
from hpcmat.report.statistics import relative_difference
from hpcmat.report.toml_text import campaign_toml
from hpcmat.store.results import ResultStore

__all__ = ["Report", "report_data"]


def report_data(state: CampaignState, store: ResultStore, parity: Parity | None = None) -> Report:
    """Everything a report says of a campaign, finished or not, with or without a model.

    Parameters
    ----------
    state : fold of the campaign's journal; it must have begun (`state.spec` is set).
    store : where its results lie. Results that are missing there leave gaps, never errors.
    parity : `read_parity(state, store)`, for a caller that has read it already.
    """
    curve = learning.learning_curve(state)
    found = read_parity(state, store) if parity is None else parity
    report = _headline(state, store, curve[-1] if curve else None)
    report = replace(
        report,
        forecast=learning.forecast(state, curve),
        calibration=learning.calibration(state),
        learning_curve=curve,
        reliability=reliability(found),
        equation_of_state=equation_of_state(state, store),
        failures_by_kind=tasks.failure_groups(state),
        failed_attempts=tasks.failed_attempts(state),
        decisions=tasks.decisions(state),
        timeline=tasks.timeline(state),
    )
    return replace(report, findings=findings(report))


def _headline(state: CampaignState, store: ResultStore, last: CurvePoint | None) -> Report:
    spec, reference = state.campaign, learning.reference_comparison(state)
    bound = last.validation_force_rmse_bound_ev_per_ang if last else None
    lattice = (reference.lattice_label_ang, reference.lattice_potential_ang) if reference else (None, None)
    bulk = (reference.bulk_modulus_label_gpa, reference.bulk_modulus_potential_gpa) if reference else (None, None)
    return Report(
        schema_version=SCHEMA_VERSION,
        name=spec.name,
        phase=campaign_phase(state),
        outcome=outcome(state),
        elements=spec.system.elements,
        engine=spec.engine.name,
        created=state.created_time,
        last_event=state.last_time,
        target_force_rmse_ev_per_ang=spec.target.force_rmse_ev_per_ang,
        target_confidence=spec.target.confidence,
        target_reached=target_reached(state, last),
        validation_frames=last.validation_frames if last else 0,
        validation_force_rmse_ev_per_ang=last.validation_force_rmse_ev_per_ang if last else None,
        validation_force_rmse_ev_per_ang_interval=last.validation_force_rmse_ev_per_ang_interval if last else None,
        validation_force_rmse_bound_ev_per_ang=bound,
        validation_energy_rmse_ev_per_atom=last.validation_energy_rmse_ev_per_atom if last else None,
        validation_energy_rmse_ev_per_atom_interval=(
            last.validation_energy_rmse_ev_per_atom_interval if last else None
        ),
        train_force_rmse_ev_per_ang=last.train_force_rmse_ev_per_ang if last else None,
        train_energy_rmse_ev_per_atom=last.train_energy_rmse_ev_per_atom if last else None,
        labels=len(state.done("train", "validation")),
        labels_budget=spec.budget.labels,
        reference_labels=len(state.done("reference")),
        failures=sum(len(task.failures) for task in state.tasks.values()),
        tasks_given_up=sum(task.status == "failed" for task in state.tasks.values()),
        node_hours=state.node_hours,
        lattice_constant_engine_ang=lattice[0],
        lattice_constant_potential_ang=lattice[1],
        lattice_constant_relative_difference=relative_difference(lattice[1], lattice[0]),
        bulk_modulus_engine_gpa=bulk[0],
        bulk_modulus_potential_gpa=bulk[1],
        bulk_modulus_relative_difference=relative_difference(bulk[1], bulk[0]),
        labels_by_purpose=tasks.label_counts(state),
        audits=audits.audit_count(state),
        cost=cost(state),
        provenance=_provenance(state, store),
    )


def _provenance(state: CampaignState, store: ResultStore) -> Provenance:
    spec, method = state.campaign, label_method(state, store)
    run = state.runs[-1].started if state.runs else None
    hosts = {execution.host for task in state.tasks.values() for _, execution, _ in tasks.executions(task)}
    return Provenance(
        hpcmat_version=state.created.version if state.created else "",
        command=f"hpcmat run {spec.name}.toml --out {spec.name}" + (f" --site {run.site}" if run else ""),
        campaign_file=campaign_toml(spec),
        software=run.software if run else (),
        engine_code=method.code if method else spec.engine.name,
        engine_version=method.version if method else "",
        engine_settings_hash=method.settings_hash if method else "",
        engine_inputs=method.inputs if method else (),
        model_key=state.model.key if state.model else None,
        store=state.created.store if state.created else str(store.root),
        hosts=tuple(sorted(hosts)),
        runs=tuple(_run_row(state, number) for number in range(len(state.runs))),
        creators=spec.governance.creators,
        licence=spec.governance.licence,
        tier=spec.governance.tier,
    )


def _run_row(state: CampaignState, number: int) -> RunRow:
    run = state.runs[number]
    return RunRow(run.time, run.ended, run.started.host, run.started.site, run.started.workers)
