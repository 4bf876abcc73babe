"""Slurm as a scheduler: arrays through submitit, one squeue and at most one sacct per query."""

import getpass
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.provenance import age_s
from pipeline.scheduler.base import ACCOUNTING_LAG_S, HeldError, Submission, Submitted, TaskStatus
from pipeline.scheduler.clients import ClientError, call
from pipeline.state import JobRecord, TaskState

if TYPE_CHECKING:
    from pipeline.profiles import Profile, SlurmProfile

_UNREACHABLE = re.compile(
    r"Unable to contact slurm controller|Socket timed out|Connection refused|"
    r"Zero Bytes were transmitted|Transport endpoint|slurm_persist_conn_open"
)
_LIMITS = re.compile(
    r"MaxSubmitJob|GrpSubmitJobs|temporarily unable to accept job|"
    r"^(?!.*(QOS|Assoc)(Max|Min|Grp)).*job submit limit"  # the sentence alone, with no limit named
)
_RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED"}
_NOT_ENDED = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "CONFIGURING", "RESIZING", *_RUNNING}

TaskId = tuple[str, int | None]
"""Job id and array index; None for a job that is no array."""
_REST = -1
"""In place of an index: all elements of the array that are not told of one by one."""


class SlurmScheduler:
    """A Slurm cluster, seen from a node where its client commands work."""

    def check(self) -> None:
        """Make sure that this machine has Slurm's commands."""
        if any(shutil.which(command) is None for command in ("sbatch", "squeue", "srun")):
            raise _no_slurm()

    def submit(self, submission: Submission, profile: "Profile") -> Submitted:
        """Submit the tasks as one array job (or one plain job) through submitit."""
        import submitit

        from pipeline.worker import run_task

        assert profile.backend == "slurm"
        try:
            executor = submitit.SlurmExecutor(folder=submission.folder)
            executor.update_parameters(**sbatch_parameters(submission, profile))
            workspaces = [str(submission.workspace)] * len(submission.task_files)
            files = [str(path) for path in submission.task_files]
            jobs = executor.map_array(run_task, workspaces, files)
        except submitit.core.utils.FailedJobError as error:
            raise refusal(str(error), profile) from error
        return Submitted(str(jobs[0].job_id).partition("_")[0])

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
        live = _run("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%F|%j")
        past = _try("sacct", "--noheader", "--parsable2", "--allocations",
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
            _run("scancel", *ids)


def sbatch_parameters(submission: Submission, profile: "SlurmProfile") -> dict[str, Any]:
    """What submitit is told, so that a job has what its profile says."""
    wanted = {
        "job_name": submission.name,
        "comment": submission.comment,
        "time": profile.walltime_min,
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "gres": profile.gres,
        "constraint": profile.constraint,
        "cpus_per_task": profile.cpus_per_task,
        "mem": f"{profile.mem_gb}GB",
        "array_parallelism": profile.array_parallelism,
        "signal_delay_s": profile.signal_lead_s,
        "setup": profile.setup or None,
        "additional_parameters": profile.sbatch or None,
        "stderr_to_stdout": True,
    }
    # submitit sets a wckey of its own, which clusters that track wckeys refuse.
    return {key: value for key, value in wanted.items() if value is not None} | {"wckey": None}


def refusal(text: str, profile: "SlurmProfile") -> Exception:
    """What a failed sbatch means, from its words."""
    words = " ".join(text.split())
    if _UNREACHABLE.search(words):
        return SchedulerUnreachableError(
            f"sbatch: {words}; the job may exist all the same: "
            "the next `pipeline advance` looks for it before it submits anything"
        )
    if _LIMITS.search(words):
        return HeldError(words)
    if "Invalid job array specification" in words:
        return PipelineError(
            f"sbatch refuses the array: {words}; set max_submitted in slurm/profiles.toml "
            "to at most MaxArraySize (`scontrol show config`)"
        )
    return PipelineError(
        f"sbatch refuses the job: {words}; mend the profile "
        f"(partition={profile.partition}, account={profile.account}, qos={profile.qos}, "
        f"gres={profile.gres}, walltime_min={profile.walltime_min}) in slurm/profiles.toml"
    )


def _no_slurm() -> SchedulerUnreachableError:
    return SchedulerUnreachableError(
        "no Slurm here: its commands are not on PATH; "
        "run this on a login node, or use --profile local; nothing was submitted"
    )


def _squeue() -> dict[TaskId, TaskStatus]:
    """Every live task of this user, arrays expanded."""
    text = _run(
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
    text = _try(
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


def _run(*command: str) -> str:
    """Output of a Slurm command.

    Raises:
        SchedulerUnreachableError: it is missing, failed or gave no answer in time.
    """
    try:
        return call(*command)
    except FileNotFoundError:
        raise _no_slurm() from None
    except ClientError as error:
        raise SchedulerUnreachableError(f"{error}; nothing was changed, try again later") from None


def _try(*command: str) -> str | None:
    """Output of a command that a cluster may do without (sacct); None when it fails."""
    try:
        return _run(*command)
    except SchedulerUnreachableError:
        return None
