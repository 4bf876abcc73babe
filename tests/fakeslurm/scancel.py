"""The fake scancel: cancels, or sends a signal to a job's steps, its shell, or both."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from .lifecycle import cancel
from .model import ClientError, Job, Reply, signal_number
from .options import Options
from .store import Cluster
from .text import select, user_name

OPTIONS = Options(
    "scancel",
    "account=A batch.b cron. full.f hurry.H interactive.i jobname=n name= me. nodelist=w"
    " partition=p qos=q quiet.Q reservation=R signal=s state=t user=u verbose.v version.V",
)
NOTHING_NAMED = "scancel: error: No job identification provided\n"
FINISHED_ALREADY = "Job/step already completing or completed"


def main(cluster: Cluster, argv: list[str]) -> Reply:
    """Cancels or signals jobs."""
    given, ids = _parse(argv)
    if "version" in given:
        return Reply("slurm-wlm 22.05.8\n")
    filters = {"name", "partition", "qos", "account", "user", "state", "me"} & given.keys()
    if not ids and not filters:
        raise ClientError(NOTHING_NAMED)
    if given.get("state", "PENDING").upper() not in ("PENDING", "RUNNING", "SUSPENDED"):
        raise ClientError(
            f"Invalid job state specified: {given['state']}\n"
            "Valid job states are PENDING, RUNNING, and SUSPENDED\n"
        )
    try:
        number = signal_number(given["signal"]) if "signal" in given else 0
    except KeyError:
        raise ClientError(f"Unknown job signal: {given['signal']}\n") from None
    errors = ""
    with cluster.transaction():
        jobs = cluster.jobs()
        chosen = [job for job in jobs if job.live] if not ids else []
        for name in ids:
            found = _named(jobs, name)
            chosen += found
            # A plain cancel of an unknown id is silent; a signal is not.
            if number and not found:
                problem = f"Kill job error on job id {name}: Invalid job id specified"
                errors += f"scancel: error: {problem}\n"
            elif "verbose" in given and not any(job.live for job in found):
                errors += f"scancel: Terminating job {name}\n"
                errors += f"scancel: error: Kill job error on job id {name}: {FINISHED_ALREADY}\n"
        chosen = [job for job in chosen if _matches(job, given)]
        if number in (0, int(signal.SIGKILL)):
            cancel(cluster, jobs, chosen, os.getuid(), time.time())
        else:
            for job in chosen:
                send(cluster, job, number, batch="batch" in given, full="full" in given)
    cluster.wake_scheduler()
    return Reply(err=errors, code=1 if "scancel: error: Kill" in errors and number else 0)


def _parse(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """Reads options before and after the ids (submitit writes ``scancel 12 --signal USR2``)."""
    given: dict[str, str] = {}
    ids: list[str] = []
    rest = argv
    while rest:
        more, rest = OPTIONS.parse(rest)
        given.update(more)
        if rest:
            ids += [rest[0]] if "[" in rest[0] else rest[0].split(",")
            rest = rest[1:]
    if "jobname" in given:
        given["name"] = given.pop("jobname")
    return given, ids


def _named(jobs: list[Job], name: str) -> list[Job]:
    try:
        return select(jobs, name)
    except ValueError:
        raise ClientError(f"scancel: error: Invalid job id {name}\n") from None


def _matches(job: Job, given: dict[str, str]) -> bool:
    user = user_name() if "me" in given else given.get("user")
    wishes = [
        (given.get("name"), job.spec.name),
        (given.get("partition"), job.spec.partition),
        (given.get("qos"), job.spec.qos),
        (given.get("account"), job.spec.account),
        (given.get("state", "").upper() or None, job.state),
        (user, job.spec.user),
    ]
    return all(wish is None or wish == value for wish, value in wishes)


def send(
    cluster: Cluster, job: Job, number: int, *, batch: bool = False, full: bool = False
) -> None:
    """Sends a signal where Slurm does: to the steps, unless `batch` or `full` says otherwise."""
    if job.state != "RUNNING":
        return
    groups = [] if batch else [step.pid for step in cluster.steps(job) if not step.end_time]
    for group in filter(None, groups):
        with suppress(ProcessLookupError):
            os.killpg(group, number)
    if job.pid and (batch or full):
        with suppress(ProcessLookupError):
            (os.killpg if full else os.kill)(job.pid, number)
