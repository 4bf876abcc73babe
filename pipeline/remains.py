"""What a workspace's folders tell of its submissions, whatever has become of its state."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pipeline import chain
from pipeline.errors import PipelineError
from pipeline.files import read_bytes
from pipeline.results import ResultFileError, RunEntry, RunResult, TaskFile, read_task
from pipeline.scheduler.local import PROCESS_FILE
from pipeline.store import REPAIR, BrokenStateError
from pipeline.workspace import Workspace

CLAIM = "attempt.json"
"""In a run's folder: which submission it was granted to (see pipeline/claim.py)."""
_FOLDER = re.compile(r"(.+)-([0-9a-f]{10})")
_OTHERS = {chain.PHASE, "doctor"}
_TASK_FILES = "task-*.json"
_OF_A_JOB = re.compile(r"(\d+)(?:_\d+)*_(?:log|submitted|result)\b.*")
"""Files that a job leaves once it runs; their names begin with its id."""


@dataclass(frozen=True)
class Remains:
    """A submission as its own files tell it."""

    token: str
    phase: str
    backend: Literal["local", "slurm"]
    made_at: str
    """When its files were written; UTC, ISO 8601."""
    tasks: tuple[tuple[str, ...], ...]
    """Run keys of each task."""
    runs: Mapping[str, "RunEntry | RunResult"]
    """What each run is."""
    code: str | None = None
    job_id: str | None = None
    """As the job's own files name it; None when it left none yet."""
    host: str | None = None
    """Machine that a local job runs on, where it says so."""


def submission_folders(workspace: Workspace) -> dict[str, Path]:
    """Folders of submissions by token, those of tasks alone."""
    try:
        folders = sorted(workspace.logs_dir.iterdir())
    except OSError:
        return {}
    named = ((_FOLDER.fullmatch(folder.name), folder) for folder in folders)
    return {
        match[2]: folder
        for match, folder in named
        if match and match[1] not in _OTHERS and any(folder.glob(_TASK_FILES))
    }


def refuse_lost(workspace: Workspace) -> None:
    """Make sure that nothing was submitted, where there is no state.

    Raises:
        BrokenStateError: something was, so that a fresh start would submit it a second time.
    """
    first = first_trace(workspace)
    if first is not None:
        raise BrokenStateError(
            f"{workspace.state_dir}: the state is gone, but there are submissions "
            f"({workspace.relative(first)}); {REPAIR}; to begin anew on purpose, remove slurm/logs "
            "and runs"
        )


def first_trace(workspace: Workspace) -> Path | None:
    """Something that only a submission leaves; None where there never was one."""
    folders = submission_folders(workspace)
    claims = workspace.runs_dir.glob(f"*/*/{CLAIM}")
    return next(iter(folders.values()), None) or next(claims, None)


def remains_in(folder: Path) -> Remains:
    """What the folder of a submission tells.

    Raises:
        PipelineError: a task file is broken or missing.
    """
    paths = sorted(folder.glob(_TASK_FILES))
    files = [_task_file(path) for path in paths]
    for index, file in enumerate(files):
        if file.task != index or file.token != files[0].token:
            raise PipelineError(f"{paths[index]}: is not the file of task {index} of its job")
    first = files[0]
    made = min(path.stat().st_mtime for path in paths)
    return Remains(
        token=first.token,
        phase=first.phase,
        backend=first.backend,
        made_at=datetime.fromtimestamp(made, UTC).isoformat(timespec="seconds"),
        tasks=tuple(tuple(f"{f.phase}/{entry.run_id}" for entry in f.runs) for f in files),
        runs={f"{f.phase}/{entry.run_id}": entry for f in files for entry in f.runs},
        code=first.code.snapshot,
        job_id=_job_id(folder),
        host=_host(folder / PROCESS_FILE),
    )


def remains_of(results: Iterable[RunResult], backend: Literal["local", "slurm"]) -> list[Remains]:
    """Submissions of which nothing but results is left."""
    by_token: dict[str, list[RunResult]] = {}
    for result in results:
        by_token.setdefault(result.attempt.token, []).append(result)
    return [_told_by(found, backend) for found in by_token.values()]


def _told_by(found: list[RunResult], backend: Literal["local", "slurm"]) -> Remains:
    keys = {f"{one.phase}/{one.run_id}": one for one in found}
    tasks: list[list[str]] = [[] for _ in range(max(one.attempt.task for one in found) + 1)]
    for key, one in keys.items():
        tasks[one.attempt.task].append(key)
    first = found[0]
    return Remains(
        token=first.attempt.token,
        phase=first.phase,
        backend=backend,
        made_at=min(one.started_at for one in found).astimezone(UTC).isoformat(timespec="seconds"),
        tasks=tuple(map(tuple, tasks)),
        runs=keys,
        code=first.code.snapshot,
        job_id=first.attempt.job_id,
        host=first.attempt.node,
    )


def _task_file(path: Path) -> TaskFile:
    try:
        return read_task(path)
    except ResultFileError as error:
        raise PipelineError(f"{path}: {error}") from None


def _job_id(folder: Path) -> str | None:
    matches = (_OF_A_JOB.fullmatch(path.name) for path in folder.iterdir())
    ids = {match[1] for match in matches if match}
    return ids.pop() if len(ids) == 1 else None


def _host(path: Path) -> str | None:
    try:
        return str(json.loads(read_bytes(path))["host"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
