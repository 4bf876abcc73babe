"""Tasks that run, says the scheduler, and have written nothing for long."""

import time
from dataclasses import dataclass
from datetime import datetime

from pipeline.failures.traces import last_sign
from pipeline.state import RunStatus, State, TaskState
from pipeline.words import duration
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Stall:
    """One silent task."""

    token: str
    index: int
    runs: tuple[str, ...]
    """Those that have no result yet."""
    silent_s: float
    node: str | None

    @property
    def words(self) -> str:
        """Since when, and where."""
        return (
            f"runs on {self.node or 'some node'}, but has been silent for {duration(self.silent_s)}"
        )


def stalls(workspace: Workspace, state: State) -> list[Stall]:
    """All of them; silence is counted from the last write to the log or a run's folder."""
    now_s, found = time.time(), []
    for token, job in state.live_jobs().items():
        for index, task in enumerate(job.tasks):
            if task.state is not TaskState.RUNNING or job.stalled_after_min is None:
                continue
            signs = [last_sign(workspace, token, job, index)]
            if task.started_at is not None:
                signs.append(datetime.fromisoformat(task.started_at).timestamp())
            last = max((sign for sign in signs if sign is not None), default=None)
            runs = tuple(k for k in task.runs if state.runs[k].status is not RunStatus.DONE)
            if last is not None and runs and now_s - last > job.stalled_after_min * 60:
                found.append(Stall(token, index, runs, now_s - last, task.node))
    return found
