"""What the pipeline asks of a scheduler, and what it gets to know from one."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.state import Incarnation, JobRecord, TaskState

if TYPE_CHECKING:
    from pipeline.profiles import Profile


ACCOUNTING_LAG_S = 120
"""Seconds after sbatch for which a job may be known neither to squeue nor to sacct."""


class HeldError(Exception):
    """The scheduler admits no more for now (a limit); the rest goes in at a later `advance`."""

    def __init__(self, words: str, *, fewer_may_fit: bool) -> None:
        super().__init__(words)
        self.fewer_may_fit = fewer_may_fit
        """True when the limit counts tasks, so that a smaller submission may go in at once."""


@dataclass(frozen=True)
class Submission:
    """One array (or one local process) about to be submitted."""

    token: str
    name: str
    """Job name; holds the token, so that the job is found again whatever happens."""
    comment: str
    folder: Path
    """Where logs and submitit's files go."""
    task_files: tuple[Path, ...]
    workspace: Path
    profile_name: str
    python_path: tuple[Path, ...]
    """Folders of the code snapshot that its tasks import from before all others."""


def python_path(submission: Submission) -> str:
    """PYTHONPATH of the tasks: their snapshot, then what the submitting process was given."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([*map(str, submission.python_path), *filter(None, given)])


@dataclass(frozen=True)
class FollowUp:
    """A small job about to be submitted that runs one command once others have ended."""

    token: str
    name: str
    """Job name; holds the token, so that the job is found again whatever happens."""
    comment: str
    folder: Path
    """Where its script and log go."""
    workspace: Path
    command: tuple[str, ...]
    after: tuple[str, ...]
    """Ids of the jobs it waits for, however they end; all of them were live a moment ago."""
    begin_min: int
    """It does not start before so many minutes from now."""
    profile_name: str


@dataclass(frozen=True)
class Submitted:
    """What names a submitted job for good."""

    job_id: str


@dataclass(frozen=True)
class TaskStatus:
    """What a scheduler says of one task."""

    state: TaskState
    scheduler_state: str | None = None
    exit_code: str | None = None
    node: str | None = None
    elapsed_s: float | None = None
    """Of its last start."""
    reason: str | None = None
    """Why it waits or ended, in the scheduler's word."""
    step_state: str | None = None
    """The word for its worst step, where that is OUT_OF_MEMORY."""
    gpus: int | None = None
    """GPUs it was given, where accounting says so."""
    earlier: tuple[Incarnation, ...] | None = None
    """Starts before its last one; None when the scheduler does not tell."""
    silent_s: float | None = None
    """Set when nobody knows the task: the state is the last known one, and only a silence of so
    many seconds means that it is gone."""


class Scheduler(Protocol):
    """Where tasks run. Queries cost the same few calls whatever the number of jobs."""

    def check(self) -> None:
        """Make sure that a submission could be tried at all.

        Raises:
            SchedulerUnreachableError: the scheduler's commands are not here.
        """

    def most_tasks(self) -> int:
        """How many tasks one submission may hold.

        Raises:
            SchedulerUnreachableError: no answer.
        """

    def submit(self, submission: Submission, profile: "Profile") -> Submitted:
        """Submit the tasks as one job.

        Raises:
            HeldError: a limit is reached; nothing was submitted.
            SchedulerUnreachableError: no answer; the job may exist, look for its token.
            PipelineError: the scheduler refuses the request as it is; nothing was submitted.
        """

    def follow_up(self, request: FollowUp, profile: "Profile") -> Submitted:
        """Submit a job that runs a command once others have ended, or at a time.

        Raises:
            HeldError: a limit is reached; nothing was submitted.
            SchedulerUnreachableError: no answer; the job may exist, look for its token.
            PipelineError: the scheduler refuses the request, or knows no such jobs.
        """

    def aim(self, job_id: str, after: Sequence[str]) -> None:
        """Have a follow-up that waits for a time wait for jobs instead.

        Raises:
            SchedulerUnreachableError: no answer, or it has begun already.
        """

    def query(self, jobs: Mapping[str, JobRecord]) -> dict[str, Sequence[TaskStatus]]:
        """Status of every task of every job (by token).

        Raises:
            SchedulerUnreachableError: no answer; nothing may be concluded.
        """

    def find(self, token: str, folder: Path) -> Submitted | None:
        """The job that carries a token, whose id was never written down; None if there is none.

        Raises:
            SchedulerUnreachableError: no answer; nothing may be concluded.
        """

    def cancel(
        self, jobs: Mapping[str, JobRecord], tasks: Mapping[str, Collection[int]] | None = None
    ) -> None:
        """End what is queued or running of the jobs, or of these of their tasks (by token).

        Raises:
            SchedulerUnreachableError: no answer.
        """
