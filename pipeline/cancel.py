"""`pipeline cancel`: end what is queued or running. Needs no valid study: jobs cost GPU-hours."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline import follow_up
from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.learn import learned
from pipeline.lock import exclusive
from pipeline.reconcile import Event
from pipeline.scheduler import scheduler_for
from pipeline.state import RunStatus, State, TaskState
from pipeline.store import StateStore
from pipeline.submit import settle_intents
from pipeline.validation import suggest
from pipeline.words import count
from pipeline.workspace import Workspace

_ENDS_WITHIN_S = 60.0  # Slurm's KillWait is 30 s by default, and a task may write a checkpoint
_POLL_S = 1.0
_REASON = "cancelled with `pipeline cancel`"
Tasks = Mapping[str, Sequence[int]]
"""Tasks by the token of their submission."""


@dataclass(frozen=True)
class Ended:
    """The state after tasks were ended, and what was seen of it."""

    state: State
    events: list[Event]


def cancel(
    workspace: Workspace, names: Sequence[str] = (), on_wait: Callable[[str], None] = lambda _: None
) -> str:
    """End the jobs of the study, and return when they are over; their runs wait for a retry.

    Args:
        workspace: of the study.
        names: phases and runs (by key or run id) to end; none for all. Runs that train in one
            task with a named one end with it.
        on_wait: told in words what is waited for.

    Returns:
        What was done, in words.

    Raises:
        PipelineError: a name is unknown.
        SchedulerUnreachableError: a scheduler does not answer; nothing was changed.
    """
    store = StateStore(workspace.state_dir)
    with exclusive(workspace.lock_file, on_wait=on_wait):
        state = store.load()
        if state is None:
            raise PipelineError("nothing was submitted yet; there is nothing to cancel")
        state, events = settle_intents(workspace, state)
        state, found = follow_up.settle(workspace, state)
        state, ended_chain = (state, []) if names else follow_up.end(state, _REASON)
        events += [*found, *ended_chain]
        state, seen = learned(workspace, state)
        tasks = live_tasks(state, names)
        runs = _unfinished(state, tasks)
        ended = end_tasks(workspace, store, state, tasks, "cancel", on_wait)
        store.save(ended.state)
        cancelled = [{"event": "cancelled", "run": key} for key in runs]
        store.record([*events, *seen, *ended.events, *cancelled])
    left = len(_live(ended.state, tasks))
    said = [f"cancelled {count(len(tasks), 'job')} with {count(len(runs), 'unfinished run')}"]
    said += ["no follow-up goes on"] if ended_chain else []
    said += [f"{count(left, 'task')} still ending, `pipeline status` tells when"] if left else []
    return "; ".join(said)


def live_tasks(state: State, names: Sequence[str] = ()) -> Tasks:
    """What is queued or running, or what of it the names mean.

    Raises:
        PipelineError: a name is unknown.
    """
    keys = {key for name in names for key in _meant(state, name)}
    found: dict[str, list[int]] = {}
    for token, job in state.live_jobs().items():
        for index, task in enumerate(job.tasks):
            wanted = not names or keys & set(task.runs)
            if job.job_id is not None and task.state is not TaskState.ENDED and wanted:
                found.setdefault(token, []).append(index)
    return found


def _meant(state: State, name: str) -> list[str]:
    if name in state.phases:
        return [key for key, run in state.runs.items() if run.phase == name]
    found = [key for key in state.runs if name in (key, key.partition("/")[2])]
    if not found:
        near = suggest(name, [*state.phases, *state.runs])
        raise PipelineError(f'no phase or run is called "{name}"{near}')
    return found


def _unfinished(state: State, tasks: Tasks) -> list[str]:
    return [
        key
        for key, run in state.runs.items()
        if run.status in (RunStatus.QUEUED, RunStatus.RUNNING)
        and run.task in tasks.get(run.job or "", ())
    ]


def end_tasks(
    workspace: Workspace,
    store: StateStore,
    state: State,
    tasks: Tasks,
    ended_by: Literal["cancel", "stall", "pause"],
    on_wait: Callable[[str], None] = lambda _: None,
) -> Ended:
    """End some tasks and wait, for a while, until the scheduler says that they are over.

    Why they end is written down first: what ends now must not pass for an accident.

    Raises:
        SchedulerUnreachableError: a scheduler does not answer; the state is as it was.
    """
    marked = _marked(state, tasks, ended_by)
    store.save(marked)
    try:
        for backend in sorted({state.jobs[token].backend for token in tasks}):
            jobs = {t: state.jobs[t] for t in tasks if state.jobs[t].backend == backend}
            scheduler_for(backend).cancel(jobs, tasks)
    except SchedulerUnreachableError:
        store.save(state)
        raise
    return _settled(workspace, marked, tasks, on_wait)


def _marked(state: State, tasks: Tasks, ended_by: Literal["cancel", "stall", "pause"]) -> State:
    for token, indices in tasks.items():
        for index in indices:
            task = replace(state.jobs[token].tasks[index], ended_by=ended_by)
            state = state.with_task(token, index, task)
    return state


def _settled(
    workspace: Workspace, state: State, tasks: Tasks, on_wait: Callable[[str], None]
) -> Ended:
    """The state once the tasks are over, or after a while."""
    deadline = time.monotonic() + _ENDS_WITHIN_S
    events: list[Event] = []
    told = False
    while True:
        state, seen = learned(workspace, state)
        events += seen
        left = _live(state, tasks)
        if not left or time.monotonic() > deadline:
            return Ended(state, events)
        if not told:
            on_wait(f"waiting until {count(len(left), 'task')} ended")
            told = True
        time.sleep(_POLL_S)


def _live(state: State, tasks: Tasks) -> list[tuple[str, int]]:
    return [
        (token, index)
        for token, indices in tasks.items()
        for index in indices
        if state.jobs[token].tasks[index].state is not TaskState.ENDED
    ]
