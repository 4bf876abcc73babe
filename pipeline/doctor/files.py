"""The workspace's file system: learnt by really writing a file there, then judged."""

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.doctor.finding import Finding, ok, problem, warning
from pipeline.errors import PipelineError
from pipeline.lock import LockedError, exclusive
from pipeline.workspace import Workspace

_WRITE_MB = 16
_MB = 1_000_000
_LOW_MB = 2_000
_LOW_FILES = 2_000
_MAX_SKEW_S = 2.0
_MOUNTS = Path("/proc/self/mountinfo")

_SHARED = frozenset(
    ["nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph", "panfs", "wekafs", "afs", "cifs", "smb3",
     "9p", "virtiofs", "glusterfs", "pvfs2", "orangefs", "daos", "fuse.glusterfs", "fuse.ceph",
     "fuse.sshfs", "fuse.beegfs", "fuse.dfuse"]
)  # fmt: skip
_OF_ONE_MACHINE = frozenset(
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay", "aufs",
     "squashfs", "apfs", "hfs"]
)  # fmt: skip


@dataclass(frozen=True)
class FileFacts:
    """What writing into a workspace showed."""

    error: str | None = None
    """Why the file could not be written, or did not read back; then the next two are None."""
    write_s: float | None = None
    clock_skew_s: float | None = None
    """The file server's clock minus ours, by the time it gave the new file."""
    lock_error: str | None = None
    log_error: str | None = None
    """Why no file could be made in the folder of logs."""
    free_mb: float | None = None
    free_files: int | None = None
    file_system: str | None = None
    """Type of the file system of the workspace."""
    python_file_system: str | None = None
    """The same of the Python environment."""


def look_at(workspace: Workspace, write_mb: int = _WRITE_MB) -> FileFacts:
    """Write and read back `write_mb` MB in the workspace, make a log file; leave nothing behind."""
    path = workspace.root / f".doctor-{secrets.token_hex(4)}"
    try:
        facts = _written(path, write_mb)
    except OSError as error:
        facts = FileFacts(error=error.strerror or str(error))
    finally:
        with suppress(OSError):
            path.unlink()
    with suppress(OSError):
        room = os.statvfs(workspace.root)
        free_mb = room.f_bavail * room.f_frsize / _MB
        files = room.f_favail if room.f_files else None  # some file systems do not count them
        facts = replace(facts, free_mb=free_mb, free_files=files)
    with suppress(OSError):
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="replace")
        facts = replace(
            facts,
            file_system=file_system_of(workspace.root, mounts),
            python_file_system=file_system_of(Path(sys.prefix).resolve(), mounts),
        )
    return replace(facts, log_error=_log_error(workspace.logs_dir))


def _written(path: Path, write_mb: int) -> FileFacts:
    content = secrets.token_bytes(_MB) * write_mb
    begun = time.monotonic()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        write_s = time.monotonic() - begun
    before = time.time()
    os.utime(path)  # "now" by the clock of whoever keeps the file
    changed, after = path.stat().st_mtime, time.time()
    early, late = changed - after, changed - before
    skew = 0.0 if early <= 0 <= late else min(early, late, key=abs)
    error = None if path.read_bytes() == content else "what was written did not read back"
    return FileFacts(error, write_s, skew, _lock_error(path.with_name(f"{path.name}-lock")))


def _lock_error(path: Path) -> str | None:
    """Why the lock cannot be had here, or does not keep a second holder out."""
    try:
        with exclusive(path, timeout_s=0):
            try:
                with exclusive(path, timeout_s=0):
                    return "a second holder is let in"
            except LockedError:
                return None
    except PipelineError as error:
        return str(error)


def _log_error(folder: Path) -> str | None:
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".doctor-{secrets.token_hex(4)}"
        path.touch(exist_ok=False)
        path.unlink()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    finally:
        with suppress(OSError):
            for place in made:
                place.rmdir()
    return None


def file_system_of(path: Path, mounts: str) -> str | None:
    """Type of the file system that holds an absolute path, from the text of mountinfo; pure."""
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if len(before) < 5 or not after:
            continue
        point = Path(before[4].replace("\\040", " "))
        depth = len(point.parts)
        if (point == path or point in path.parents) and (best is None or depth >= best[0]):
            best = depth, after[0]  # of two mounts on one point the later one is on top
    return best[1] if best else None


def judge_files(facts: FileFacts) -> Iterator[Finding]:
    """Room, speed, locks, clock and the folder of logs."""
    yield _judge_room(facts)
    if facts.log_error:
        yield problem(
            "log folder",
            f"no file can be made: {facts.log_error}",
            "mend its permissions; without it Slurm ends a task at once with 0:53 and no log",
        )
    else:
        yield ok("log folder", "a file can be made in slurm/logs")
    if facts.lock_error:
        yield problem(
            "locks",
            f"the workspace cannot be locked here: {facts.lock_error}",
            "put it on a file system that refuses to rename a folder over a filled one (POSIX)",
        )
    skew = facts.clock_skew_s
    if skew is not None and abs(skew) > _MAX_SKEW_S:
        yield warning(
            "file clock",
            f"new files are dated {abs(skew):.0f} s in the {'future' if skew > 0 else 'past'}",
            "tell the administrators (NTP); how long a run was silent is off by as much",
        )


def _judge_room(facts: FileFacts) -> Finding:
    if facts.error:
        return problem(
            "disk",
            f"{_WRITE_MB} MB could not be written: {facts.error}",
            "make room, or mend the permissions or the quota, of the workspace's file system",
        )
    room = f"{facts.free_mb:,.0f} MB free" if facts.free_mb is not None else "room unknown"
    written = f"{_WRITE_MB} MB written and read back in {facts.write_s or 0:.1f} s"
    if facts.free_mb is not None and facts.free_mb < _LOW_MB:
        return warning("disk", f"{written}, but only {room}", "make room for checkpoints")
    if facts.free_files is not None and facts.free_files < _LOW_FILES:
        text = f"{written}, but only {facts.free_files} more files can be made"
        return warning("disk", text, "remove files; a run makes about ten")
    return ok("disk", f"{written}, {room}")


def judge_sharing(what: str, kind: str | None) -> Finding:
    """Whether compute nodes see a folder, as far as the type of its file system tells."""
    if kind in _SHARED:
        return ok("shared", f"{what} is on {kind}; --deep proves that a node sees it")
    remedy = f"put {what} where nodes see it; `pipeline doctor --deep` proves it either way"
    if kind in _OF_ONE_MACHINE:
        return warning("shared", f"{what} is on {kind}, which is one machine's own", remedy)
    return warning("shared", f"{what} is on {kind or 'an unknown file system'}", remedy)
