"""Folders whose files are executed (pickles, scripts, code): only their owner may write there.

Others may read: whoever may see the workspace may see its logs.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import PipelineError
from pipeline.files import write_error

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@contextmanager
def owner_writes() -> Iterator[None]:
    """Whatever the umask is, nothing that is made in this block can be written by others."""
    before = os.umask(_OTHERS_WRITE)
    os.umask(before | _OTHERS_WRITE)
    try:
        yield
    finally:
        os.umask(before)


def own_folder(folder: Path, root: Path) -> None:
    """Make a folder below `root` unless it is there, and make sure that it is ours alone.

    Raises:
        PipelineError: it is another's, or others could put files into it; or it cannot be made.
    """
    try:
        with owner_writes():
            folder.parent.mkdir(parents=True, exist_ok=True)
            ours = _made(folder)
        facts = folder.lstat()
    except OSError as error:
        raise write_error(folder, error) from error
    # One that we have just made is ours, whoever a network file system says that it belongs to.
    if not stat.S_ISDIR(facts.st_mode) or not (ours or facts.st_uid == os.geteuid()):
        raise PipelineError(
            f"{folder}: is not a folder of yours, and what lies there is executed; remove it"
        )
    if facts.st_mode & _OTHERS_WRITE:
        raise PipelineError(
            f"{folder}: others may write there, and what lies there is executed; "
            f"chmod go-w {folder}"
        )
    for place in folder.parents:
        if not place.is_relative_to(root):
            break
        _refuse_open(place)


def _made(folder: Path) -> bool:
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True


def _refuse_open(place: Path) -> None:
    """Where everybody may rename folders, anybody could put another in the place of ours."""
    mode = place.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise PipelineError(
            f"{place}: everybody may write there, and what lies below is executed; "
            f"chmod o-w {place}"
        )
