"""`pipeline logs RUN [-f]`: the end of a run's log, and what is added to it while it runs."""

import codecs
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.failures.traces import TAIL_BYTES, log_path, tail_of
from pipeline.files import open_regular
from pipeline.state import State, TaskState
from pipeline.status import current_state, named_run
from pipeline.store import StateStore
from pipeline.workspace import Workspace

_READ_EVERY_S = 0.2
_ASK_EVERY_S = {"local": 1.0, "slurm": 15.0}


def log_of(workspace: Workspace, name: str) -> Path:
    """The log of the last attempt at a run, named by its key or its run id.

    Raises:
        PipelineError: no such run, or it was not submitted yet.
    """
    return _last_log(workspace, StateStore(workspace.state_dir).load(), name)[0]


def end_of(path: Path, lines: int) -> list[str]:
    """The last lines of a log, as many as a bounded read holds.

    Raises:
        PipelineError: the task has not started to write.
    """
    text = tail_of(path)
    if text is None:
        raise PipelineError(f"{path} does not exist; the task has not started to write")
    return text.splitlines()[-lines:] if lines else []


def follow(workspace: Workspace, name: str, lines: int) -> Iterator[str]:
    """The end of a run's log and then what is added, until its task has ended.

    Raises:
        PipelineError: no such run, or it was not submitted yet.
    """
    path, ended = _last_log(workspace, StateStore(workspace.state_dir).load(), name)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a read may end inside a character
    position = _size(path)
    shown = decoder.decode(_read(path, max(0, position - TAIL_BYTES), position))
    yield "".join(shown.splitlines(keepends=True)[-lines:] if lines else [])
    while True:
        over = ended()  # asked before the last read: what was written before the end is seen
        size = _size(path)
        position = position if size >= position else 0  # it was begun anew
        if size > position:
            yield decoder.decode(_read(path, position, size))
            position = size
        if over:
            return
        time.sleep(_READ_EVERY_S)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _read(path: Path, start: int, end: int) -> bytes:
    try:
        with open_regular(path) as file:
            file.seek(start)
            return file.read(end - start)
    except OSError:
        return b""


def _last_log(
    workspace: Workspace, state: State | None, name: str
) -> tuple[Path, Callable[[], bool]]:
    """Where the log lies, and a question to the scheduler: has its task ended?"""
    if state is None:
        raise PipelineError("nothing was submitted yet; there are no logs")
    key = named_run(state, name)
    attempts = state.attempts().get(key)
    if not attempts:
        raise PipelineError(f"{key} was not submitted yet; it has no log")
    token, index = attempts[-1]
    job = state.jobs[token]
    asked_at = float("-inf")

    def ended() -> bool:
        nonlocal asked_at
        if time.monotonic() - asked_at < _ASK_EVERY_S[job.backend]:
            return False
        try:
            now, _ = current_state(workspace)
        except SchedulerUnreachableError:
            return False
        asked_at = time.monotonic()
        return token not in now.jobs or now.jobs[token].tasks[index].state is TaskState.ENDED

    return log_path(workspace, token, job, index), ended
