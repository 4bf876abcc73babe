"""The folders that attempts at a run write in, and the checkpoints that one hands to the next.

Every start of a task has a folder of its own, `attempts/<number>-<token>-<random>` in the run's
folder, where nobody else writes. Its number follows on all that were there when it began: that
tells who came after whom, whatever the clocks of two nodes say.

A start takes over the checkpoints of the last attempt that has any under names in its own folder
(hard links, which cost no room), and once it trains it removes the old names. An attempt that lives
on, on a node that was given up, can neither change nor remove what its successor reads; and of all
the attempts at a run one keeps a checkpoint.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ATTEMPTS = "attempts"
RESULT, FAILURE, METRICS = "result.json", "failure.json", "metrics.jsonl"
SHOWN = (METRICS, "checkpoint.pt")
"""Files of the current attempt that readers find in the run's folder, too."""
_CHECKPOINT = "checkpoint"
"""What a trainer's files and folders begin with that the next attempt is to find."""
_NAME = re.compile(r"([0-9]{1,6})-[A-Za-z0-9_-]{1,60}")
_TAKE_OVERS = 5  # an attempt that lives on renames and removes what is being taken over


def is_attempt_name(name: str) -> bool:
    """Is this a name that an attempt's folder may have, and no path that leads elsewhere?"""
    return _NAME.fullmatch(name) is not None


def attempts_in(run_dir: Path) -> list[Path]:
    """The folders of all attempts at a run, oldest first."""
    return sorted(_folders(run_dir), key=lambda folder: (_number(folder), folder.name))


def begin(run_dir: Path, token: str) -> Path:
    """Make the folder of an attempt that starts now, with the checkpoints it may go on from.

    It appears complete or not at all: a start that dies on the way leaves nothing to mistake.
    """
    number = max((_number(folder) for folder in _folders(run_dir)), default=0) + 1
    name = f"{number:02d}-{token}-{secrets.token_hex(2)}"
    spare, folder = run_dir / ATTEMPTS / f".{name}", run_dir / ATTEMPTS / name
    spare.mkdir(parents=True)
    for _ in range(_TAKE_OVERS):
        if _take_over(run_dir, spare):
            break
    spare.rename(folder)
    return folder


def _take_over(run_dir: Path, spare: Path) -> bool:
    """Give the last checkpoints names in `spare`; False when one of them was gone by then."""
    try:
        for path in resumable(run_dir):
            _second_name(path, spare / path.name)
    except (FileNotFoundError, shutil.Error):
        drop_checkpoints(spare)
        return False
    return True


def resumable(run_dir: Path) -> list[Path]:
    """The checkpoints of the last attempt that has any.

    Earlier versions kept them in the run's folder itself.
    """
    for folder in (*reversed(attempts_in(run_dir)), run_dir):
        if found := _checkpoints(folder):
            return found
    return []


def drop_earlier_checkpoints(attempt: Path) -> None:
    """Remove the checkpoints of the attempts before this one: it has taken over what it needs.

    Not at its very start: of several at the same moment, the one with the lower number may be the
    one that goes on.
    """
    run_dir = attempt.parent.parent
    earlier = [folder for folder in _folders(run_dir) if _number(folder) < _number(attempt)]
    for folder in (*earlier, run_dir):
        drop_checkpoints(folder)
    for spare in _listed(attempt.parent):  # of starts that died before they had begun
        if spare.name.startswith(".") and _number(spare, skip=1) < _number(attempt):
            shutil.rmtree(spare, ignore_errors=True)


def show(attempt: Path) -> None:
    """Have names in the run's folder lead to an attempt's files, for who reads curves or weights.

    Nothing of ours goes through these links: a file system without them lacks the names, no more.
    Files that attempts of earlier versions wrote there stay what they are.
    """
    run_dir = attempt.parent.parent
    for name in SHOWN:
        link, spare = run_dir / name, run_dir / f".{name}.{secrets.token_hex(4)}"
        with suppress(OSError):
            if (attempt / name).exists() and (_is_shown(link) or not link.exists()):
                spare.symlink_to(Path(ATTEMPTS, attempt.name, name))
                spare.replace(link)
            elif _is_shown(link):
                link.unlink()


def drop_checkpoints(folder: Path) -> None:
    """Remove the checkpoints in a folder; what cannot be removed stays, and costs room only."""
    for path in _checkpoints(folder):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


def _folders(run_dir: Path) -> Iterable[Path]:
    return (path for path in _listed(run_dir / ATTEMPTS) if is_attempt_name(path.name))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _number(folder: Path, skip: int = 0) -> int:
    found = _NAME.fullmatch(folder.name[skip:])
    return int(found[1]) if found else 0


def _checkpoints(folder: Path) -> list[Path]:
    found = (path for path in _listed(folder) if path.name.startswith(_CHECKPOINT))
    return [path for path in found if path.exists() and not _is_shown(path)]


def _is_shown(path: Path) -> bool:
    try:
        return path.readlink().parts[:1] == (ATTEMPTS,)
    except OSError:  # no link, or removed by another attempt meanwhile
        return False


def _second_name(source: Path | str, target: Path | str) -> None:
    """Link a file, or all files of a folder; copy where the file system has no hard links."""
    if Path(source).is_dir():
        shutil.copytree(source, target, copy_function=_second_name)
        return
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
