"""Makes one system call that writes below a folder fail, as on a full, read-only or broken disk."""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_ONE_PATH = ("mkdir", "unlink", "rmdir", "chmod", "truncate")
_TWO_PATHS = ("rename", "replace", "link", "symlink")  # the second is what comes to be


@dataclass
class Disk:
    """The calls that write, in their order, and which of them is to fail."""

    root: Path
    fails_at: int | None = None
    error: int = errno.ENOSPC
    lasts: bool = False
    """Whether all later calls fail as well, those apart that give room back."""
    matching: str | None = None
    """What a call that fails has in it, such as "write .*result"; else its number decides."""
    calls: list[str] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    """Numbers of the calls that failed."""

    def call(self, what: str, path: object, *, named: bool = True) -> None:
        """Count a call; it fails when it is its turn."""
        place = os.fspath(path) if isinstance(path, str | os.PathLike) else None
        if not isinstance(place, str) or not place.startswith(f"{self.root}/"):
            return
        number = len(self.calls)
        self.calls.append(f"{what} {place[len(str(self.root)) + 1 :]}")
        matches = self.matching is not None and re.search(self.matching, self.calls[-1])
        if matches or number == self.fails_at or (self.lasts and self._still(number, what)):
            self.failed.append(number)
            name = [place] if named else []
            raise OSError(self.error, os.strerror(self.error), *name)

    def _still(self, number: int, what: str) -> bool:
        if self.fails_at is None or number < self.fails_at:
            return False
        return self.error == errno.EROFS or what not in ("unlink", "rmdir")


@contextmanager
def faulty(
    root: Path,
    fails_at: int | None = None,
    error: int = errno.ENOSPC,
    *,
    lasts: bool = False,
    matching: str | None = None,
) -> Iterator[Disk]:
    """Count what is written below `root`, and let the call of that number (from 0) fail."""
    disk = Disk(root, fails_at, error, lasts, matching)
    with ExitStack() as patches:
        for name in _ONE_PATH:
            patches.enter_context(patch.object(os, name, _told(disk, name, 0)))
        for name in _TWO_PATHS:
            patches.enter_context(patch.object(os, name, _told(disk, name, 1)))
        patches.enter_context(patch.object(shutil, "copyfile", _told(disk, "copyfile", 1, shutil)))
        patches.enter_context(patch.object(os, "open", _os_open(disk)))
        patches.enter_context(patch.object(os, "fsync", _fsync(disk)))
        opened = _open(disk)
        patches.enter_context(patch.object(io, "open", opened))
        patches.enter_context(patch.object(builtins, "open", opened))
        yield disk


def _told(disk: Disk, name: str, position: int, module: Any = os) -> Callable[..., Any]:
    real = getattr(module, name)

    def call(*args: Any, **named: Any) -> Any:
        # A folder that is there is not made, whatever the disk is like.
        if named.get("dir_fd") is None and not (name == "mkdir" and Path(args[0]).is_dir()):
            disk.call(name, args[position])
        return real(*args, **named)

    return call


def _os_open(disk: Disk) -> Callable[..., int]:
    real = os.open

    def call(path: Any, flags: int, *args: Any, **named: Any) -> int:
        if flags & _WRITES:
            disk.call("open", path)
        return real(path, flags, *args, **named)

    return call


def _fsync(disk: Disk) -> Callable[[int], None]:
    real = os.fsync

    def call(handle: int) -> None:
        disk.call("fsync", str(Path(f"/proc/self/fd/{handle}").readlink()), named=False)
        real(handle)

    return call


def _open(disk: Disk) -> Callable[..., Any]:
    real = io.open

    class Raw(io.FileIO):
        def write(self, content: Any, /) -> int:
            try:
                disk.call("write", self.name, named=False)
            except OSError:
                super().write(memoryview(content)[: len(content) // 2])  # as far as there was room
                raise
            return super().write(content)

    def call(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        *rest: Any,
    ) -> Any:
        is_path = isinstance(file, str | os.PathLike)
        if not is_path or not set(mode) & set("wax+"):
            return real(file, mode, buffering, encoding, errors, newline, *rest)
        disk.call("open", file)
        raw = Raw(os.fspath(file), mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    return call
