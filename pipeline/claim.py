"""Who may promote a result in a run's folder: the last start of a task of the current submission.

A node that Slurm has given up may go on running what it was given, while the same task (queued
again by Slurm) or another attempt at its runs (submitted by us) runs elsewhere. Submitting a run
grants its folder to a submission, starting a task claims it; whoever finds another's claim has been
superseded and ends. Until it finds out it writes in the folder of its own attempt alone (see
`pipeline.attempts`); the moment between looking and promoting stays open, longer on NFS, and who
comes second in it is set aside, or turned away by its token.
"""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.attempts import (
    ATTEMPTS,
    RESULT,
    begin,
    drop_earlier_checkpoints,
    is_attempt_name,
    show,
)
from pipeline.files import look_again, read_bytes, write_atomic
from pipeline.promotion import make_way, promote

_NAME = "attempt.json"


class SupersededError(Exception):
    """Another attempt has taken this one's place; what it writes is not wanted."""


@dataclass(frozen=True)
class Claim:
    """One start of a task at one run."""

    run_dir: Path
    folder: Path
    """Of this attempt, to write in."""
    content: bytes

    def check(self) -> None:
        """Make sure that the run is still ours.

        Raises:
            SupersededError: it is not.
        """
        found = _read(self.run_dir)
        if found is not None and found != self.content:
            raise SupersededError(f"{self.run_dir.name} belongs to another attempt now")

    def promote(self) -> bool:
        """Make our result the run's; False when the run has one already.

        Raises:
            SupersededError: the run is not ours any more.
            PipelineError: the file system refuses; the next `advance` tries again.
        """
        look_again(self.run_dir)
        self.check()
        ours = promote(self.run_dir, self.folder)
        if ours:
            drop_earlier_checkpoints(self.folder)
            show(self.folder)
        return ours

    def show(self) -> None:
        """Lead readers from the run's folder to this attempt's files, while the run is ours."""
        with suppress(SupersededError):
            self.check()
            show(self.folder)


def grant(run_dir: Path, token: str) -> None:
    """Give a run to a submission; from now on no earlier one may promote a result of it.

    A result that lies there was not accepted, or the run would not be submitted: it makes way.
    """
    write_atomic(run_dir / _NAME, _content(token, None), durable=False)
    if (run_dir / RESULT).exists():
        make_way(run_dir)


def recover(run_dir: Path, token: str) -> None:
    """Promote what an earlier start of a task of this submission ended with but could not promote.

    Raises:
        SupersededError: the run was granted to another submission.
    """
    found = _read(run_dir)
    granted = _parsed(found).get("token")
    if granted is not None and granted != token:
        raise SupersededError(f"{run_dir.name} was submitted again as {granted}")
    before = current_folder(run_dir)
    if before is not None and before != run_dir and (before / RESULT).exists():
        promote(run_dir, before)


def claim(run_dir: Path, token: str) -> Claim:
    """Take a run for a task that starts, in a new folder with what it may go on from."""
    folder = begin(run_dir, token)
    mine = Claim(run_dir, folder, _content(token, folder.name))
    write_atomic(run_dir / _NAME, mine.content, durable=False)
    return mine


def current_folder(run_dir: Path) -> Path | None:
    """Where the run's current attempt writes; None before it has started.

    In workspaces of earlier versions attempts wrote in the run's folder itself.
    """
    found = _read(run_dir)
    if found is None:
        return run_dir
    content = _parsed(found)
    if "start" in content:
        return run_dir
    name = str(content.get("attempt"))
    return run_dir / ATTEMPTS / name if is_attempt_name(name) else None


def _content(token: str, attempt: str | None) -> bytes:
    return json.dumps({"token": token, "attempt": attempt}).encode()


def _read(run_dir: Path) -> bytes | None:
    """None when nobody has a claim, as in workspaces of earlier versions."""
    try:
        return read_bytes(run_dir / _NAME)
    except OSError:
        return None


def _parsed(content: bytes | None) -> dict[str, Any]:
    """Empty when a power cut left nothing that can be read."""
    try:
        found = json.loads(content or b"")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
