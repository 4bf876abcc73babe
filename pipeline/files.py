"""Durable writes (a reader sees the old content or the new), and reads that cannot hang."""

import errno
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import PipelineError

MOST_BYTES = 1 << 30
"""No file that we read whole is larger; the state of 100,000 runs holds 60 MB."""


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; a pipe would be waited for without end, a device might never end.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The whole content of a regular file.

    Raises:
        OSError: it cannot be read, is no regular file, or holds more than `most` bytes.
    """
    try:
        return _content(path, most)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        look_again(path.parent)  # another host has replaced the file since we looked its name up
        return _content(path, most)


def _content(path: Path, most: int) -> bytes:
    with open_regular(path) as file:  # to ask for `most` bytes would take so much memory first
        content = file.read() if os.fstat(file.fileno()).st_size <= most else None
    if content is None or len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
    return content


def look_again(folder: Path) -> None:
    """Have the file server asked what the names in a folder stand for now.

    A client of a network file system may take a name for the file that it stood for a second ago
    (FUSE, as for GlusterFS; NFS until it learns that the folder was changed), whatever another
    host has put in its place since. A listing brings all names with what they stand for.
    """
    with suppress(OSError):
        os.listdir(folder)  # noqa: PTH208, for its effect alone


def write_atomic(
    path: Path,
    content: bytes,
    *,
    durable: bool = True,
    spare: Path | None = None,
    confirm: Callable[[], None] = lambda: None,
) -> None:
    """Replace `path` by `content` so that a crash at any instruction leaves one of the two.

    Args:
        path: what to write.
        content: what it will hold.
        durable: whether a power cut right afterwards may not take it back either; costs some
            milliseconds, too much for thousands of files that can be written again.
        spare: where the content is put first; a name of its own beside `path` by default.
        confirm: called when only the replacement is left to do; what it raises stops it.

    Raises:
        PipelineError: the disk is full, read-only or out of quota; the old file is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        spare = spare or path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        _replace(path, content, durable, spare, confirm)
    except OSError as error:
        raise write_error(path, error) from error


def append_line(path: Path, line: str) -> None:
    """Append one line and see it to the disk: the whole of it, or nothing.

    What a crash left of an earlier line is ended first, so that this one stands by itself.

    Raises:
        PipelineError: the line could not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            _append(file, f"{line}\n".encode())
    except OSError as error:
        raise write_error(path, error) from error


def _append(file: FileIO, content: bytes) -> None:
    end = file.seek(0, os.SEEK_END)
    if end:
        file.seek(end - 1)
        content = content if file.read(1) == b"\n" else b"\n" + content
    try:
        while content:
            content = content[file.write(content) :]
        os.fsync(file.fileno())
    except OSError:
        with suppress(OSError):
            file.truncate(end)
        raise


def write_error(path: Path, error: OSError) -> PipelineError:
    """The error a user sees when `path` cannot be written."""
    return PipelineError(
        f"{path}: cannot be written ({error.strerror or error}); nothing was lost: "
        "make room or mend the permissions, then run the command again"
    )


def _replace(
    path: Path, content: bytes, durable: bool, spare: Path, confirm: Callable[[], None]
) -> None:
    try:
        with spare.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        confirm()
        spare.replace(path)
    except BaseException:
        with suppress(OSError):
            spare.unlink()
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
