"""What facts make of the state. Pure: state and facts in, state and events out.

Result files are the truth of the science, the scheduler is the truth of the jobs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.failures.classify import classify
from pipeline.failures.evidence import Evidence, Failure, Traces
from pipeline.reconcile_task import task_seen
from pipeline.scheduler import TaskStatus
from pipeline.state import (
    JobRecord,
    RunFailure,
    RunRecord,
    RunStatus,
    State,
    TaskRecord,
    TaskState,
)

Event = dict[str, Any]
OPEN = (RunStatus.QUEUED, RunStatus.RUNNING, RunStatus.FAILED)
"""Statuses of runs whose current attempt may still bring a result, a failed one included."""


@dataclass(frozen=True)
class Outcome:
    """What lies in a run's folder from its current attempt."""

    result_digest: str | None = None
    """SHA-256 of a valid result.json; None when there is none."""
    gpu_s: float = 0.0
    device_s: float = 0.0
    problem: str | None = None
    """Why there is no result, when the attempt was able to say."""
    wall_s: float | None = None
    """From the start of the task to this file."""
    resumed: bool = False
    """Did it go on from a checkpoint of an earlier attempt?"""
    fingerprint: str | None = None
    """Digest of what the result measured alone."""
    unread: tuple[str, ...] = ()
    """Config keys that the trainer never read."""
    left_in: str | None = None
    """Folder of the attempt that ended with this result and did not come to promote it."""


@dataclass(frozen=True)
class Facts:
    """What was seen at one moment."""

    statuses: Mapping[str, Sequence[TaskStatus]]
    outcomes: Mapping[str, Outcome]
    traces: Mapping[str, Traces] = field(default_factory=dict)
    """By run: what was left by attempts that seem to be over."""
    at: str = "1970-01-01T00:00:00+00:00"
    """When that was; UTC, ISO 8601."""


def reconcile(state: State, facts: Facts) -> tuple[State, list[Event]]:
    """Bring the records up to what was seen."""
    jobs = {
        token: _seen(state, token, job, facts) if token in facts.statuses else job
        for token, job in state.jobs.items()
    }
    runs, events = dict(state.runs), []
    failed: dict[tuple[str, int], list[RunFailure]] = {}
    for key, run in state.runs.items():
        if run.status in OPEN and run.job is not None and run.task is not None:
            outcome, job = facts.outcomes.get(key), jobs[run.job]
            runs[key] = _advanced(run, job.tasks[run.task], outcome)
            if runs[key].status is RunStatus.FAILED and run.status is not RunStatus.FAILED:
                traces = facts.traces.get(key, Traces())
                failure = classify(evidence_of(job, run.task, outcome, traces))
                runs[key] = replace(runs[key], failure=failure.kind, reason=failure.evidence[0])
                here = failed.setdefault((run.job, run.task), [])
                here.append(_recorded(key, failure, traces))
            if runs[key].status is not run.status:
                events.append(_event(key, run, runs[key]))
    new = replace(state, jobs=jobs, runs=runs)
    for (token, index), failures in failed.items():
        task = new.jobs[token].tasks[index]
        new = new.with_task(token, index, replace(task, failures=(*task.failures, *failures)))
    follow_up = state.follow_up
    if follow_up is not None and follow_up.token in facts.statuses:
        seen = _seen(state, follow_up.token, follow_up.job, facts)
        new = replace(new, follow_up=replace(follow_up, job=seen))
    return new, events


def evidence_of(job: JobRecord, index: int, outcome: Outcome | None, traces: Traces) -> Evidence:
    """All that a failed attempt at a run is judged by."""
    task = job.tasks[index]
    return Evidence(
        backend=job.backend,
        state=task.scheduler_state,
        step_state=task.step_state,
        exit_code=task.exit_code,
        reason=task.reason,
        message=outcome.problem if outcome is not None else None,
        ended_by=task.ended_by,
        elapsed_s=task.elapsed_s,
        limit_s=job.walltime_min * 60.0 if job.walltime_min else None,
        lead_s=job.signal_lead_s,
        node=task.node,
        traces=traces,
    )


def _recorded(key: str, failure: Failure, traces: Traces) -> RunFailure:
    progress = traces.progress
    return RunFailure(
        run=key,
        kind=failure.kind,
        evidence="; ".join(failure.evidence),
        step=progress.step if progress else 0,
        total_steps=progress.total_steps if progress else 0,
        steps_per_s=progress.steps_per_s if progress else None,
        checkpoint=traces.checkpoint,
    )


def _seen(state: State, token: str, job: JobRecord, facts: Facts) -> JobRecord:
    tasks = tuple(
        task
        if task.state is TaskState.ENDED
        else task_seen(
            task,
            status,
            at=facts.at,
            told_all=_told_all(state, token, task, facts),
            own_s=_own_clock(state, token, task, facts),
        )
        for task, status in zip(job.tasks, facts.statuses[token], strict=True)
    )
    return replace(job, tasks=tasks)


def _told_all(state: State, token: str, task: TaskRecord, facts: Facts) -> bool:
    """Has every run of the task a result or a failure of this attempt?"""
    runs = {key: state.runs[key] for key in task.runs}
    return bool(runs) and all(
        run.job == token and (run.status is RunStatus.DONE or key in facts.outcomes)
        for key, run in runs.items()
    )


def _own_clock(state: State, token: str, task: TaskRecord, facts: Facts) -> float | None:
    """Seconds that the attempt ran by its own clock, the longest of what its runs tell."""
    own = [facts.outcomes[key].wall_s for key in task.runs if key in facts.outcomes]
    own += [facts.traces[key].active_s for key in task.runs if key in facts.traces]
    for run in (state.runs[key] for key in task.runs):
        if run.job == token and run.device_seconds is not None:  # its share of the whole
            own.append(run.device_seconds * len(task.runs) / max(1, state.jobs[token].gpus))
    return max((seconds for seconds in own if seconds is not None), default=None)


def _advanced(run: RunRecord, task: TaskRecord, outcome: Outcome | None) -> RunRecord:
    """The run after one look: done by its result alone, failed when its task ended without."""
    if outcome is not None and outcome.result_digest is not None:
        return replace(
            run.moved(RunStatus.DONE),
            result_digest=outcome.result_digest,
            gpu_seconds=outcome.gpu_s,
            device_seconds=outcome.device_s,
            resumed=outcome.resumed,
            fingerprint=outcome.fingerprint,
            unread=outcome.unread,
        )
    if run.status is RunStatus.FAILED:
        return run
    if task.state is TaskState.ENDED:
        return run.moved(RunStatus.FAILED)
    if task.state is TaskState.RUNNING:
        return run.moved(RunStatus.RUNNING)
    return run.moved(RunStatus.QUEUED)


def _event(key: str, before: RunRecord, after: RunRecord) -> Event:
    event = {"event": "run", "run": key, "from": before.status, "to": after.status}
    return event | ({"reason": after.reason} if after.reason else {})


def counts(runs: Iterable[RunRecord]) -> dict[str, int]:
    """Runs by where they stand, in the words of `status --json`."""
    tally = {"total": 0, "done": 0, "running": 0, "pending": 0, "failed": 0}
    for run in runs:
        waiting = run.status in (RunStatus.PLANNED, RunStatus.QUEUED)
        tally["total"] += 1
        tally["pending" if waiting else run.status.value] += 1
    return tally
