"""One `advance` at a time: the lock of a workspace, which names its holder."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.files import read_bytes, write_error

_POLL_S = 0.1
_HOLDER_BYTES = 10_000


class LockedError(PipelineError):
    """Another command held the lock for too long."""


@contextmanager
def exclusive(
    path: Path, timeout_s: float = 60.0, on_wait: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Hold the lock file at `path`; the kernel lets go of it when the process dies.

    Args:
        path: the lock file.
        timeout_s: how long to wait for another holder.
        on_wait: told once, in words, who is waited for.

    Raises:
        LockedError: the holder did not let go in time.
        PipelineError: the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)  # nothing is left to be written when it is closed
    except OSError as error:
        raise write_error(path, error) from error
    with file:
        _acquire(file, path, timeout_s, on_wait)
        _name_holder(file)
        yield


def holder_of(path: Path) -> str | None:
    """Who holds the lock at this moment, in words; None when it is free or was never made."""
    try:
        with path.open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(path)
    except OSError:
        return None
    return None


def _acquire(file: FileIO, path: Path, timeout_s: float, on_wait: Callable[[str], None]) -> None:
    deadline, told = time.monotonic() + timeout_s, False
    while not _try_lock(file):
        if not told:
            on_wait(f"waiting for another advance to finish ({_holder(path)})")
            told = True
        if time.monotonic() > deadline:
            raise LockedError(
                f"{path}: another advance holds the lock ({_holder(path)}) "
                f"and did not finish in {timeout_s:.0f} s; nothing was changed, try again later"
            )
        time.sleep(_POLL_S)


def _try_lock(file: FileIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a file system without locks
        raise PipelineError(
            f"{file.name}: cannot be locked ({error.strerror}); put the workspace on a file system "
            "with locks"
        ) from error
    return True


def _name_holder(file: FileIO) -> None:
    """Best effort: without room on the disk the lock holds all the same."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(OSError):
        file.truncate(0)
        facts = {"host": socket.gethostname(), "pid": os.getpid(), "since": since}
        file.write(json.dumps(facts).encode())


def _holder(path: Path) -> str:
    try:
        holder = json.loads(read_bytes(path, _HOLDER_BYTES))
        return f"pid {holder['pid']} on {holder['host']} since {holder['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "holder not known yet"
