"""What `pipeline status` says: the state and the latest facts as plain values. Writes nothing."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline import chain
from pipeline.aside import Aside, set_aside_of, tried_again
from pipeline.canary import held_words
from pipeline.failures.stalls import stalls
from pipeline.gates import closed_gates
from pipeline.ledger import Account, ledger
from pipeline.progress import Speed, speed_of
from pipeline.reconcile import counts
from pipeline.state import GateRecord, JobRecord, RunRecord, RunStatus, State, TaskState
from pipeline.words import and_more, count, one_line
from pipeline.workspace import Workspace

_MAX_ATTENTION = 8


@dataclass(frozen=True)
class JobView:
    """One submission; `live` until the scheduler has said that all of it ended."""

    job_id: str | None
    state: str
    tasks: int
    live: bool


@dataclass(frozen=True)
class PhaseView:
    """One phase: status is not_started, running, analysis_due, complete or attention."""

    id: str
    status: str
    runs: dict[str, int]
    jobs: list[JobView]
    speed: Speed | None = None
    closed: tuple[GateRecord, ...] = ()
    """Gates and alarms that need a person."""


@dataclass(frozen=True)
class StatusView:
    """The whole screen."""

    study: str
    workspace: str
    phases: list[PhaseView]
    next: str
    attention: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ledger: list[Account] = field(default_factory=list)
    """What attempts took so far, by phase."""
    set_aside: int = 0
    """Results that do not count, since their attempts were late or the second ones."""

    @property
    def finished(self) -> bool:
        """True when every phase is complete and analysed."""
        return all(phase.status == "complete" for phase in self.phases)

    def as_json(self) -> dict[str, Any]:
        """The stable form of `status --json`."""
        return {
            "study": self.study,
            "workspace": self.workspace,
            "phases": [
                {
                    "id": phase.id,
                    "status": phase.status,
                    "runs": phase.runs,
                    "jobs": [
                        {"job_id": job.job_id, "state": job.state, "tasks": job.tasks}
                        for job in phase.jobs
                    ],
                }
                for phase in self.phases
            ],
            "next": self.next,
            "attention": self.attention,
            "set_aside": self.set_aside,
            "ledger": [
                {
                    "phase": account.phase,
                    "unit": account.unit,
                    **{use: round(hours, 6) for use, hours in account.hours.items()},
                    "attempts_of_unknown_length": account.untimed,
                }
                for account in self.ledger
            ],
        }


def view_of(workspace: Workspace, state: State, notes: list[str] | None = None) -> StatusView:
    """Describe a state that has just been brought up to date."""
    names = [name for name, phase in state.phases.items() if phase.awaits or state.runs_of(name)]
    phases = [_phase(workspace, state, name) for name in names]
    finished = all(phase.status == "complete" for phase in phases)
    aside = set_aside_of(workspace, tried_again(state))
    return StatusView(
        study=state.study,
        workspace=str(workspace.root),
        phases=phases,
        next=_next(workspace, state, phases),
        attention=_attention(workspace, state, phases),
        notes=[
            *(notes or []),
            *_undecided_note(state),
            *_canaries(workspace, state, names),
            *_aside_note(aside),
            *chain.words(state, finished=finished),
        ],
        ledger=ledger(state, datetime.now(UTC).isoformat()),
        set_aside=len(aside),
    )


def _aside_note(aside: Sequence[Aside]) -> list[str]:
    if not aside:
        return []
    number = count(len(aside), "result")
    compares = f"`pipeline why {aside[0].run}` compares"
    return [f"{number} set aside (late or duplicate attempts), not counted; {compares}"]


def _canaries(workspace: Workspace, state: State, names: list[str]) -> list[str]:
    return [line for name in names if (line := held_words(workspace, state, name))]


def _attention(workspace: Workspace, state: State, phases: list[PhaseView]) -> list[str]:
    """Failed runs, those that failed for the same reason in one line; silent tasks; gates."""
    by_reason: dict[str, list[str]] = {}
    for key, run in state.runs.items():
        if _needs_person(state, run):
            by_reason.setdefault(_why(run), []).append(key)
    for stall in stalls(workspace, state):
        by_reason.setdefault(stall.words, []).extend(stall.runs)
    lines = [
        f"{and_more(keys[0], len(keys) - 1, 'run')}: {one_line(reason)}"
        for reason, keys in by_reason.items()
    ]
    lines += [
        f"{phase.id}: gate {gate.name} is closed: {one_line(gate.words)}"
        for phase in phases
        for gate in phase.closed
    ]
    lines += [
        f"{name}: {phase.awaits} selected nothing, since no cell of it has a result at every seed"
        for name, phase in state.phases.items()
        if phase.awaits and _status(state, phase.awaits, _tally(state, phase.awaits)) == "complete"
    ]
    if len(lines) > _MAX_ATTENTION:
        lines[_MAX_ATTENTION:] = [f"and {len(lines) - _MAX_ATTENTION} other reasons"]
    return lines


def _needs_person(state: State, run: RunRecord) -> bool:
    """Has it failed for good, and has nobody decided to go on without it?"""
    failed = run.status is RunStatus.FAILED and run.in_plan and not run.undecided
    return failed and not state.phases[run.phase].accepted_failed


def _why(run: RunRecord) -> str:
    kind = f"{run.failure.words}: " if run.failure is not None else ""
    return f"{kind}{run.reason or 'unknown'}"


def _undecided_note(state: State) -> list[str]:
    undecided = [key for key, run in state.runs.items() if run.in_plan and run.undecided]
    if not undecided:
        return []
    who = and_more(undecided[0], len(undecided) - 1, "run")
    return [f"{who} failed since the last advance; the next one acts on it"]


def _phase(workspace: Workspace, state: State, name: str) -> PhaseView:
    runs, tally = state.runs_of(name), _tally(state, name)
    jobs = [job for job in state.jobs.values() if job.phase == name]
    closed = closed_gates(state, name)
    return PhaseView(
        id=name,
        status="attention" if closed else _status(state, name, tally),
        runs=tally,
        jobs=[_job(job) for job in sorted(jobs, key=lambda job: job.submitted_at)],
        speed=speed_of(workspace, runs),
        closed=closed,
    )


def _tally(state: State, name: str) -> dict[str, int]:
    return counts(state.runs_of(name).values())


def _status(state: State, name: str, tally: dict[str, int]) -> str:
    if state.phases[name].awaits:
        return "not_started"
    runs = state.runs_of(name).values()
    if any(_needs_person(state, run) for run in runs):
        return "attention"
    if any(run.undecided for run in runs) and not state.phases[name].accepted_failed:
        return "running"
    if tally["done"] + tally["failed"] == tally["total"]:
        return "complete" if state.phases[name].analysed else "analysis_due"
    started = (
        tally["running"]
        or tally["done"]
        or any(run.job is not None for run in state.runs_of(name).values())
    )
    return "running" if started else "not_started"


def _job(job: JobRecord) -> JobView:
    states = {task.state for task in job.tasks}
    if job.job_id is None:
        state = "UNKNOWN"
    elif len(states) == 1:
        words = {task.scheduler_state for task in job.tasks}
        only = words.pop() if len(words) == 1 else None
        state = only or states.pop().value.upper()
    else:
        state = "RUNNING" if TaskState.RUNNING in states else "PENDING"
    return JobView(job.job_id, state, len(job.tasks), not job.ended)


def _stopped(state: State, phase: str) -> int:
    """Runs that were planned again, to go on where an attempt left them."""
    runs = state.runs_of(phase).values()
    return sum(run.status is RunStatus.PLANNED and run.resumes is not None for run in runs)


def _next(workspace: Workspace, state: State, phases: list[PhaseView]) -> str:
    current = next((phase for phase in phases if phase.status != "complete"), None)
    if current is None:
        return f"the study is complete: read {workspace.relative(workspace.report_file)}"
    if current.closed and not current.runs["failed"]:
        return (
            "find out what the numbers say; to go on all the same: "
            f'`pipeline advance --override {shlex.quote(current.closed[0].name)} --reason "..."`'
        )
    if current.status == "attention":
        return (
            "look at the failed runs (`pipeline why RUN`), mend the cause, "
            "then `pipeline retry` and `pipeline advance`; or go on without them: "
            "`pipeline advance --accept-failed`"
        )
    if chain.is_broken(state):
        return "`pipeline advance --auto` takes up the broken chain of follow-ups"
    if chain.is_untold(state):
        return f"a follow-up job may be missing: {chain.MAKES_SURE}"
    if chain.is_alive(state):
        return "nothing to do: a follow-up job carries the study on by itself"
    if current.status == "analysis_due":
        return f"`pipeline advance` analyses {current.id}"
    awaits = state.phases[current.id].awaits
    if awaits:
        return f"`pipeline retry` tries the failed runs of {awaits} again, so that it can select"
    if (stopped := _stopped(state, current.id)) and not state.live_jobs():
        return f"`pipeline advance` goes on with {count(stopped, 'stopped run')}"
    if current.status == "not_started":
        return f"`pipeline advance` submits {current.id} to profile {state.profile}"
    return "`pipeline advance --watch` follows the runs and goes on by itself"
