"""Brings the state's phases and runs in line with the study. Pure: values in, values out."""

from dataclasses import replace

from pipeline.plan import RunSpec, plan_study
from pipeline.reconcile import Event
from pipeline.site import Site
from pipeline.state import PhaseRecord, RunRecord, State


def replanned(site: Site, stored: State | None) -> tuple[State, list[Event]]:
    """The state with the phases and runs the study asks for; a run once submitted is kept."""
    study, header = site.study, site.study.file.study
    state = stored or State(
        study=header.name, study_digest=study.source_digest, profile=site.profile_name
    )
    planned = plan_study(study)
    kept = {
        key: replace(run, in_plan=key in planned)
        for key, run in state.runs.items()
        if key in planned or run.tries
    }
    fresh = {key: _record(spec) for key, spec in planned.items() if key not in kept}
    events: list[Event] = []
    if stored is not None and stored.study_digest != study.source_digest:
        events.append({"event": "study changed", "digest": study.source_digest})
    return replace(
        state,
        study=header.name,
        study_digest=study.source_digest,
        profile=site.profile_name,
        phases=_phases(site, state, kept),
        runs=kept | fresh,
    ), events


def _phases(site: Site, state: State, kept: dict[str, RunRecord]) -> dict[str, PhaseRecord]:
    """The study's phases in its order, then phases it dropped that runs still belong to."""
    phases = {
        name: replace(
            state.phases.get(name, PhaseRecord(kind=phase.kind)),
            kind=phase.kind,
            confirmatory=phase.confirmatory,
        )
        for name, phase in site.study.file.phases.items()
    }
    dropped = {run.phase for run in kept.values()} - set(phases)
    return phases | {name: state.phases[name] for name in sorted(dropped)}


def _record(spec: RunSpec) -> RunRecord:
    return RunRecord(
        phase=spec.phase, condition=spec.condition, seed=spec.seed, config_digest=spec.digest
    )
