"""Applies the policy to every failed run of a state, and says so in words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pipeline.failures.kinds import PHASE_STOPPING, FailureClass
from pipeline.failures.policy import Decision, FailurePolicy, Past, decide, gained
from pipeline.state import BadNode, JobRecord, RunFailure, RunRecord, RunStatus, State, TaskRecord
from pipeline.words import count


@dataclass(frozen=True)
class Recovery:
    """The state after the policy, and what it did."""

    state: State
    events: list[dict[str, Any]]
    told: list[str]


def recovered(state: State, policy: FailurePolicy, walltime_min: int, at: str) -> Recovery:
    """Plan anew what the policy has tried again, settle the rest, remember bad nodes.

    Args:
        state: as reconciled.
        policy: of the profile that the next tasks go to.
        walltime_min: what that profile asks for.
        at: the time; UTC, ISO 8601.
    """
    runs = dict(state.runs)
    nodes = {name: bad for name, bad in state.bad_nodes.items() if not _over(bad.until, at)}
    events: list[dict[str, Any]] = []
    told: dict[tuple[FailureClass, str], list[str]] = {}
    attempts = state.attempts()
    for key, run in state.runs.items():
        if not _is_open(state, run) or run.failure is None or run.job is None:
            continue
        job, task = state.jobs[run.job], state.jobs[run.job].tasks[run.task or 0]
        past = past_of(state, key, attempts, walltime_min)
        decision = decide(run.failure, past, policy)
        runs[key] = _decided(run, decision)
        if decision.blame_node:
            nodes |= _blamed(key, run.failure, job, task, policy, at)
        if runs[key] != run:
            told.setdefault((run.failure, decision.words), []).append(key)
            event = "retry" if decision.retry else "given up"
            words = {"class": run.failure, "words": decision.words}
            events.append({"event": event, "run": key, **words})
    events += [
        {"event": "bad node", "node": name, "until": bad.until, "class": bad.kind}
        for name, bad in nodes.items()
        if state.bad_nodes.get(name) != bad
    ]
    lines = [
        f"{kind.words}: {count(len(keys), 'run')} {words}" for (kind, words), keys in told.items()
    ]
    lines += _left_out(state.bad_nodes, nodes)
    return Recovery(replace(state, runs=runs, bad_nodes=nodes), events, lines)


def past_of(
    state: State, key: str, attempts: Mapping[str, Sequence[tuple[str, int]]], walltime_min: int
) -> Past:
    """What is known of the attempts at a failed run, the last one included."""
    run = state.runs[key]
    assert run.job is not None
    job = state.jobs[run.job]
    task = job.tasks[run.task or 0]
    before = _failures_before(state, key, attempts[key], run.job)
    last = failure_in(task, key)
    counted = run.tries - run.uncounted
    return Past(
        counted_tries=counted,
        earlier=tuple(f.kind for f in before)[-(counted - 1) :] if counted > 1 else (),
        stack=len(task.runs),
        mem_gb=job.mem_gb,
        walltime_min=job.walltime_min or walltime_min,
        profile_walltime_min=walltime_min,
        step=last.step if last else 0,
        total_steps=last.total_steps if last else 0,
        best_step_before=max((f.step for f in before), default=0),
        stack_gained=any(_gained(state, mate, attempts[mate], run.job) for mate in task.runs),
        steps_per_s=last.steps_per_s if last else None,
        checkpoint=last.checkpoint if last else False,
    )


def _failures_before(
    state: State, key: str, attempts: Sequence[tuple[str, int]], token: str
) -> list[RunFailure]:
    tasks = [state.jobs[tried].tasks[index] for tried, index in attempts if tried != token]
    return [failure for task in tasks if (failure := failure_in(task, key)) is not None]


def _gained(state: State, key: str, attempts: Sequence[tuple[str, int]], token: str) -> bool:
    """Did a run end well in this attempt, or come further than before?"""
    run = state.runs[key]
    if run.status is RunStatus.DONE and run.job == token:
        return True
    here = [state.jobs[tried].tasks[index] for tried, index in attempts if tried == token]
    last = failure_in(here[-1], key) if here else None
    before = _failures_before(state, key, attempts, token)
    return last is not None and gained(
        last.step, max((f.step for f in before), default=0), last.total_steps
    )


def failure_in(task: TaskRecord, key: str) -> RunFailure | None:
    """Why a run has no result of this attempt; None when it has one, or the attempt goes on."""
    return next((failure for failure in task.failures if failure.run == key), None)


def stopping(state: State, phase: str) -> list[str]:
    """Failed runs for whose cause nothing more of the phase may be submitted.

    None any more once a person has had a run of the phase tried again since.
    """
    return [
        key
        for key, run in state.runs_of(phase).items()
        if _is_open(state, run) and run.failure in PHASE_STOPPING and not _mended(state, run)
    ]


def _mended(state: State, run: RunRecord) -> bool:
    retried_at = state.phases[run.phase].retried_at
    ended_at = state.jobs[run.job].tasks[run.task or 0].ended_at if run.job else None
    return retried_at is not None and ended_at is not None and ended_at <= retried_at


def _is_open(state: State, run: RunRecord) -> bool:
    """Has the run failed, and has nobody decided to go on without it?"""
    failed = run.status is RunStatus.FAILED and run.in_plan
    return failed and not state.phases[run.phase].accepted_failed


def _decided(run: RunRecord, decision: Decision) -> RunRecord:
    if not decision.retry:
        return replace(run, settled=True)
    return replace(
        run.moved(RunStatus.PLANNED),
        job=None,
        task=None,
        uncounted=run.uncounted + (not decision.counts),
        mem_gb=decision.mem_gb or run.mem_gb,
        walltime_min=decision.walltime_min or run.walltime_min,
        stack_limit=decision.stack_limit or run.stack_limit,
        resumes=f"{run.job}/{run.task}" if decision.resume else None,
    )


def _blamed(
    key: str, kind: FailureClass, job: JobRecord, task: TaskRecord, policy: FailurePolicy, at: str
) -> dict[str, BadNode]:
    """The node of a task as one to leave out, unless that time is over already."""
    if job.backend != "slurm" or task.node is None:
        return {}
    ended = datetime.fromisoformat(task.ended_at or at)
    until = (ended + timedelta(hours=policy.exclude_node_hours)).isoformat(timespec="seconds")
    return {} if _over(until, at) else {task.node: BadNode(kind=kind, until=until, run=key)}


def _over(until: str, at: str) -> bool:
    return datetime.fromisoformat(until) <= datetime.fromisoformat(at)


def _left_out(before: Mapping[str, BadNode], nodes: Mapping[str, BadNode]) -> list[str]:
    return [
        f"{name} is left out until {bad.until}: {bad.kind.words}"
        for name, bad in nodes.items()
        if name not in before
    ]
