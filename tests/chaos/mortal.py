"""A process that counts its calls which last beyond it, and dies (kill -9) at one of them.

What leaves a trace: opening to write, write, fsync, rename, link, unlink, mkdir, rmdir, truncate,
chmod, and starting a program (Slurm's clients). Calls are seen by Python's audit events, so that no
module escapes by having imported a name before; fsync and writes have none and are wrapped. The
moment after a call is the moment before the next one, but for a program: it is also a moment when
it was started and has not answered.
"""

import builtins
import io
import os
import signal
import subprocess
import sys
import threading
from typing import Any

_EVENTS = {
    *("os.rename", "os.link", "os.symlink", "os.remove", "os.mkdir", "os.rmdir"),
    *("os.truncate", "os.chmod", "os.chown", "os.utime", "os.system", "os.exec"),
    *("os.posix_spawn", "subprocess.Popen"),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NOWHERE = {os.devnull, os.fsencode(os.devnull)}


class Mortal:
    """Counts moments, tells each on a pipe, and dies at one."""

    def __init__(self, dies_at: int | None, report: int) -> None:
        self._dies_at = dies_at
        self._report = report
        self._count = 0

    def begin(self) -> None:
        """From now on every lasting call of this process is a moment."""
        sys.addaudithook(self._audited)
        fsync, start, plain_open = os.fsync, subprocess.Popen.__init__, io.open

        def counted_fsync(descriptor: Any) -> None:
            self._moment("fsync")
            fsync(descriptor)

        def counted_start(popen: Any, *args: Any, **options: Any) -> None:
            start(popen, *args, **options)
            self._moment(f"{_command(popen.args)} was started")

        def counted_open(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            opened = plain_open(file, mode, *args, **options)
            writes = set(mode) & set("wax+") and file not in _NOWHERE
            return _Written(opened, self) if writes else opened

        vars(os)["fsync"] = counted_fsync
        vars(io)["open"] = vars(builtins)["open"] = counted_open
        subprocess.Popen.__init__ = counted_start  # type: ignore[method-assign,assignment]

    def half_written(self, file: Any, data: Any) -> int:
        """Write, and pass through the moment when half of it is on its way to the disk."""
        half = len(data) // 2
        file.write(data[:half])
        file.flush()
        self._moment(f"write {_short(file.name)}")
        file.write(data[half:])
        return len(data)

    def _audited(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            writes = bool(set(mode) & set("wax+")) if mode else flags & _WRITING
            if writes and path not in _NOWHERE and not isinstance(path, int):
                self._moment(f"open {_short(path)}")
        elif event in _EVENTS:
            what = _command(args[1]) if event == "subprocess.Popen" else _short(args[0])
            self._moment(f"{event.partition('.')[2]} {what}")

    def _moment(self, what: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # the lease is renewed: how often, depends on the time a command takes
        dies = self._count == self._dies_at
        os.write(self._report, f"{what}\n".encode())
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1


class _Written:
    """A file open for writing; each write has a moment in its middle."""

    def __init__(self, file: Any, mortal: Mortal) -> None:
        self._file = file
        self._mortal = mortal

    def write(self, data: Any) -> int:
        return self._mortal.half_written(self._file, data)

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.__exit__(*error)

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _short(path: object) -> str:
    if not isinstance(path, str | bytes | os.PathLike):
        return ""
    return os.path.basename(os.fsdecode(path))  # noqa: PTH119  the cheaper one


def _command(words: Any) -> str:
    return _short(words[0]) if not isinstance(words, str) else words
