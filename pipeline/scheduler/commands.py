"""Calls of Slurm's client commands, each bounded by a time-out."""

import os
import subprocess

from pipeline.errors import SchedulerUnreachableError

TIMEOUT_S = 60
_ENVIRONMENT = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}  # what users set changes output


class ClientError(Exception):
    """A client failed or gave no answer in time: "squeue: its words"."""


def call(*command: str, timeout_s: float = TIMEOUT_S) -> str:
    """Return what a client prints.

    Raises:
        FileNotFoundError: it is not on PATH.
        ClientError: it failed, or gave no answer in `timeout_s` seconds.
    """
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env={**os.environ, **_ENVIRONMENT},
        )
    except subprocess.TimeoutExpired:
        raise ClientError(f"{command[0]} gave no answer in {timeout_s:g} s") from None
    except FileNotFoundError:
        raise
    except OSError as error:  # not permitted, of another architecture, ...
        raise ClientError(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).replace("*", " ").split())
        raise ClientError(f"{command[0]}: {words or f'exit code {done.returncode}'}")
    return done.stdout


def run(*command: str) -> str:
    """Output of a Slurm command that a step cannot do without.

    Raises:
        SchedulerUnreachableError: it is missing, failed or gave no answer in time.
    """
    try:
        return call(*command)
    except FileNotFoundError:
        raise no_slurm() from None
    except ClientError as error:
        raise SchedulerUnreachableError(f"{error}; nothing was changed, try again later") from None


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
