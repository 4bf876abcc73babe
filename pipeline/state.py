"""What was intended, submitted and seen: the records of `.state/pipeline.json`.

Plain dataclasses rather than pydantic models: `pipeline status` must answer at once, and building
pydantic models costs more than all the rest of it. The store validates these very classes with
pydantic whenever a file is not byte for byte what it wrote itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from pipeline.cells import arm_name
from pipeline.failures.kinds import NEVER_RETRIED, FailureClass

SCHEMA_VERSION = 2
_JOB_ID_DIGITS = 18
FORBID_UNKNOWN = {"extra": "forbid", "allow_inf_nan": False}


class RunStatus(StrEnum):
    """Where one run stands."""

    PLANNED = "planned"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class TaskState(StrEnum):
    """What the scheduler last said of one task."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


_S = RunStatus
ALLOWED: Mapping[RunStatus, frozenset[RunStatus]] = {
    _S.PLANNED: frozenset({_S.QUEUED}),
    _S.QUEUED: frozenset({_S.RUNNING, _S.DONE, _S.FAILED, _S.PLANNED}),
    _S.RUNNING: frozenset({_S.QUEUED, _S.DONE, _S.FAILED, _S.PLANNED}),
    _S.FAILED: frozenset({_S.PLANNED, _S.DONE}),
    _S.DONE: frozenset(),
}
"""Transitions of a run; QUEUED -> PLANNED is a submission taken back, FAILED -> PLANNED a retry."""


def is_job_id(text: str) -> bool:
    """Whether a text can be what a scheduler calls a job: a number, in plain digits."""
    return text.isascii() and text.isdecimal() and len(text) <= _JOB_ID_DIGITS


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run: what it is, and where its current attempt stands."""

    __pydantic_config__ = FORBID_UNKNOWN

    phase: str
    condition: str
    seed: int
    config_digest: str
    status: RunStatus = RunStatus.PLANNED
    job: str | None = None
    """Token of the submission that holds the current attempt."""
    task: int | None = None
    """Index of the task in that submission."""
    tries: int = 0
    """Attempts that were submitted, the current one included."""
    uncounted: int = 0
    """Those of them that the policy's max_tries does not count."""
    reason: str | None = None
    """Why it failed, in one line."""
    failure: FailureClass | None = None
    """The same as a class."""
    settled: bool = False
    """True once the policy has said that a failed run is not tried again by itself."""
    mem_gb: int | None = None
    """What its next attempt asks for instead of the profile's, as an earlier one had too little;
    so have the next two."""
    walltime_min: int | None = None
    stack_limit: int | None = None
    resumes: str | None = None
    """Attempt "<token>/<task>" that it goes on from: the runs of one train together again."""
    resumed: bool = False
    """True when its result goes on from the checkpoint of an earlier attempt."""
    result_digest: str | None = None
    """SHA-256 of the accepted result.json."""
    device_seconds: float | None = None
    """Share of its task's device time, from its result; `gpu_seconds` counts GPUs alone."""
    gpu_seconds: float | None = None
    in_plan: bool = True
    """False once study.toml no longer asks for this run; kept for the record."""
    fingerprint: str | None = None
    """Digest of what it measured alone: runs that agree in it have bit-identical results."""
    unread: tuple[str, ...] = ()
    """Config keys that the trainer never read."""
    cell: str = ""
    """Cell of a sweep: what its config has beyond its condition's, such as "opt_steps=2"."""

    @property
    def arm(self) -> str:
        """Condition and cell in one name, unique in the phase."""
        return arm_name(self.condition, self.cell)

    def moved(self, status: RunStatus, reason: str | None = None) -> "RunRecord":
        """The run in its next status; a transition that is not allowed is a bug."""
        if status is self.status:
            return replace(self, reason=reason)
        if status not in ALLOWED[self.status]:
            raise AssertionError(f"a run cannot go from {self.status} to {status}")
        return replace(self, status=status, reason=reason, failure=None, settled=False)

    @property
    def undecided(self) -> bool:
        """Has it failed, and may the policy have it tried again at the next advance?"""
        known = self.failure is not None and self.failure not in NEVER_RETRIED
        return self.status is RunStatus.FAILED and known and not self.settled


@dataclass(frozen=True, slots=True, kw_only=True)
class Incarnation:
    """An earlier start of a task that the scheduler itself queued again."""

    __pydantic_config__ = FORBID_UNKNOWN

    scheduler_state: str | None = None
    exit_code: str | None = None
    node: str | None = None
    elapsed_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailure:
    """Why one run of a task has no result of this attempt."""

    __pydantic_config__ = FORBID_UNKNOWN

    run: str
    kind: FailureClass
    evidence: str
    step: int = 0
    """Where it was."""
    total_steps: int = 0
    steps_per_s: float | None = None
    checkpoint: bool = False
    """Did it leave one?"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One attempt at an array element (or local process): its runs and what was seen of it."""

    __pydantic_config__ = FORBID_UNKNOWN

    runs: tuple[str, ...]
    """Keys of its runs, "<phase>/<run id>"."""
    state: TaskState = TaskState.QUEUED
    scheduler_state: str | None = None
    """The scheduler's own word, such as "OUT_OF_MEMORY"."""
    step_state: str | None = None
    """The scheduler's word for the worst step, where it differs."""
    exit_code: str | None = None
    reason: str | None = None
    """Why it waits or ended, in the scheduler's word, such as "QOSMaxJobsPerUserLimit"."""
    node: str | None = None
    started_at: str | None = None
    """When it started last, while it runs; UTC, ISO 8601."""
    elapsed_s: float | None = None
    """How long its last start ran; None until it has ended."""
    gpus: int | None = None
    """GPUs it was given, where accounting says so."""
    ended_at: str | None = None
    """When its end was first seen; UTC, ISO 8601."""
    missing_since: str | None = None
    """Since when the scheduler says nothing about it."""
    ended_by: Literal["cancel", "stall", "pause"] | None = None
    """Set before we end it ourselves."""
    earlier: tuple[Incarnation, ...] = ()
    failures: tuple[RunFailure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One submission. Without a job id it is an intent whose fate is not known yet."""

    __pydantic_config__ = FORBID_UNKNOWN

    phase: str
    profile: str
    backend: Literal["local", "slurm"]
    tasks: tuple[TaskRecord, ...]
    submitted_at: str
    """UTC, ISO 8601."""
    job_id: str | None = None
    code: str | None = None
    """Digest of the snapshot of the code that it runs from."""
    host: str | None = None
    """Machine that a local job runs on; it can be seen from there alone."""
    gpus: int = 0
    """What each task asked for; so the next ones."""
    mem_gb: int | None = None
    walltime_min: int | None = None
    signal_lead_s: int = 0
    excluded: tuple[str, ...] = ()
    """Nodes it must not run on, in Slurm's words."""
    stalled_after_min: int | None = None
    """Silence after which a running task counts as stalled."""

    @property
    def ended(self) -> bool:
        """True once the scheduler has said so of every task."""
        return all(task.state is TaskState.ENDED for task in self.tasks)


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpRecord:
    """The one job that carries the study on by itself (`advance --auto`)."""

    __pydantic_config__ = FORBID_UNKNOWN

    token: str
    job: JobRecord
    """Its submission, of one task without runs; an intent as long as it has no job id."""
    waits_for: tuple[str, ...] = ()
    """Ids of the jobs whose end it waits for; empty when it waits for a time."""
    submitter: str | None = None
    """Token of the follow-up that submitted it; None when a person's command did."""
    silent: int = 0
    """Follow-ups in a row, up to this one, to which the scheduler gave no answer."""
    ended: str | None = None
    """Why no other follows, in one line; None while the chain is to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRecord:
    """What a gate (or an alarm, which is a gate nobody has to declare) came to."""

    __pydantic_config__ = FORBID_UNKNOWN

    name: str
    """As study.toml declares it and `advance --override` takes it."""
    passed: bool
    words: str
    """The numbers behind it, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideRecord:
    """A person's decision to go on through a closed gate."""

    __pydantic_config__ = FORBID_UNKNOWN

    gate: str
    reason: str
    at: str
    """UTC, ISO 8601."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a sweep hands on to later phases: made once, and not changed by later results."""

    __pydantic_config__ = FORBID_UNKNOWN

    ranking: tuple[str, ...]
    """Cells by the declared rule, the selected one first; arms by name."""
    reference: str
    """The arm of the reference condition that the same rule selects."""
    arms_digest: str
    """Of the sweep's arms; with other arms the selection is void."""
    results_digest: str
    """Of the results that it was made from."""
    made_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseRecord:
    """One phase of the study, in the study's order."""

    __pydantic_config__ = FORBID_UNKNOWN

    kind: str
    confirmatory: bool = False
    analysed: str | None = None
    """Digest of the results that the shown analysis was made from."""
    completed_at: str | None = None
    accepted_failed: bool = False
    """True once a person decided to analyse the phase without its failed runs."""
    retried_at: str | None = None
    """When a person last had runs of it tried again: causes seen before are taken for mended."""
    selection: Selection | None = None
    """Of a sweep, from its first analysis on."""
    awaits: str | None = None
    """Sweep whose selection this phase's runs depend on, while there is none."""
    canary_step: int | None = None
    """Step by which its first task lets the others go; None when they all went together."""
    canary_waiting: int = 0
    """Tasks that wait for it."""
    canary_released: bool = False
    """True once they may go, for good."""
    gates: tuple[GateRecord, ...] = ()
    """What the phase's gates came to when it was last analysed."""
    overrides: tuple[OverrideRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadNode:
    """A node that is left out for a while."""

    __pydantic_config__ = FORBID_UNKNOWN

    kind: FailureClass
    until: str
    """UTC, ISO 8601."""
    run: str
    """A run that failed on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The whole of `.state/pipeline.json`."""

    __pydantic_config__ = FORBID_UNKNOWN

    study: str
    study_digest: str
    """SHA-256 of the study.toml that the runs below were planned from."""
    profile: str
    schema_version: int = SCHEMA_VERSION
    frozen_plan: str | None = None
    """Digest of the analysis plan when the first confirmatory phase was submitted."""
    plan_frozen_at: str | None = None
    admitted: int | None = None
    """Tasks in the queue when the scheduler last refused more for a submit limit."""
    report_due: bool = False
    """True while RESULTS.md does not know of runs that have ended, or of a decision."""
    phases: dict[str, PhaseRecord] = field(default_factory=dict)
    runs: dict[str, RunRecord] = field(default_factory=dict)
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    """Submissions by token, in the order they were made."""
    bad_nodes: dict[str, BadNode] = field(default_factory=dict)
    follow_up: FollowUpRecord | None = None

    def runs_of(self, phase: str) -> dict[str, RunRecord]:
        """The phase's runs that the study asks for, by key."""
        return {key: run for key, run in self.runs.items() if run.phase == phase and run.in_plan}

    @property
    def selections(self) -> dict[str, Selection]:
        """What sweeps have selected, by phase."""
        found = {name: phase.selection for name, phase in self.phases.items()}
        return {name: made for name, made in found.items() if made is not None}

    def live_jobs(self) -> dict[str, JobRecord]:
        """Submissions of which something may still be queued or running."""
        return {token: job for token, job in self.jobs.items() if not job.ended}

    def attempts(self) -> dict[str, list[tuple[str, int]]]:
        """(token, task) of every attempt at every run that was submitted, oldest first."""
        found: dict[str, list[tuple[str, int]]] = {}
        for token, job in sorted(self.jobs.items(), key=lambda item: item[1].submitted_at):
            for index, task in enumerate(job.tasks):
                for key in task.runs:
                    found.setdefault(key, []).append((token, index))
        return found

    def with_task(self, token: str, index: int, task: TaskRecord) -> "State":
        """The state with one task replaced."""
        job = self.jobs[token]
        tasks = (*job.tasks[:index], task, *job.tasks[index + 1 :])
        return replace(self, jobs={**self.jobs, token: replace(job, tasks=tasks)})
