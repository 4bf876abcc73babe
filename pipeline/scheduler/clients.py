"""Calls one of Slurm's client programs, with a time limit."""

import os
import subprocess

_TIMEOUT_S = 60
_ENVIRONMENT = {"LC_ALL": "C", "SLURM_TIME_FORMAT": "standard"}  # what users set changes output


class ClientError(Exception):
    """A client failed or gave no answer in time: "squeue: its words"."""


def call(*command: str, timeout_s: float = _TIMEOUT_S) -> str:
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
    except PermissionError as error:
        raise ClientError(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).replace("*", " ").split())
        raise ClientError(f"{command[0]}: {words or f'exit code {done.returncode}'}")
    return done.stdout
