"""Calls of Slurm's client commands: each bounded by a time-out, each in plain C locale."""

import os
import subprocess

from pipeline.errors import SchedulerUnreachableError

TIMEOUT_S = 60


def run(*command: str) -> str:
    """Output of a Slurm command.

    Raises:
        SchedulerUnreachableError: it is missing, failed or gave no answer in time.
    """
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise no_slurm() from None
    except subprocess.TimeoutExpired:
        raise SchedulerUnreachableError(
            f"{command[0]} gave no answer in {TIMEOUT_S} s; nothing was changed, try again later"
        ) from None
    if done.returncode != 0:
        words = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise SchedulerUnreachableError(f"{command[0]}: {words}; nothing was changed")
    return done.stdout


def attempt(*command: str) -> str | None:
    """Output of a command that a cluster may do without (sacct); None when it fails."""
    try:
        return run(*command)
    except SchedulerUnreachableError:
        return None


def no_slurm() -> SchedulerUnreachableError:
    """The error where Slurm's commands are not installed."""
    return SchedulerUnreachableError(
        "no Slurm here: its commands are not on PATH; "
        "run this on a login node, or use --profile local; nothing was submitted"
    )
