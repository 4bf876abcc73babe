"""Slurm as a scheduler: arrays through submitit, one squeue and at most one sacct per query."""

import getpass
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.scheduler.base import FollowUp, Submission, Submitted, TaskStatus
from pipeline.scheduler.commands import attempt, no_slurm, run
from pipeline.scheduler.slurm_query import query
from pipeline.state import JobRecord, is_job_id

if TYPE_CHECKING:
    from pipeline.profiles import Profile

_SLURMS_MAX_ARRAY_SIZE = 1001
"""Slurm's default, where a cluster does not let us read its own."""
_CAP = re.compile(
    r"^MaxArraySize\s*=\s*(\d{1,9})(?!\d)|\bmax_array_tasks=(\d{1,9})(?!\d)",
    re.MULTILINE | re.ASCII,
)


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
        """Live tasks as squeue tells them, others as sacct does, the rest as scontrol does."""
        return query(jobs)

    def find(self, token: str, folder: Path) -> Submitted | None:
        """Look for the token in the names of live jobs, then of all jobs since yesterday."""
        del folder
        live = run("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%F|%j")
        past = attempt("sacct", "--noheader", "--parsable2", "--allocations",
                    "--starttime=now-2days", "--format=JobID,JobName") or ""  # fmt: skip
        for line in [*live.splitlines(), *past.splitlines()]:
            called, _, name = line.strip().partition("|")
            job_id = called.partition("_")[0]
            if name.endswith(token) and is_job_id(job_id):
                return Submitted(job_id)
        return None

    def cancel(
        self, jobs: Mapping[str, JobRecord], tasks: Mapping[str, Collection[int]] | None = None
    ) -> None:
        """One scancel for all."""
        everything = {token: range(len(job.tasks)) for token, job in jobs.items()}
        chosen = everything if tasks is None else tasks
        ids = [name for token, job in jobs.items() for name in _names(job, chosen[token])]
        if ids:
            run("scancel", *ids)


def _names(job: JobRecord, tasks: Collection[int]) -> list[str]:
    """What scancel calls these tasks: the whole job, or some elements of its array."""
    if job.job_id is None or not tasks:
        return []
    if len(tasks) == len(job.tasks):
        return [job.job_id]
    return [f"{job.job_id}_[{','.join(map(str, sorted(tasks)))}]"]


@cache
def _most_tasks(scontrol: str | None, configuration: str | None) -> int:
    """Elements of the largest array that this cluster (named by the arguments) takes.

    MaxArraySize caps the index, and the smallest index is 0; 0 means that there are no arrays.
    """
    del configuration
    if scontrol is None:
        return _SLURMS_MAX_ARRAY_SIZE
    text = run("scontrol", "show", "config")
    found = _CAP.findall(text)
    caps = [int(index or tasks) for index, tasks in found]
    return max(1, min(caps, default=_SLURMS_MAX_ARRAY_SIZE))
