"""Looks at schedulers and run folders; writes nothing and concludes nothing."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pipeline import chain
from pipeline.attempts import FAILURE, RESULT
from pipeline.claim import current_folder
from pipeline.failures.evidence import Traces
from pipeline.failures.traces import traces_of
from pipeline.reconcile import OPEN, Facts, Outcome
from pipeline.scheduler import TaskStatus, scheduler_for
from pipeline.state import RunRecord, RunStatus, State, TaskState
from pipeline.workspace import Workspace


def observe(workspace: Workspace, state: State) -> Facts:
    """Ask the schedulers first, then look for results: a task seen as ended has written its own.

    Raises:
        SchedulerUnreachableError: a scheduler does not answer; nothing may be concluded.
    """
    live = {token: job for token, job in state.live_jobs().items() if job.job_id is not None}
    live |= chain.asked(state)
    statuses: dict[str, Sequence[TaskStatus]] = {}
    for backend in sorted({job.backend for job in live.values()}):
        jobs = {token: job for token, job in live.items() if job.backend == backend}
        statuses |= scheduler_for(backend).query(jobs)
    open_runs = {key: run for key, run in state.runs.items() if run.status in OPEN}
    outcomes = _outcomes(workspace, state, open_runs, statuses)
    return Facts(
        statuses,
        outcomes,
        _traces(workspace, state, statuses, outcomes),
        datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _traces(
    workspace: Workspace,
    state: State,
    statuses: Mapping[str, Sequence[TaskStatus]],
    outcomes: Mapping[str, Outcome],
) -> dict[str, Traces]:
    """What attempts left that are, or may turn out to be, over without a result."""
    found: dict[str, Traces] = {}
    for key, run in state.runs.items():
        if run.status not in (RunStatus.QUEUED, RunStatus.RUNNING) or run.job is None:
            continue
        if (outcome := outcomes.get(key)) is not None and outcome.result_digest is not None:
            continue
        if _may_be_over(state, run, statuses):
            index = run.task or 0
            found[key] = traces_of(workspace, run.job, state.jobs[run.job], index, key)
    return found


def _outcomes(
    workspace: Workspace,
    state: State,
    runs: Mapping[str, RunRecord],
    statuses: Mapping[str, Sequence[TaskStatus]],
) -> dict[str, Outcome]:
    """Outcomes of the runs that have a file of their current attempt.

    What lies in an attempt's folder counts when the attempt is over: until then it may promote its
    result itself, and a failure of one run is no news before all of the task has ended.
    """
    found: dict[str, Outcome] = {}
    for key, run in runs.items():
        folder = workspace.run_dir(key)
        over = _may_be_over(state, run, statuses)
        if (folder / RESULT).exists() or (over and _left_something(folder)):
            from pipeline.collect import outcome_of  # builds pydantic models

            outcome = outcome_of(folder, key, run)
            if outcome is not None:
                found[key] = outcome
    return found


def _may_be_over(
    state: State, run: RunRecord, statuses: Mapping[str, Sequence[TaskStatus]]
) -> bool:
    """Has the scheduler said that the run's task ended, or does it say nothing of it?"""
    if run.job is None:
        return False
    index = run.task or 0
    seen = statuses[run.job][index] if run.job in statuses else None
    if state.jobs[run.job].tasks[index].state is TaskState.ENDED:
        return True
    return seen is not None and (seen.state is TaskState.ENDED or seen.silent_s is not None)


def _left_something(run_dir: Path) -> bool:
    attempt = current_folder(run_dir)
    return attempt is not None and any((attempt / name).exists() for name in (RESULT, FAILURE))
