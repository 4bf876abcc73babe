"""One `advance` at a time: waiting for the lock of a workspace, and taking it over from the dead.

A holder on this machine is dead when its process is. Of one on another machine only its silence
tells: as long as it lives a thread renews the lease, through long calls of sbatch and while figures
are drawn. The watcher looks for a change and counts by its own clock what it watched itself, so
that neither clocks that differ nor a server that hung for all make anybody dead. Whoever is taken
for dead all the same is refused its next write (see pipeline/lease.py).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from pipeline.files import look_again
from pipeline.lease import (
    Lease,
    LockedError,
    LostLockError,
    holder_in,
    name_in,
    read,
    remove,
    renewed,
    taken,
    words_of,
)
from pipeline.process import Process, is_gone, this_process

__all__ = [
    "NAME",
    "PACE",
    "Lease",
    "LockedError",
    "LostLockError",
    "Pace",
    "Standing",
    "exclusive",
    "held",
    "standing",
]

NAME = "lease"
"""Of the lock's folder in `.state/`."""


@dataclass(frozen=True)
class Pace:
    """How often a holder renews and a watcher looks, and after how much silence one is dead."""

    poll_s: float = 0.2
    renew_s: float = 3.0
    silent_s: float = 40.0
    """Less than the time that commands wait, so that the first one that meets a dead holder of
    another machine goes on; many renewals, as a busy file server may lose some."""


PACE = Pace()


_held: dict[Path, Lease] = {}
"""Locks that this process holds, by folder: the writers of what they protect ask for them."""


@contextmanager
def exclusive(
    path: Path,
    timeout_s: float = 60.0,
    on_wait: Callable[[str], None] = lambda _: None,
    *,
    process: Process | None = None,
    pace: Pace = PACE,
) -> Iterator[Lease]:
    """Hold the lock at `path`, and see what others wrote beside it while they held it.

    Args:
        path: the lock's folder.
        timeout_s: how long to wait for another holder.
        on_wait: told once, in words, who is waited for; and of whom the lock was taken over.
        process: who takes it; this process by default.
        pace: of renewing and watching, the same for all who use the lock.

    Raises:
        LockedError: the holder did not let go in time.
        PipelineError: the file system does not let us make the lock.
    """
    process = process or this_process()
    lease = _acquired(path, process, _Watch(path, process, pace), timeout_s, on_wait)
    look_again(path.parent)  # what the last holder wrote on another host is to be seen by us
    over = Event()
    Thread(target=lease.renew_until, args=(over, pace.renew_s), daemon=True).start()
    _held[path] = lease
    try:
        yield lease
    finally:
        _held.pop(path, None)
        over.set()
        lease.release()


def held(path: Path) -> Lease | None:
    """The lock at `path` as this process holds it; None when it does not."""
    return _held.get(path)


@dataclass(frozen=True)
class Standing:
    """The lock at one moment, for those who only look."""

    words: str
    gone: bool
    """Known to be dead: the next command takes over at once."""


def standing(path: Path) -> Standing | None:
    """Who holds the lock at this moment; None when it is free or was never made."""
    name = name_in(path)
    if name is None:
        return None
    holder = read(path / name)
    gone = holder is not None and is_gone(holder.process, this_process()) is True
    return Standing(words_of(holder), gone)


class _Watch:
    """Watches whoever holds the lock for signs of life."""

    def __init__(self, folder: Path, process: Process, pace: Pace) -> None:
        self._folder, self._process, self._pace = folder, process, pace
        self._seen: object = None
        self._looked_at = time.monotonic()
        self._silent_s = 0.0

    def dead(self) -> tuple[str, str] | None:
        """The file of a holder that is dead, and the reason in words; None while it may live."""
        name = name_in(self._folder)
        if name is None:
            return None
        holder = read(self._folder / name)
        if holder is not None and holder.process == self._process and self._folder not in _held:
            # This very process: the disk was bad when it was to be removed.
            return name, f"{holder.words} could not let go of it"
        if holder is not None and (gone := is_gone(holder.process, self._process)) is not None:
            return (name, f"{holder.words} is gone") if gone else None
        if self._silence(name) < self._pace.silent_s:
            return None
        return name, f"{words_of(holder)} gave no sign for {self._silent_s:.0f} s"

    def _silence(self, name: str) -> float:
        """Seconds without a renewal that were really watched."""
        seen, now_s = (name, renewed(self._folder / name)), time.monotonic()
        # A look that came late says nothing: we or the server were stopped, perhaps all others too.
        watched_s = min(now_s - self._looked_at, 2 * self._pace.poll_s)
        self._silent_s = self._silent_s + watched_s if seen == self._seen else 0.0
        self._seen, self._looked_at = seen, now_s
        return self._silent_s

    def pause(self) -> None:
        """Until the next look."""
        time.sleep(self._pace.poll_s)


def _acquired(
    folder: Path,
    process: Process,
    watch: _Watch,
    timeout_s: float,
    on_wait: Callable[[str], None],
) -> Lease:
    deadline, told = time.monotonic() + timeout_s, False
    while (lease := taken(folder, process)) is None:
        if (dead := watch.dead()) is not None:
            remove(folder, dead[0])
            on_wait(f"took over the lock: {dead[1]}")
            continue
        holder = words_of(holder_in(folder))
        if not told:
            on_wait(f"waiting for another advance to finish ({holder})")
            told = True
        if time.monotonic() > deadline:
            raise LockedError(
                f"{folder}: another advance holds the lock ({holder}) "
                f"and did not finish in {timeout_s:.0f} s; nothing was changed, try again later"
            )
        watch.pause()
    return lease
