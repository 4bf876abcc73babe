"""Processes of ours: started, known again by pid and start time, signalled and ended."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slurm.testcluster.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_POLL_S = 0.02


@dataclass(frozen=True)
class Process:
    """One process, past and present: a pid alone may by now be another's."""

    pid: int
    started: int
    """Clock ticks since boot."""

    @property
    def alive(self) -> bool:
        """True while it runs; a zombie does not."""
        with suppress(ChildProcessError):  # reap it when it is a child of ours
            os.waitpid(self.pid, os.WNOHANG)
        return _started(self.pid) == self.started

    def send(self, number: int) -> None:
        """Signal it, unless it has ended."""
        if self.alive:
            os.kill(self.pid, number)


def spawn(
    command: tuple[str, ...], environment: Mapping[str, str], log: Path, record: Path
) -> Process:
    """Start a daemon in a session of its own, its output appended to `log`, and write it down."""
    appending = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    pid = os.posix_spawn(
        command[0],
        command,
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), appending, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
    )
    process = Process(pid, _started(pid) or 0)
    record.write_text(json.dumps(asdict(process)), encoding="utf-8")
    return process


def recorded(record: Path) -> Process | None:
    """The process that was last started under a record."""
    try:
        return Process(**json.loads(record.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def end(processes: Iterable[Process], patience_s: float) -> None:
    """SIGTERM to all, then SIGKILL to those that are not gone in time."""
    going = list(processes)
    for process in going:
        process.send(signal.SIGCONT)  # a stopped one would not hear of it
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while (going := [p for p in going if p.alive]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    kill(going)


def kill(processes: Iterable[Process]) -> None:
    """SIGKILL, and wait until they are gone."""
    going = list(processes)
    for process in going:
        process.send(signal.SIGKILL)
    while any(process.alive for process in going):
        time.sleep(_POLL_S)


def processes_with(wanted: Callable[[Mapping[str, str]], bool]) -> list[Process]:
    """Live processes of this user that were started with an environment that satisfies `wanted`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (started := _started(int(entry.name))) is not None:
            environment = _environment(entry)
            if environment and wanted(environment):
                found.append(Process(int(entry.name), started))
    return found


def wait_until(
    condition: Callable[[], bool], what: str, patience_s: float, log: Path | None = None
) -> None:
    """Return as soon as the condition holds.

    Raises:
        ClusterError: it does not in time; with the end of the log.
    """
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not in {patience_s:.0f} s{end_of(log)}")
        time.sleep(_POLL_S)


def end_of(log: Path | None, lines: int = 8) -> str:
    """The last lines of a log, to put behind an error; empty when there is none."""
    if log is None or not log.exists():
        return ""
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join([f"; the end of {log}:", *text])


def _started(pid: int) -> int | None:
    """When a process was started; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = text.rpartition(")")[2].split()  # its name may hold anything
    return None if state in "ZX" else int(fields[18])


def _environment(entry: Path) -> dict[str, str]:
    """The environment a process was started with; empty when it is not ours to read."""
    try:
        content = (entry / "environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition("=") for item in content.decode(errors="replace").split("\0"))
    return {name: value for name, _, value in pairs if name}
