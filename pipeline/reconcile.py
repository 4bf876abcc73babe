"""What facts make of the state. Pure: state and facts in, state and events out.

Result files are the truth of the science, the scheduler is the truth of the jobs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.scheduler import TaskStatus
from pipeline.state import JobRecord, RunRecord, RunStatus, State, TaskState

Event = dict[str, Any]
_PLAIN_ENDS = (None, "ENDED", "COMPLETED", "FAILED", "UNKNOWN")
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
    fingerprint: str | None = None
    """Digest of what the result measured alone."""
    unread: tuple[str, ...] = ()
    """Config keys that the trainer never read."""


@dataclass(frozen=True)
class Facts:
    """What was seen at one moment."""

    statuses: Mapping[str, Sequence[TaskStatus]]
    outcomes: Mapping[str, Outcome]


def reconcile(state: State, facts: Facts) -> tuple[State, list[Event]]:
    """Bring the records up to what was seen."""
    jobs = {
        token: _seen(job, facts.statuses[token]) if token in facts.statuses else job
        for token, job in state.jobs.items()
    }
    runs, events = dict(state.runs), []
    for key, run in state.runs.items():
        if run.status in OPEN and run.job is not None:
            runs[key] = _advanced(run, jobs[run.job], facts.outcomes.get(key))
            if runs[key].status is not run.status:
                events.append(_event(key, run, runs[key]))
    follow_up = state.follow_up
    if follow_up is not None and follow_up.token in facts.statuses:
        seen = _seen(follow_up.job, facts.statuses[follow_up.token])
        follow_up = replace(follow_up, job=seen)
    return replace(state, jobs=jobs, runs=runs, follow_up=follow_up), events


def _seen(job: JobRecord, statuses: Sequence[TaskStatus]) -> JobRecord:
    tasks = tuple(
        task
        if task.state is TaskState.ENDED
        else replace(
            task,
            state=status.state,
            scheduler_state=status.scheduler_state,
            exit_code=status.exit_code,
            node=status.node or task.node,
            elapsed_s=status.elapsed_s if status.elapsed_s is not None else task.elapsed_s,
        )
        for task, status in zip(job.tasks, statuses, strict=True)
    )
    return replace(job, tasks=tasks)


def _advanced(run: RunRecord, job: JobRecord, outcome: Outcome | None) -> RunRecord:
    """The run after one look: done by its result alone, failed when its task ended without."""
    if outcome is not None and outcome.result_digest is not None:
        return replace(
            run.moved(RunStatus.DONE),
            result_digest=outcome.result_digest,
            gpu_seconds=outcome.gpu_s,
            device_seconds=outcome.device_s,
            fingerprint=outcome.fingerprint,
            unread=outcome.unread,
        )
    assert run.task is not None
    task = job.tasks[run.task]
    if run.status is RunStatus.FAILED:
        return run
    if task.state is TaskState.ENDED:
        return run.moved(RunStatus.FAILED, _why(task.scheduler_state, task.exit_code, outcome))
    if task.state is TaskState.RUNNING:
        return run.moved(RunStatus.RUNNING)
    return run.moved(RunStatus.QUEUED)


def _why(word: str | None, exit_code: str | None, outcome: Outcome | None) -> str:
    """The attempt's own words, and the scheduler's where those add something."""
    problem = outcome.problem if outcome is not None else None
    if problem is not None and word in _PLAIN_ENDS:
        return problem
    code = f", exit code {exit_code}" if exit_code else ""
    return f"{problem or 'the task ended without a result'} (scheduler: {word or 'unknown'}{code})"


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
