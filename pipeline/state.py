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

SCHEMA_VERSION = 1
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
    reason: str | None = None
    """Why it failed, in one line."""
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
        return replace(self, status=status, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One array element (or local process): the runs it trains and what was last seen of it."""

    __pydantic_config__ = FORBID_UNKNOWN

    runs: tuple[str, ...]
    """Keys of its runs, "<phase>/<run id>"."""
    state: TaskState = TaskState.QUEUED
    scheduler_state: str | None = None
    """The scheduler's own word, such as "OUT_OF_MEMORY"."""
    exit_code: str | None = None
    node: str | None = None
    elapsed_s: float | None = None


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
    phases: dict[str, PhaseRecord] = field(default_factory=dict)
    runs: dict[str, RunRecord] = field(default_factory=dict)
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    """Submissions by token."""
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
