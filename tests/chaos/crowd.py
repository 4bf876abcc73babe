"""Many `advance` at once, from two hosts' worth of processes, over one study.

Each process has the name of its host, and where a study lies on a network file system, the view of
its host, in namespaces of its own.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.chaos.nursery import ROOT, become, warm

HOSTS = ("login1", "login2")
_NEW_NAMESPACES = 0x04000000 | 0x00020000  # CLONE_NEWUTS: host name, CLONE_NEWNS: mounts


@dataclass(frozen=True)
class Advances:
    """What a crowd did."""

    codes: Counter[int]
    """Exit codes."""
    outputs: tuple[str, ...]
    """What those said that did not end well."""
    at_once: int
    """Most processes that were under way at one time."""


class Crowd:
    """So many processes that run `pipeline advance`, each again and again until the time is up."""

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        processes: int,
        seconds: float,
        views: Sequence[Path] = (),
    ) -> None:
        """Begin.

        Args:
            folder: of the study.
            environment: of every process.
            processes: how many at a time.
            seconds: for how long new ones begin.
            views: one for each host, what it has mounted where others see the folder's parent.
        """
        request = {
            "folder": str(folder),
            "views": [str(view) for view in views],
            "environment": dict(environment),
            "processes": processes,
            "seconds": seconds,
        }
        self._server = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.chaos.crowd", json.dumps(request)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    @property
    def is_busy(self) -> bool:
        """Whether some of them is still at work."""
        return self._server.poll() is None

    def result(self) -> Advances:
        """What they did, once all have ended."""
        told = json.loads(self._server.communicate()[0])
        codes = Counter({int(code): number for code, number in told["codes"].items()})
        return Advances(codes, tuple(told["outputs"]), told["at_once"])


def _serve(request: Mapping[str, Any]) -> None:
    """Keep a place busy for each process: a new one begins where one has ended."""
    warm()
    seconds, places = request["seconds"], request["processes"]
    end, at_once = time.monotonic() + seconds, 0
    busy: dict[int, tuple[int, IO[bytes]]] = {}
    codes: Counter[int] = Counter()
    outputs: list[str] = []
    while busy or time.monotonic() < end:
        taken = {place for place, _ in busy.values()}
        for place in set(range(places)) - taken if time.monotonic() < end else ():
            fresh = tempfile.TemporaryFile()  # noqa: SIM115
            busy[_begun(place, request, fresh)] = (place, fresh)
        at_once = max(at_once, len(busy))
        pid, status = os.wait()
        _, output = busy.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        codes[code] += 1
        if code:
            output.seek(0)
            outputs.append(output.read().decode(errors="replace"))
        output.close()
    json.dump({"codes": codes, "outputs": outputs, "at_once": at_once}, sys.stdout)


def _begun(place: int, request: Mapping[str, Any], output: IO[bytes]) -> int:
    pid = os.fork()
    if pid == 0:
        host = place % len(HOSTS)
        _be_on(HOSTS[host])
        if request["views"]:
            _see(request["views"][host], Path(request["folder"]).parent)
        asked = {**request, "arguments": ["advance"], "dies_at": None}
        with open(os.devnull, "wb") as report:  # noqa: PTH123
            become(asked, output.fileno(), report.fileno())
    return pid


def _be_on(host: str) -> None:
    """Take a host's name; only this process sees it, and what it mounts from now on."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_NAMESPACES):
        raise OSError(ctypes.get_errno(), "unshare")
    socket.sethostname(host)


def _see(view: str, place: Path) -> None:
    """Have at `place` what this host has mounted at `view`."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--bind", view, str(place)], check=True)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
