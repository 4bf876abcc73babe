"""What one look at the scheduler makes of one task's record. Pure."""

from dataclasses import replace
from datetime import datetime, timedelta

from pipeline.scheduler import TaskStatus
from pipeline.state import Incarnation, TaskRecord, TaskState

GONE = "GONE"
"""Our word for a task that the scheduler knows no more."""
_JITTER_S = 60.0  # between two estimates of one start: Slurm's seconds, clocks of two machines


def task_seen(
    task: TaskRecord, status: TaskStatus, *, at: str, told_all: bool, own_s: float | None
) -> TaskRecord:
    """The record after one look.

    Args:
        task: as it was, not ended.
        status: what the scheduler says.
        at: when; UTC, ISO 8601.
        told_all: every run of the task has a result or a failure of this attempt.
        own_s: seconds that the attempt ran by its own clock.
    """
    status = _concluded(task, status, at, told_all=told_all)
    if status.silent_s is not None:
        seen = replace(task, state=status.state, scheduler_state=status.scheduler_state)
        return replace(seen, missing_since=task.missing_since or at)
    ended = status.state is TaskState.ENDED
    took_s = status.elapsed_s if status.elapsed_s is not None else own_s
    return replace(
        task,
        state=status.state,
        scheduler_state=status.scheduler_state,
        step_state=status.step_state,
        exit_code=status.exit_code,
        reason=status.reason,
        node=status.node or task.node,
        gpus=status.gpus if status.gpus is not None else task.gpus,
        started_at=_started(task, status, at),
        elapsed_s=took_s if ended else None,
        ended_at=at if ended else None,
        missing_since=None,
        earlier=_earlier(task, status, at),
    )


def _concluded(task: TaskRecord, status: TaskStatus, at: str, *, told_all: bool) -> TaskStatus:
    """What a silence means: nothing yet, or the end of a task that told all or is long gone."""
    if status.silent_s is None:
        return status
    if told_all:
        return TaskStatus(TaskState.ENDED, "ENDED", earlier=status.earlier)
    if task.ended_by is not None:  # an element cancelled while it waits leaves no record
        return TaskStatus(TaskState.ENDED, "CANCELLED")
    gone = _between_s(task.missing_since or at, at) >= status.silent_s
    return TaskStatus(TaskState.ENDED, GONE) if gone else status


def _started(task: TaskRecord, status: TaskStatus, at: str) -> str | None:
    """When the last start was; the same moment from look to look, however clocks are rounded."""
    if status.state is not TaskState.RUNNING:
        return None
    if status.elapsed_s is None:
        return task.started_at
    start = datetime.fromisoformat(at) - timedelta(seconds=status.elapsed_s)
    moment = start.isoformat(timespec="seconds")
    before = task.started_at
    same = before is not None and abs(_between_s(before, moment)) < _JITTER_S
    return before if same else moment


def _earlier(task: TaskRecord, status: TaskStatus, at: str) -> tuple[Incarnation, ...]:
    """Earlier starts: as accounting has them, else one more when it was seen to begin again."""
    if status.earlier is not None:
        return status.earlier
    start = _started(task, status, at)
    if task.started_at is None or status.state is TaskState.ENDED or start == task.started_at:
        return task.earlier
    took_s = max(0.0, _between_s(task.started_at, start or at))  # at most: it may have waited since
    again = Incarnation(scheduler_state="REQUEUED", node=task.node, elapsed_s=took_s)
    return (*task.earlier, again)


def _between_s(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
