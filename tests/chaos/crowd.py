"""Many `advance` at once, from two hosts' worth of processes, over one study."""

import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.chaos.nursery import ROOT, become, warm

HOSTS = ("login1", "login2")
_NEW_UTS_NAMESPACE = 0x04000000  # CLONE_NEWUTS: a host name of its own


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
        self, folder: Path, environment: Mapping[str, str], processes: int, seconds: float
    ) -> None:
        request = {
            "folder": str(folder),
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


def _serve(request: Mapping[str, object]) -> None:
    """Keep a place busy for each process: a new one begins where one has ended."""
    warm()
    seconds, places = request["seconds"], request["processes"]
    assert isinstance(seconds, int | float)
    assert isinstance(places, int)
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


def _begun(place: int, request: Mapping[str, object], output: IO[bytes]) -> int:
    pid = os.fork()
    if pid == 0:
        _be_on(HOSTS[place % len(HOSTS)])
        asked = {**request, "arguments": ["advance"], "dies_at": None}
        with open(os.devnull, "wb") as report:  # noqa: PTH123
            become(asked, output.fileno(), report.fileno())
    return pid


def _be_on(host: str) -> None:
    """Take the name of a host of one's own; only this process sees it."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_UTS_NAMESPACE):
        raise OSError(ctypes.get_errno(), "unshare")
    socket.sethostname(host)


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
