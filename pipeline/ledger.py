"""What attempts took and what came of it, per phase: useful, failed, duplicated, preempted. Pure.

Time is the scheduler's accounting where there is any, else the attempts' own clock. A GPU-hour is
one GPU held for an hour; a task without a GPU is counted in device-hours, apart.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pipeline.failures.kinds import FailureClass
from pipeline.reconcile_task import GONE
from pipeline.state import (
    Incarnation,
    RunFailure,
    RunStatus,
    State,
    TaskRecord,
    TaskState,
)

Use = Literal["useful", "failed", "duplicated", "preempted", "running"]
USES: tuple[Use, ...] = ("useful", "failed", "duplicated", "preempted", "running")
GPU_HOURS, DEVICE_HOURS = "GPU-hours", "device-hours (no GPU)"
_HOUR_S = 3600


@dataclass
class Account:
    """Hours of one phase in one unit."""

    phase: str
    unit: str
    hours: dict[Use, float] = field(default_factory=lambda: dict.fromkeys(USES, 0.0))
    untimed: int = 0
    """Attempts that ended, and nobody knows how long they took."""

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.hours.values())


def ledger(state: State, at: str | None = None) -> list[Account]:
    """Accounts of every phase that had attempts, in the order of the study.

    Args:
        state: as reconciled.
        at: the time (UTC, ISO 8601) up to which running attempts count; None leaves them out.
    """
    accounts: dict[tuple[str, str], Account] = {}
    for phase in state.phases:
        for token, job in state.jobs.items():
            if job.phase != phase:
                continue
            for task in job.tasks:
                gpus = task.gpus if task.gpus is not None else job.gpus
                unit = GPU_HOURS if gpus else DEVICE_HOURS
                account = accounts.setdefault((phase, unit), Account(phase, unit))
                _book(account, state, token, task, max(1, gpus), at)
    return [account for account in accounts.values() if account.total or account.untimed]


def summed(accounts: list[Account]) -> list[Account]:
    """The accounts of all phases together, one for each unit."""
    sums: dict[str, Account] = {}
    for account in accounts:
        whole = sums.setdefault(account.unit, Account("all", account.unit))
        whole.untimed += account.untimed
        for use, hours in account.hours.items():
            whole.hours[use] += hours
    return list(sums.values())


def words(account: Account) -> str:
    """Such as "12 GPU-hours: 10 useful, 1.5 failed, 0.5 preempted"."""
    parts = [f"{hours:.3g} {use}" for use, hours in account.hours.items() if hours]
    if account.untimed:
        parts.append(f"{account.untimed} of unknown length")
    return f"{account.total:.3g} {account.unit}: {', '.join(parts)}"


def _book(
    account: Account,
    state: State,
    token: str,
    task: TaskRecord,
    devices: int,
    at: str | None,
) -> None:
    for start in task.earlier:
        _add(account, _use_of_start(start), start.elapsed_s, devices)
    if task.state is not TaskState.ENDED:
        if task.started_at is not None and at is not None:
            since = datetime.fromisoformat(at) - datetime.fromisoformat(task.started_at)
            _add(account, "running", max(0.0, since.total_seconds()), devices)
        return
    if task.elapsed_s is None and _never_ran(task):
        return
    if task.elapsed_s is None:
        account.untimed += 1
        return
    for use in _uses(state, token, task):
        _add(account, use, task.elapsed_s / len(task.runs), devices)


def _add(account: Account, use: Use, seconds: float | None, devices: int) -> None:
    if seconds is None:
        account.untimed += 1
    else:
        account.hours[use] += seconds * devices / _HOUR_S


def _never_ran(task: TaskRecord) -> bool:
    """Did it end while it waited?"""
    kinds = {failure.kind for failure in task.failures}
    return task.node is None or FailureClass.NEVER_STARTED in kinds


def _use_of_start(start: Incarnation) -> Use:
    return "preempted" if start.scheduler_state in ("PREEMPTED", "REQUEUED") else "failed"


def _uses(state: State, token: str, task: TaskRecord) -> Iterator[Use]:
    """What came of each run's share of an attempt."""
    for key in task.runs:
        run = state.runs[key]
        failure = next((f for f in task.failures if f.run == key), None)
        done = run.status is RunStatus.DONE
        if done and run.job == token:
            yield "useful"
        elif done and (failure is None or task.scheduler_state == GONE):
            yield "duplicated"
        else:
            yield _use_of_failure(failure, resumed=done and run.resumed)


def _use_of_failure(failure: RunFailure | None, *, resumed: bool) -> Use:
    """A piece of a training that another piece went on from is not lost."""
    if failure is not None and failure.kind is FailureClass.PREEMPTED:
        return "preempted"
    cut = failure is not None and failure.kind in (FailureClass.TIME_LIMIT, FailureClass.PAUSED)
    return "useful" if cut and resumed else "failed"
