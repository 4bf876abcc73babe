"""Slurm as a scheduler: arrays through submitit, one squeue and at most one sacct per query."""

import getpass
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.provenance import age_s
from pipeline.scheduler.base import ACCOUNTING_LAG_S, FollowUp, Submission, Submitted, TaskStatus
from pipeline.scheduler.commands import attempt, no_slurm, run
from pipeline.state import JobRecord, TaskState

if TYPE_CHECKING:
    from pipeline.profiles import Profile

_RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED"}
_NOT_ENDED = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "CONFIGURING", "RESIZING", *_RUNNING}
_SLURMS_MAX_ARRAY_SIZE = 1001
"""Slurm's default, where a cluster does not let us read its own."""

TaskId = tuple[str, int | None]
"""Job id and array index; None for a job that is no array."""
_REST = -1
"""In place of an index: all elements of the array that are not told of one by one."""


class SlurmScheduler:
    """A Slurm cluster, seen from a node where its client commands work."""

    def check(self) -> None:
        """Make sure that this machine has Slurm's commands."""
        if any(shutil.which(command) is None for command in ("sbatch", "squeue", "srun")):
            raise no_slurm()

    def most_tasks(self) -> int:
        """What the cluster takes in one array; read once a process."""
        return _most_tasks(shutil.which("scontrol"), os.environ.get("SLURM_CONF"))

    def submit(self, submission: Submission, profile: "Profile") -> Submitted:
        """Submit the tasks as one array job (or one plain job) through submitit."""
        from pipeline.scheduler.sbatch import submit_array

        assert profile.backend == "slurm"
        return submit_array(submission, profile)

    def follow_up(self, request: FollowUp, profile: "Profile") -> Submitted:
        """Submit a small job with --dependency=afterany or --begin."""
        from pipeline.scheduler.follow_up import submit_follow_up

        assert profile.backend == "slurm"
        return submit_follow_up(request, profile)

    def aim(self, job_id: str, after: Sequence[str]) -> None:
        """One scontrol update."""
        from pipeline.scheduler import follow_up

        follow_up.aim(job_id, after)

    def query(self, jobs: Mapping[str, JobRecord]) -> dict[str, Sequence[TaskStatus]]:
        """Live tasks as squeue tells them, all others as sacct does."""
        known = _squeue()
        missing = {
            job.job_id
            for token, job in jobs.items()
            if job.job_id and any(_id(job, i) not in known for i in range(len(job.tasks)))
        }
        accounted = _sacct(sorted(missing)) if missing else {}
        return {
            token: [_status(job, index, known, accounted) for index in range(len(job.tasks))]
            for token, job in jobs.items()
        }

    def find(self, token: str, folder: Path) -> Submitted | None:
        """Look for the token in the names of live jobs, then of all jobs since yesterday."""
        del folder
        live = run("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%F|%j")
        past = attempt("sacct", "--noheader", "--parsable2", "--allocations",
                    "--starttime=now-2days", "--format=JobID,JobName") or ""  # fmt: skip
        for line in [*live.splitlines(), *past.splitlines()]:
            job_id, _, name = line.strip().partition("|")
            if name.endswith(token):
                return Submitted(job_id.partition("_")[0])
        return None

    def cancel(self, jobs: Mapping[str, JobRecord]) -> None:
        """One scancel for all."""
        ids = [job.job_id for job in jobs.values() if job.job_id]
        if ids:
            run("scancel", *ids)


@cache
def _most_tasks(scontrol: str | None, configuration: str | None) -> int:
    """Elements of the largest array that this cluster (named by the arguments) takes.

    MaxArraySize caps the index, and the smallest index is 0; 0 means that there are no arrays.
    """
    del configuration
    if scontrol is None:
        return _SLURMS_MAX_ARRAY_SIZE
    text = run("scontrol", "show", "config")
    found = re.findall(r"^MaxArraySize\s*=\s*(\d+)|\bmax_array_tasks=(\d+)", text, re.MULTILINE)
    caps = [int(index or tasks) for index, tasks in found]
    return max(1, min(caps, default=_SLURMS_MAX_ARRAY_SIZE))


def _squeue() -> dict[TaskId, TaskStatus]:
    """Every live task of this user, arrays expanded."""
    text = run(
        "squeue", "--noheader", "--array", f"--user={getpass.getuser()}", "--format=%F|%K|%T|%N"
    )
    known: dict[TaskId, TaskStatus] = {}
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != 4:
            continue
        job_id, index, word, node = fields
        if _state(word) is not TaskState.ENDED:
            known[job_id, _index(index)] = TaskStatus(_state(word), word, node=node or None)
    return known


def _sacct(job_ids: Sequence[str]) -> dict[TaskId, TaskStatus]:
    """Tasks as accounting has them; empty where there is no accounting.

    It may call a task live that squeue does not show (after a restart of the controller): then
    nothing is concluded from squeue's silence. A range ("12_[3-9]") holds the elements that never
    started: pending ones tell nothing, cancelled ones have no rows of their own. Long ranges are
    cut short ("12_[1,3,...]"), so one that ended speaks of all elements without a row.
    """
    text = attempt(
        "sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={','.join(job_ids)}",
        "--format=JobID,State,ExitCode,ElapsedRaw,NodeList",
    )  # fmt: skip
    known: dict[TaskId, TaskStatus] = {}
    for line in (text or "").splitlines():
        fields = line.strip().split("|")
        if len(fields) != 5:
            continue
        name, words, exit_code, elapsed, node = fields
        job_id, _, index = name.partition("_")
        word = (words.split() or ["UNKNOWN"])[0]
        in_range = index.startswith("[")
        if in_range and _state(word) is not TaskState.ENDED:
            continue
        known[job_id, _REST if in_range else _index(index)] = TaskStatus(
            _state(word),
            word,
            exit_code or None,
            node if node not in {"", "None assigned"} else None,
            float(elapsed) if elapsed.isdigit() else None,
        )
    return known


def _state(word: str) -> TaskState:
    """What one of Slurm's words for a job means for us."""
    if word in _RUNNING:
        return TaskState.RUNNING
    return TaskState.QUEUED if word in _NOT_ENDED else TaskState.ENDED


def _status(
    job: JobRecord,
    index: int,
    known: Mapping[TaskId, TaskStatus],
    accounted: Mapping[TaskId, TaskStatus],
) -> TaskStatus:
    task_id = _id(job, index)
    if task_id in known:
        return known[task_id]
    for name in (task_id, (job.job_id or "", _REST)):
        if name in accounted:
            return accounted[name]
    if age_s(job.submitted_at) < ACCOUNTING_LAG_S:
        return TaskStatus(job.tasks[index].state, job.tasks[index].scheduler_state)
    return TaskStatus(TaskState.ENDED, "UNKNOWN")


def _id(job: JobRecord, index: int) -> TaskId:
    assert job.job_id is not None
    return job.job_id, index if len(job.tasks) > 1 else None


def _index(text: str) -> int | None:
    return int(text) if text.isdigit() else None
