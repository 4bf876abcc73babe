"""How the result of one attempt becomes the run's: one exclusive act, once.

An attempt writes `result.json` in its own folder. To promote it is to link it into the run's folder
under the same name, which the file system grants to one of any number of attempts, on whatever
nodes they finish at the same moment. Every other result stays where it is, set aside.
"""

import errno
import os
import secrets
from pathlib import Path

from pipeline.attempts import ATTEMPTS, RESULT, attempts_in
from pipeline.files import read_bytes, sync_dir, write_error

_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def promote(run_dir: Path, attempt: Path) -> bool:
    """Make an attempt's result the run's, unless the run has another.

    Returns:
        Whether it is the run's result now, by this call or an earlier one.

    Raises:
        PipelineError: the file system took it neither as a link nor as a copy.
    """
    source, target = attempt / RESULT, run_dir / RESULT
    try:
        _link(source, target)
        sync_dir(attempt.parent)
        sync_dir(run_dir)
    except FileExistsError:
        return _same(source, target)
    except OSError as error:
        raise write_error(target, error) from error
    return True


def make_way(run_dir: Path) -> None:
    """Take away the run's result, so that another may be promoted; nothing is lost.

    Only under the workspace's lock, and only for a result that was not accepted. One that an
    attempt has in its own folder stays there; any other gets a folder among the attempts.
    """
    own = attempts_in(run_dir)
    folder = run_dir / ATTEMPTS / f"00-set-aside-{secrets.token_hex(2)}"
    try:
        folder.mkdir(parents=True)
        (run_dir / RESULT).rename(folder / RESULT)
    except FileNotFoundError:
        folder.rmdir()
        return
    except OSError as error:
        raise write_error(run_dir / RESULT, error) from error
    if any(_same(attempt / RESULT, folder / RESULT) for attempt in own):
        (folder / RESULT).unlink()
        folder.rmdir()


def results_aside(run_dir: Path, current: Path | None) -> list[Path]:
    """Results of the run's attempts that are not the run's, oldest first.

    Args:
        run_dir: folder of the run.
        current: the attempt whose result is still to be promoted while the run has none.
    """
    promoted = _content(run_dir / RESULT)
    found = []
    for attempt in attempts_in(run_dir):
        content = _content(attempt / RESULT)
        awaited = promoted is None and attempt == current
        if content is not None and content != promoted and not awaited:
            found.append(attempt / RESULT)
    return found


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        _copy(source, target)


def _copy(source: Path, target: Path) -> None:
    """As exclusive as a link, if not whole at once: `advance` mends what a crash cuts off."""
    content = read_bytes(source)
    with target.open("xb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            target.unlink(missing_ok=True)
            raise


def _same(one: Path, other: Path) -> bool:
    """Have both the same content? NFS may say "exists" of the very link that it has just made."""
    content = _content(one)
    return content is not None and content == _content(other)


def _content(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except OSError:
        return None
