"""A state with submissions that it did not know, and decisions that it had forgotten. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.remains import Remains
from pipeline.state import (
    JobRecord,
    OverrideRecord,
    PhaseRecord,
    RunRecord,
    RunStatus,
    State,
    TaskRecord,
    TaskState,
)


@dataclass(frozen=True)
class Found:
    """A submission that exists, or may."""

    remains: Remains
    job_id: str | None
    """None while its fate is not known: the next advance looks for it."""
    profile: str
    terms: Mapping[str, Any]
    """What it was submitted with, as far as the profile tells today."""
    over: bool = False
    """True when nothing but results is left of it."""


def adopted(state: State, found: Iterable[Found]) -> State:
    """The state with these submissions; of several that claim a run the newest has it.

    A run that is done stays so: its result was accepted. All submissions are tracked.
    """
    for one in sorted(found, key=lambda one: one.remains.made_at):
        state = _with_job(state, one)
    # Moments are whole seconds and the sort is stable: of one second, the known ones come first.
    jobs = dict(sorted(state.jobs.items(), key=lambda item: item[1].submitted_at))
    return replace(state, jobs=jobs)


def _with_job(state: State, found: Found) -> State:
    remains = found.remains
    runs = dict(state.runs)
    for index, keys in enumerate(remains.tasks):
        for key in keys:
            record = runs.get(key) or _unplanned(remains, key)
            runs[key] = _claimed(state, record, remains, index)
    seen = TaskState.ENDED if found.over else TaskState.QUEUED
    job = JobRecord(
        phase=remains.phase,
        profile=found.profile,
        backend=remains.backend,
        tasks=tuple(TaskRecord(runs=keys, state=seen) for keys in remains.tasks),
        submitted_at=remains.made_at,
        job_id=found.job_id,
        code=remains.code,
        **found.terms,
    )
    phases = dict(state.phases)
    phases.setdefault(remains.phase, PhaseRecord(kind=remains.phase))
    return replace(state, runs=runs, phases=phases, jobs={**state.jobs, remains.token: job})


def _claimed(state: State, record: RunRecord, remains: Remains, index: int) -> RunRecord:
    tried = replace(record, tries=record.tries + 1)
    if record.status is RunStatus.DONE or _is_newer(state, record, remains):
        return tried
    return replace(
        tried,
        status=RunStatus.QUEUED,
        job=remains.token,
        task=index,
        reason=None,
        failure=None,
        settled=False,
    )


def _is_newer(state: State, record: RunRecord, remains: Remains) -> bool:
    return record.job is not None and state.jobs[record.job].submitted_at > remains.made_at


def _unplanned(remains: Remains, key: str) -> RunRecord:
    """A run that the study does not ask for, or not yet."""
    entry = remains.runs[key]
    return RunRecord(
        phase=remains.phase,
        condition=entry.condition,
        seed=entry.seed,
        config_digest=entry.config_digest,
        in_plan=False,
    )


def with_decisions(state: State, events: Sequence[Mapping[str, Any]]) -> State:
    """The state with what a person decided, as the journal tells it, and the plan's freeze."""
    for event in events:
        kind, at = event.get("event"), str(event.get("at"))
        if kind == "plan frozen" and state.frozen_plan is None:
            digest = event.get("digest")
            state = replace(state, frozen_plan=str(digest), plan_frozen_at=at)
        phase = _phase_of(state, event)
        if phase is None:
            continue
        record = state.phases[phase]
        if kind == "gate overridden":
            made = OverrideRecord(
                gate=str(event.get("gate")), reason=str(event.get("reason")), at=at
            )
            known = {(override.gate, override.reason) for override in record.overrides}
            if (made.gate, made.reason) not in known:
                record = replace(record, overrides=(*record.overrides, made))
        elif kind == "accepted failed":
            record = replace(record, accepted_failed=True)
        elif kind == "retry" and "class" not in event:  # a person's, not the policy's
            record = replace(record, accepted_failed=False, retried_at=at)
        state = replace(state, phases={**state.phases, phase: record})
    return state


def _phase_of(state: State, event: Mapping[str, Any]) -> str | None:
    name = str(event.get("phase") or str(event.get("run")).partition("/")[0])
    return name if name in state.phases else None
