"""Names a process so that it is known again, and tells whether it is gone."""

import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PIDS = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class Process:
    """A process among all that ever ran on the machines of a cluster."""

    host: str
    boot: str
    """This start of this machine, and who sees its processes: pids mean something there alone."""
    pid: int
    started: str
    """Clock ticks after boot at which it started: pids are used again."""


def this_process() -> Process:
    """The process that asks."""
    pid = os.getpid()
    return Process(socket.gethostname(), _boot(), pid, _started(pid) or "")


def is_gone(process: Process, here: Process) -> bool | None:
    """Whether a process has ended; None where `here` cannot see it, as on another machine."""
    if (process.host, process.boot) != (here.host, here.boot):
        return None
    started = _started(process.pid)
    if started is not None:
        return started != process.started
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    return None  # another user's whose processes are hidden, or a machine without /proc


@cache
def _boot() -> str:
    """Boot id and number of the pid namespace; a container on this machine has another one."""
    try:
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()} {_PIDS.stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Start time of a process, "" when it has ended unreaped; None when that cannot be read."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *rest = text.rpartition(")")[2].split()  # the name before may hold anything
    return "" if state in ("Z", "X") else rest[18]
