"""Durable file writes: a reader sees the old content or the new, never a part of either."""

import os
import secrets
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import PipelineError


def write_atomic(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace `path` by `content` so that a crash at any instruction leaves one of the two.

    Args:
        path: what to write.
        content: what it will hold.
        durable: whether a power cut right afterwards may not take it back either; costs some
            milliseconds, too much for thousands of files that can be written again.

    Raises:
        PipelineError: the disk is full, read-only or out of quota; the old file is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, content, durable)
    except OSError as error:
        raise write_error(path, error) from error


def append_line(path: Path, line: str) -> None:
    """Append one line and see it to the disk; a line that a crash cut short stays a line alone.

    Raises:
        PipelineError: the line could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.write(b"" if _ends_a_line(file) else b"\n")
            file.write(line.encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise write_error(path, error) from error


def _ends_a_line(file: BinaryIO) -> bool:
    if file.seek(0, os.SEEK_END) == 0:
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def write_error(path: Path, error: OSError) -> PipelineError:
    """The error a user sees when `path` cannot be written."""
    return PipelineError(
        f"{path}: cannot be written ({error.strerror}); nothing was lost: "
        "make room or mend the permissions, then run the command again"
    )


def _replace(path: Path, content: bytes, durable: bool) -> None:
    spare = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with spare.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        spare.replace(path)
    except BaseException:
        spare.unlink(missing_ok=True)
        raise
    if durable:
        sync_dir(path.parent)


def sync_dir(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
