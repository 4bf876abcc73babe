"""Runs commands of the pipeline and tasks of its jobs as forks of one warm process.

A start of Python with pydantic, scipy and matplotlib takes a second; a fork of a process that has
them takes milliseconds. A fork is a process of its own: it is killed, and holds locks, like any.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.chaos.mortal import Mortal

_BECOME_REAPER = 36  # PR_SET_CHILD_SUBREAPER: programs whose caller was killed come to us
_TIME_LIMIT_S = 120
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    """Exit code; -9 when it was killed."""
    output: str
    moments: tuple[str, ...]
    """Its lasting calls; of one that was killed, up to the one it died at."""

    @property
    def killed(self) -> bool:
        """Whether it died at its moment."""
        return self.code == -signal.SIGKILL


class Nursery:
    """The warm process, seen from outside."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-P", "-m", "tests.chaos.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.communicate(timeout=_TIME_LIMIT_S)

    def command(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        dies_at: int | None = None,
    ) -> Ended:
        """Run `pipeline ARGUMENTS` in a folder, and let it die at its n-th lasting call."""
        asked = {"arguments": list(arguments), "dies_at": dies_at}
        return self._ask(asked, folder, environment)

    def task(self, pickle: Path, folder: Path, environment: Mapping[str, str]) -> Ended:
        """Run what submitit has pickled for one task of a job."""
        return self._ask({"pickle": str(pickle)}, folder, environment)

    def _ask(self, asked: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> Ended:
        request = {**asked, "folder": str(folder), "environment": dict(environment)}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        answer = json.loads(self._server.stdout.readline())
        return Ended(answer["code"], answer["output"], tuple(answer["moments"]))


def _serve() -> None:
    """Answer one request after the other until nobody asks any more."""
    warm()
    ctypes.CDLL(None).prctl(_BECOME_REAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_answered(json.loads(line))) + "\n")
        sys.stdout.flush()


def warm() -> None:
    """Import what commands and tasks import when they run."""
    import submitit.core.utils  # noqa: F401

    import pipeline.advance
    import pipeline.auto
    import pipeline.cancel
    import pipeline.cli
    import pipeline.display
    import pipeline.figures
    import pipeline.gather
    import pipeline.preview
    import pipeline.publish
    import pipeline.report_html
    import pipeline.retry
    import pipeline.scheduler.follow_up
    import pipeline.scheduler.slurm
    import pipeline.worker  # noqa: F401


def _answered(request: Mapping[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as report:
        pid = os.fork()
        if pid == 0:
            become(request, output.fileno(), report.fileno())
        _, status = os.waitpid(pid, 0)
        _wait_for_orphans()
        output.seek(0)
        report.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status),
            "output": output.read().decode(errors="replace"),
            "moments": report.read().decode().splitlines(),
        }


def _wait_for_orphans() -> None:
    """A client of Slurm goes on when its caller is killed: let it come to its end."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def become(request: Mapping[str, Any], output: int, report: int) -> None:
    """Become the process that was asked for; never returns."""
    code = 1
    try:
        signal.alarm(_TIME_LIMIT_S)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
        sys.dont_write_bytecode = True
        if "pickle" in request:
            _train(request["pickle"])
        else:
            _command(request["arguments"], Mortal(request["dies_at"], report))
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _command(arguments: Sequence[str], mortal: Mortal) -> None:
    from pipeline.cli import main

    sys.argv = ["pipeline", *arguments]
    mortal.begin()
    main()


def _train(pickle: str) -> None:
    from submitit.core.utils import DelayedSubmission

    sys.path[:0] = os.environ["PYTHONPATH"].split(os.pathsep)
    DelayedSubmission.load(pickle).result()


if __name__ == "__main__":
    _serve()
