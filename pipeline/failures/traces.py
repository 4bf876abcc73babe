"""Reads what an attempt left on disk: the end of its log, its progress. Concludes nothing."""

import time
from collections.abc import Iterable
from pathlib import Path

from pipeline.attempts import METRICS, resumable
from pipeline.claim import current_folder
from pipeline.failures.evidence import Progress, Traces
from pipeline.files import open_regular
from pipeline.progress import first_and_last
from pipeline.state import JobRecord
from pipeline.workspace import Workspace

TAIL_BYTES = 65_536
_CHECKPOINT = "checkpoint.pt"  # as trainers usually call it; one look that costs no listing
_START = "Starting with JobEnvironment("  # submitit's first line of every start of a task


def log_path(workspace: Workspace, token: str, job: JobRecord, index: int) -> Path:
    """Where the log of one task lies, once it has begun to write."""
    element = f"{job.job_id}_{index}_0" if len(job.tasks) > 1 else f"{job.job_id}_0"
    return workspace.job_dir(job.phase, token) / f"{element}_log.out"


def tail_of(path: Path, size: int = TAIL_BYTES) -> str | None:
    """The last `size` bytes of a file as text, whatever its encoding; None when there is none."""
    try:
        with open_regular(path) as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - size))
            return file.read(size).decode("utf-8", errors="replace")
    except OSError:
        return None


def traces_of(workspace: Workspace, token: str, job: JobRecord, index: int, key: str) -> Traces:
    """What the attempt at one run left."""
    log = tail_of(log_path(workspace, token, job, index))
    run_dir = workspace.run_dir(key)
    folder = current_folder(run_dir)
    first, last = first_and_last(folder / METRICS) if folder else ({}, {})
    active_s = last.get("time", 0.0) - first.get("time", 0.0)
    steps = last.get("step", 0.0) - first.get("step", 0.0)
    progress = None
    if "step" in last and last.get("total_steps", 0) > 0:
        progress = Progress(
            step=int(last["step"]),
            total_steps=int(last["total_steps"]),
            steps_per_s=steps / active_s if active_s > 0 and steps > 0 else None,
            age_s=max(0.0, time.time() - last.get("time", 0.0)),
        )
    return Traces(
        log=(log or "").rpartition(_START)[2],
        log_exists=log is not None,
        progress=progress,
        checkpoint=bool(resumable(run_dir)),
        active_s=active_s if active_s > 0 else None,
    )


def last_sign(workspace: Workspace, token: str, job: JobRecord, index: int) -> float | None:
    """When a task last wrote to its log or to a run's folder (epoch seconds); None for never."""
    found = [current_folder(workspace.run_dir(key)) for key in job.tasks[index].runs]
    folders = [folder for folder in found if folder is not None]
    files = [folder / name for folder in folders for name in (METRICS, _CHECKPOINT)]
    return max(_written([log_path(workspace, token, job, index), *files]), default=None)


def _written(paths: Iterable[Path]) -> list[float]:
    found = []
    for path in paths:
        try:
            found.append(path.stat().st_mtime)
        except OSError:
            continue
    return found
