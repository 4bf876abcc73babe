"""Files that commands and tasks leave behind when they are killed: found, and removed when old."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline import lock
from pipeline.attempts import ATTEMPTS
from pipeline.state import State
from pipeline.workspace import Workspace

OLD_S = 3600.0
"""Nobody takes so long to write a file; younger ones may be under way."""
_SPARE = re.compile(r"\..+\.[0-9a-f]{8}")
_LEASE = re.compile(rf"\.{lock.NAME}\.[0-9a-f]{{16}}")
_START = re.compile(r"\.[0-9]{1,6}-[A-Za-z0-9_-]+")
"""An attempt's folder whose process died before it was in place."""
_PROBE = re.compile(r"\.doctor-[0-9a-f]{8}(-lock)?")
_COPY = re.compile(r"\.new-[0-9a-f]{8}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def leftovers(workspace: Workspace, state: State | None) -> list[Path]:
    """Files and folders that nothing needs any more, older than an hour.

    Args:
        workspace: where to look.
        state: as it is; without one no copy of the code is taken for unused.
    """
    found = [*_spares(workspace), *_copies(workspace, state)]
    return sorted(path for path in found if _is_old(path))


def remove(paths: list[Path]) -> None:
    """Remove what can be removed; the rest does no harm."""
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _spares(workspace: Workspace) -> Iterator[Path]:
    """Contents that were about to be put in place."""
    yield from _named(workspace.root, (_SPARE, _PROBE))
    yield from _named(workspace.state_dir, (_SPARE, _LEASE))
    for top in (workspace.runs_dir, workspace.logs_dir, workspace.figures_dir):
        for folder, _, _ in os.walk(top):
            patterns = (_SPARE, _START) if Path(folder).name == ATTEMPTS else (_SPARE,)
            yield from _named(Path(folder), patterns)


def _copies(workspace: Workspace, state: State | None) -> Iterator[Path]:
    """Copies of the code that are not whole, or that no job was ever submitted from."""
    yield from _named(workspace.code_dir, (_SPARE, _COPY))
    if state is not None:
        used = {job.code for job in state.jobs.values()}
        copies = _named(workspace.code_dir, (_DIGEST,))
        yield from (copy for copy in copies if copy.is_dir() and copy.name not in used)


def _named(folder: Path, patterns: tuple[re.Pattern[str], ...]) -> Iterator[Path]:
    try:
        names = os.listdir(folder)  # noqa: PTH208, a hundred thousand names and no path of them
    except OSError:
        return
    for name in names:
        if any(pattern.fullmatch(name) for pattern in patterns):
            yield folder / name


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > OLD_S
    except OSError:
        return False
