"""`pipeline why RUN`: what is known of one run, what was tried, and what would help."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from pipeline.aside import likeness, set_aside_of
from pipeline.errors import SchedulerUnreachableError
from pipeline.failures.evidence import Progress
from pipeline.failures.kinds import REMEDY, FailureClass
from pipeline.failures.recovery import failure_in, stopping
from pipeline.failures.stalls import stalls
from pipeline.failures.traces import log_path, tail_of, traces_of
from pipeline.scheduler.reasons import reason_in_words
from pipeline.state import JobRecord, RunRecord, RunStatus, State, TaskRecord, TaskState
from pipeline.status import current_state, named_run
from pipeline.words import duration, one_line
from pipeline.workspace import Workspace

_LOG_LINES = 20
_MORE = 1.5  # suggested, where a person asks for more by hand


Answer = tuple[str, list[str], list[str]]
"""Headline, evidence, advice."""


@dataclass(frozen=True)
class Attempt:
    """One try at the run, as a row of a table."""

    job: str
    node: str
    ran: str
    asked: str
    """Memory and time."""
    end: str


@dataclass(frozen=True)
class Explanation:
    """The whole answer."""

    run: str
    headline: str
    evidence: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    log_path: str | None = None
    log: list[str] = field(default_factory=list)
    """Its last lines."""


def explain(
    workspace: Workspace, name: str
) -> tuple[Explanation, SchedulerUnreachableError | None]:
    """What is known of a run, named by its key or its run id.

    When a scheduler does not answer, this is what was last seen, and the error comes with it.

    Raises:
        PipelineError: no run is called so, or nothing was submitted yet.
    """
    state, error = current_state(workspace)
    key = named_run(state, name)
    run = state.runs[key]
    headline, evidence, advice = _ANSWERS[run.status](workspace, state, key)
    path = None
    if run.job is not None and run.status in (RunStatus.RUNNING, RunStatus.FAILED):
        path = log_path(workspace, run.job, state.jobs[run.job], run.task or 0)
    log = tail_of(path) if path is not None else None
    return Explanation(
        run=key,
        headline=headline,
        evidence=[*evidence, *_set_aside(workspace, key, run)],
        attempts=[_attempt(state, key, *tried) for tried in state.attempts().get(key, [])],
        advice=advice,
        log_path=workspace.relative(path) if path is not None and log is not None else None,
        log=[one_line(line) for line in (log or "").splitlines()[-_LOG_LINES:]],
    ), error


def _set_aside(workspace: Workspace, key: str, run: RunRecord) -> list[str]:
    """Results of the run that do not count, and how they compare with the one that does."""
    return [
        f"set aside, of a late or second attempt: {workspace.relative(aside.path)} "
        f"({likeness(aside, run).value})"
        for aside in set_aside_of(workspace, [key])
    ]


def _planned(workspace: Workspace, state: State, key: str) -> Answer:
    del workspace
    run = state.runs[key]
    evidence = [f"asks for {asked}" for asked in [_asked(run.mem_gb, run.walltime_min)] if asked]
    stopped = stopping(state, run.phase)
    if not run.in_plan:
        return "not submitted: study.toml does not ask for it any more", evidence, []
    if stopped:
        return (
            f"not submitted: {stopped[0]} failed for a cause that would strike this run too",
            evidence,
            [f"`pipeline why {stopped[0]}` says what to mend"],
        )
    return (
        "not submitted: waits for its phase, for a free place, or for the next advance",
        evidence,
        ["`pipeline advance` submits what may run"],
    )


def _queued(workspace: Workspace, state: State, key: str) -> Answer:
    del workspace
    job, task = _current(state, key)
    where = f"queued as job {_job_name(job, state.runs[key].task or 0)}"
    return f"{where}: {reason_in_words(task.reason)}", [f"submitted at {job.submitted_at}"], []


def _running(workspace: Workspace, state: State, key: str) -> Answer:
    run = state.runs[key]
    job, task = _current(state, key)
    token, index = run.job or "", run.task or 0
    progress = traces_of(workspace, token, job, index, key).progress
    evidence = [f"started at {task.started_at}"] if task.started_at else []
    evidence += [_progress_line(progress)] if progress else ["has reported no progress yet"]
    if task.missing_since is not None:
        evidence.append(f"the scheduler has not mentioned it since {task.missing_since}")
    for stall in stalls(workspace, state):
        if key in stall.runs:
            remedy = _remedy(workspace, key, run, job, task, FailureClass.STALLED)
            return f"stalled: {stall.words}", evidence, [remedy]
    return f"running on {task.node or 'some node'}", evidence, []


def _done(workspace: Workspace, state: State, key: str) -> Answer:
    run = state.runs[key]
    path = workspace.relative(workspace.run_dir(key) / "result.json")
    evidence = [f"its result was accepted: {path}"]
    if run.device_seconds is not None:
        evidence.append(f"took {duration(run.device_seconds)} of device time")
    if run.resumed:
        evidence.append("went on from the checkpoint of an earlier attempt")
    return "done", evidence, []


def _failed(workspace: Workspace, state: State, key: str) -> Answer:
    run = state.runs[key]
    job, task = _current(state, key)
    failure = failure_in(task, key)
    kind = run.failure or FailureClass.UNKNOWN
    evidence = failure.evidence.split("; ") if failure else [run.reason or "unknown"]
    advice = [_remedy(workspace, key, run, job, task, kind)]
    if run.undecided:
        advice = ["`pipeline advance` acts on it as the policy says", *advice]
    return f"failed: {kind.words}", evidence, advice


_ANSWERS: dict[RunStatus, Callable[[Workspace, State, str], Answer]] = {
    RunStatus.PLANNED: _planned,
    RunStatus.QUEUED: _queued,
    RunStatus.RUNNING: _running,
    RunStatus.DONE: _done,
    RunStatus.FAILED: _failed,
}


def _current(state: State, key: str) -> tuple[JobRecord, TaskRecord]:
    run = state.runs[key]
    assert run.job is not None
    assert run.task is not None
    job = state.jobs[run.job]
    return job, job.tasks[run.task]


def _remedy(
    workspace: Workspace,
    key: str,
    run: RunRecord,
    job: JobRecord,
    task: TaskRecord,
    kind: FailureClass,
) -> str:
    """What would help, with commands that can be typed as they stand."""
    return REMEDY[kind].format(
        run=key,
        node=task.node or "its node",
        logs=workspace.logs_dir,
        root=workspace.root,
        mem_gb=math.ceil((run.mem_gb or job.mem_gb or 16) * _MORE),
        walltime_min=math.ceil((run.walltime_min or job.walltime_min or 60) * _MORE),
    )


def _progress_line(progress: Progress) -> str:
    speed = f" at {progress.steps_per_s:.3g} steps/s" if progress.steps_per_s else ""
    return (
        f"step {progress.step:,} of {progress.total_steps:,}{speed}, "
        f"last report {duration(progress.age_s)} ago"
    )


def _attempt(state: State, key: str, token: str, index: int) -> Attempt:
    job = state.jobs[token]
    task = job.tasks[index]
    starts = [f"{s.scheduler_state} after {_took(s.elapsed_s)} on {s.node}" for s in task.earlier]
    return Attempt(
        job=_job_name(job, index),
        node=task.node or "",
        ran=_took(task.elapsed_s),
        asked=_asked(job.mem_gb, job.walltime_min),
        end=", ".join([*starts, _end(state.runs[key], key, token, task)]),
    )


def _end(run: RunRecord, key: str, token: str, task: TaskRecord) -> str:
    failure = failure_in(task, key)
    if run.status is RunStatus.DONE and run.job == token:
        return "result accepted"
    if failure is not None:
        return failure.kind.words
    if task.state is not TaskState.ENDED:
        return task.state.value
    return (task.scheduler_state or "ended").lower()


def _job_name(job: JobRecord, index: int) -> str:
    name = job.job_id or "(id not known yet)"
    return f"{name}_{index}" if len(job.tasks) > 1 else name


def _took(seconds: float | None) -> str:
    return "" if seconds is None else duration(seconds)


def _asked(mem_gb: int | None, walltime_min: int | None) -> str:
    memory = [f"{mem_gb} GB"] if mem_gb is not None else []
    return ", ".join([*memory, *([f"{walltime_min} min"] if walltime_min is not None else [])])
