"""From a follow-up to a Slurm job: a small script that waits for other jobs, or for a time."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.files import write_atomic
from pipeline.private import own_folder, owner_writes
from pipeline.scheduler.base import FollowUp, HeldError, Submitted
from pipeline.scheduler.commands import run
from pipeline.scheduler.refusals import Kind, recognise
from pipeline.scheduler.sbatch import MAY_EXIST, RefusedError, job_id_in, sbatch

if TYPE_CHECKING:
    from pipeline.profiles import SlurmProfile


def submit_follow_up(request: FollowUp, profile: "SlurmProfile") -> Submitted:
    """Submit the follow-up with the small request that the profile has for it.

    Raises:
        HeldError: a limit is reached; nothing was submitted.
        SchedulerUnreachableError: no answer; the job may exist, look for its token.
        PipelineError: Slurm refuses the request as it is; nothing was submitted.
    """
    script = request.folder / "follow-up.sh"
    setup = profile.setup if profile.auto.setup is None else profile.auto.setup
    lines = ["#!/bin/bash", *setup, f"exec {shlex.join(request.command)}"]
    own_folder(request.folder, request.workspace)
    with owner_writes():
        write_atomic(script, ("\n".join(lines) + "\n").encode())
    options = _options(request, profile)
    try:
        printed = sbatch([*options, str(script)])
    except RefusedError as error:
        raise _meaning(str(error), options, request) from None
    return Submitted(job_id_in(printed))


def aim(job_id: str, after: Sequence[str]) -> None:
    """Have a pending follow-up wait for jobs instead of a time.

    Raises:
        SchedulerUnreachableError: no answer, or it cannot be changed any more.
    """
    run("scontrol", "update", f"JobId={job_id}", f"Dependency={_after(after)}", "StartTime=now")


def _options(request: FollowUp, profile: "SlurmProfile") -> list[str]:
    """Every request is explicit: a default of the environment is meant for training jobs."""
    own = profile.auto
    wanted = {
        "job-name": request.name,
        "comment": request.comment,
        "chdir": request.workspace,
        "output": request.folder / "follow-up.log",
        "open-mode": "append",
        "partition": own.partition or profile.partition,
        "account": own.account or profile.account,
        "qos": own.qos or profile.qos,
        "time": own.walltime_min,
        "mem": f"{own.mem_gb}G",
        "nodes": 1,
        "ntasks": 1,
        "cpus-per-task": own.cpus,
        "export": "ALL",
        "dependency": _after(request.after) if request.after else None,
        "begin": f"now+{request.begin_min}minutes" if request.begin_min else None,
    }
    given = [f"--{name}={value}" for name, value in wanted.items() if value is not None]
    return ["--parsable", "--requeue", *given]


def _after(job_ids: Sequence[str]) -> str:
    return "afterany:" + ":".join(job_ids)


def _meaning(text: str, options: Sequence[str], request: FollowUp) -> Exception:
    """What a failed sbatch is to the caller."""
    words, refusal = " ".join(text.split()), recognise(text)
    if refusal.kind is Kind.UNREACHABLE:
        return SchedulerUnreachableError(f"sbatch: {words}; {MAY_EXIST}")
    if refusal.kind in (Kind.LIMIT, Kind.BUSY):
        return HeldError(words, fewer_may_fit=False)
    return PipelineError(
        f"sbatch refuses the follow-up job of --auto: {words}; change "
        f"[profiles.{request.profile_name}.auto] in slurm/profiles.toml (partition, account, qos, "
        f"walltime_min, mem_gb, cpus), or go on without: `pipeline advance --watch`; "
        f"it was: {shlex.join(['sbatch', *options])}"
    )
