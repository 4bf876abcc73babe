"""Who may write into a run's folder: the last start of a task of the submission that is current.

A node that Slurm has given up may go on running what it was given, while the same task (queued
again by Slurm) or another attempt at its runs (submitted by us) runs elsewhere. Submitting a run
grants its folder to a submission, starting a task claims it; whoever finds another's claim has been
superseded and writes nothing more. The moment between looking and writing stays open: what slips
through is turned away by its token, or shows by its digest once a result is accepted.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from pipeline.files import write_atomic

_NAME = "attempt.json"


class SupersededError(Exception):
    """Another attempt has taken this one's place; what it writes is not wanted."""


@dataclass(frozen=True)
class Claim:
    """One start of a task, as the writer of one run's folder."""

    folder: Path
    content: bytes

    def check(self) -> None:
        """Make sure that the folder is still ours to write.

        Raises:
            SupersededError: it is not.
        """
        found = _read(self.folder)
        if found is not None and found != self.content:
            raise SupersededError(f"{self.folder.name} belongs to another attempt now")


def grant(folder: Path, token: str) -> None:
    """Give a run's folder to a submission; from now on no earlier one may write there."""
    write_atomic(folder / _NAME, _content(token, None), durable=False)


def claim(folder: Path, token: str) -> Claim:
    """Take a run's folder for a task that starts.

    Raises:
        SupersededError: it was granted to another submission.
    """
    found = _read(folder)
    if found is not None and _token(found) != token:
        raise SupersededError(f"{folder.name} was submitted again as {_token(found)}")
    mine = Claim(folder, _content(token, secrets.token_hex(8)))
    write_atomic(folder / _NAME, mine.content, durable=False)
    return mine


def _content(token: str, start: str | None) -> bytes:
    return json.dumps({"token": token, "start": start}).encode()


def _read(folder: Path) -> bytes | None:
    """None when nobody has a claim, as in workspaces of earlier versions."""
    try:
        return (folder / _NAME).read_bytes()
    except FileNotFoundError:
        return None


def _token(content: bytes) -> str | None:
    """None when a power cut left nothing that can be read."""
    try:
        return str(json.loads(content)["token"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
