"""A lease: a folder that one process alone can put in place, and that its holder writes through.

    take       mkdir and fill a folder of one's own, then rename it to the lease's name. rename(2)
               replaces an empty folder and refuses a filled one, in one step, on the file server.
    let go     unlink one's own file, rmdir the folder.
    take over  unlink the dead holder's file, by its name. Nobody else's can be hit by mistake, and
               whoever renames first afterwards has the lease.
    write      put the new content into the lease's folder, make sure of one's own file, rename the
               content to its place. Who was taken over meanwhile has lost his file, and the
               content with it (the folder had to be empty to be taken): the rename fails. So a
               holder that was stopped and comes back cannot overwrite what others wrote.

The kernel's locks are not used: over NFS they are those of a lock service that may be off or hang,
with `local_lock` or `nolock`, and on some cluster file systems, they hold for one machine alone and
say nothing of it, or are missing; and they do not tell a holder that he lost them.
"""

import errno
import json
import os
import re
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

from pipeline.errors import PipelineError
from pipeline.files import open_regular, read_bytes, sync_dir, write_atomic, write_error
from pipeline.process import Process
from pipeline.provenance import now

_FILE = re.compile(r"[0-9a-f]{16}")
_CONTENT = ".new"
_GONE = {errno.ENOENT, errno.ESTALE}
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST}
_MOST_BYTES = 10_000


class LockedError(PipelineError):
    """Another command held the lock for too long."""


class LostLockError(LockedError):
    """The lock was taken over from this process, which had been silent for too long."""


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: a process, and since when (UTC, ISO 8601)."""

    process: Process
    since: str

    @property
    def words(self) -> str:
        """As users read it."""
        return f"pid {self.process.pid} on {self.process.host} since {self.since}"


class Lease:
    """The lock as its holder has it."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._file = folder / name
        self._spare = folder / f"{name}{_CONTENT}"

    def check(self) -> None:
        """Make sure that the lock is still ours; renews it.

        Raises:
            LostLockError: it is not.
        """
        try:
            os.utime(self._file)  # asks the file server, which a look might not
        except OSError as error:
            if error.errno not in _GONE:
                raise write_error(self._file, error) from error
            raise LostLockError(
                f"{self._folder}: another command took the lock over while this one was stopped "
                f"or cut off ({words_of(holder_in(self._folder))}); nothing more was written: "
                "run the command again"
            ) from None

    def replace(self, path: Path, content: bytes) -> None:
        """Replace a file on the same file system durably, or not at all when the lock is lost.

        Raises:
            LostLockError: it is; the file is as the others have left it.
            PipelineError: the file could not be written.
        """
        try:
            write_atomic(path, content, spare=self._spare, confirm=self.check)
        except PipelineError:
            self.check()  # a folder that went away means more than "no such file"
            raise

    def renew_until(self, over: Event, every_s: float) -> None:
        """Renew again and again; a file server's hiccup is no reason to stop."""
        while not over.wait(every_s):
            try:
                os.utime(self._file)
            except OSError as error:
                if error.errno in _GONE:
                    return

    def release(self) -> None:
        """Let go, unless others have the lock by now."""
        with suppress(OSError):
            self._file.unlink()
            self._folder.rmdir()


def taken(folder: Path, process: Process) -> Lease | None:
    """The lock, when nobody has it."""
    if name_in(folder) is not None:
        return None
    name = secrets.token_hex(8)
    own = folder.with_name(f".{folder.name}.{name}")
    holder = {**asdict(process), "since": now()}
    try:
        _tidy(folder)
        own.mkdir(parents=True)
        (own / name).write_text(json.dumps(holder), encoding="utf-8")
        own.rename(folder)
        sync_dir(folder.parent)
    except OSError as error:
        # A server whose answer was lost is asked again and finds nothing to rename any more.
        if not (folder / name).exists():
            _discard(own, name)
            if error.errno in _TAKEN:
                return None
            raise write_error(folder, error) from error
    return Lease(folder, name)


def _discard(own: Path, name: str) -> None:
    with suppress(OSError):
        (own / name).unlink()
    with suppress(OSError):
        own.rmdir()


def remove(folder: Path, name: str) -> None:
    """Take the lock from the holder of this name, and from nobody else."""
    try:
        (folder / name).unlink()
    except OSError as error:
        if error.errno not in _GONE:
            raise write_error(folder / name, error) from error


def _tidy(folder: Path) -> None:
    """Remove what holders that are gone were about to write, then the folder if that empties it."""
    with suppress(OSError):
        for spare in folder.glob(f"*{_CONTENT}"):
            if not spare.with_suffix("").exists():
                spare.unlink(missing_ok=True)
        folder.rmdir()


def name_in(folder: Path) -> str | None:
    """Name of the holder's file."""
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError as error:
        if error.errno in (*_GONE, errno.ENOTDIR):
            return None
        raise PipelineError(
            f"{folder}: the lock cannot be read ({error.strerror}); mend its permissions"
        ) from error
    return next((name for name in names if _FILE.fullmatch(name)), None)


def renewed(file: Path) -> int | None:
    """When the holder renewed it last, by the server's clock; opened, so that it is asked anew."""
    try:
        with open_regular(file) as opened:
            return os.fstat(opened.fileno()).st_mtime_ns
    except OSError:
        return None


def holder_in(folder: Path) -> Holder | None:
    """Who has it; None when nobody does, or nobody that can be named."""
    name = name_in(folder)
    return None if name is None else read(folder / name)


def read(file: Path) -> Holder | None:
    """None when it says nothing: gone by now, or left empty by a power cut."""
    try:
        data = json.loads(read_bytes(file, _MOST_BYTES))
        host, boot, started = str(data["host"]), str(data["boot"]), str(data["started"])
        return Holder(Process(host, boot, int(data["pid"]), started), str(data["since"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def words_of(holder: Holder | None) -> str:
    """A holder as users read it."""
    return "holder not known" if holder is None else holder.words
