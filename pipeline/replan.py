"""Brings the state's phases and runs in line with the study. Pure: values in, values out."""

from dataclasses import replace

from pipeline.plan import RunSpec, awaited, plan_study
from pipeline.reconcile import Event
from pipeline.state import PhaseRecord, RunRecord, State
from pipeline.study import Study


def replanned(study: Study, profile_name: str, stored: State | None) -> tuple[State, list[Event]]:
    """The state with the phases and runs the study asks for; a run once submitted is kept."""
    name, digest = study.file.study.name, study.source_digest
    state = stored or State(study=name, study_digest=digest, profile=profile_name)
    planned = plan_study(study, state.selections)
    kept = {
        key: replace(run, in_plan=key in planned, cell=_cell(planned, key, run))
        for key, run in state.runs.items()
        if key in planned or run.tries
    }
    fresh = {key: _record(spec) for key, spec in planned.items() if key not in kept}
    events: list[Event] = []
    if stored is not None and stored.study_digest != digest:
        events.append({"event": "study changed", "digest": digest})
    return replace(
        state,
        study=name,
        study_digest=digest,
        profile=profile_name,
        phases=_phases(study, state, kept),
        runs=kept | fresh,
    ), events


def _phases(study: Study, state: State, kept: dict[str, RunRecord]) -> dict[str, PhaseRecord]:
    """The study's phases in its order, then phases it dropped that runs still belong to."""
    phases = {
        name: replace(
            state.phases.get(name, PhaseRecord(kind=phase.kind)),
            kind=phase.kind,
            confirmatory=phase.confirmatory,
            awaits=awaited(study, name, state.selections),
        )
        for name, phase in study.file.phases.items()
    }
    dropped = {run.phase for run in kept.values()} - set(phases)
    return phases | {name: replace(state.phases[name], awaits=None) for name in sorted(dropped)}


def _cell(planned: dict[str, RunSpec], key: str, run: RunRecord) -> str:
    return planned[key].cell if key in planned else run.cell


def _record(spec: RunSpec) -> RunRecord:
    return RunRecord(
        phase=spec.phase,
        condition=spec.condition,
        seed=spec.seed,
        config_digest=spec.digest,
        cell=spec.cell,
    )
