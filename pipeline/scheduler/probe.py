"""One short job that asks a compute node something: submitted, watched and cancelled."""

import getpass
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import SchedulerUnreachableError
from pipeline.scheduler.base import Submission
from pipeline.scheduler.commands import ClientError, call

if TYPE_CHECKING:
    from pipeline.profiles import SlurmProfile

_MAX_WALLTIME_MIN = 5
"""It ends within a minute, unless a first import of torch takes longer than that."""


@dataclass(frozen=True)
class InQueue:
    """A job that squeue shows."""

    state: str
    reason: str


def submit_probe(
    function: Callable[..., object],
    arguments: tuple[Any, ...],
    folder: Path,
    name: str,
    profile: "SlurmProfile",
    profile_name: str,
) -> str:
    """Submit a call of `function` with the resources of the profile; return the job id.

    Raises:
        HeldError: a limit is reached; nothing was submitted.
        SchedulerUnreachableError: no answer.
        PipelineError: Slurm refuses the request as it is.
    """
    from pipeline.scheduler.sbatch import submit_calls

    short = profile.model_copy(
        update={
            "walltime_min": min(profile.walltime_min, _MAX_WALLTIME_MIN),
            "signal_lead_s": 0,  # it has nothing to checkpoint
        }
    )
    submission = Submission(
        token=name,
        name=name,
        comment="study-pipeline doctor",
        folder=folder,
        task_files=(),
        workspace=folder,
        profile_name=profile_name,
        python_path=(),
    )
    return submit_calls(function, [arguments], submission, short).job_id


def look_at_probe(job_id: str) -> InQueue | None:
    """Where the job stands; None once squeue does not show it any more.

    Raises:
        SchedulerUnreachableError: no answer; nothing may be concluded.
    """
    text = _ask("squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%F|%T|%r")
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) == 3 and fields[0] == job_id:
            return InQueue(fields[1], fields[2])
    return None


def cancel_probe(job_id: str) -> None:
    """End the job.

    Raises:
        SchedulerUnreachableError: no answer; it may still run.
    """
    _ask("scancel", job_id)


def _ask(*command: str) -> str:
    try:
        return call(*command)
    except (ClientError, FileNotFoundError) as error:
        raise SchedulerUnreachableError(str(error)) from error
