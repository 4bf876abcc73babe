"""The log of what each save changed in the state: from it the state is rebuilt, to the last save.

A line is written before the state file it leads to. So the log is never behind the file, and at
most one save ahead of it: a line whose successor starts where it started itself was never saved.
A log whose end is not known to be the state at hand is begun anew, with a line that holds it all.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.files import append_line, open_regular

Change = list[Any]
"""[path, value], or [path] alone for what is gone; a path is a list of keys and positions."""
_TAIL_BYTES = 1 << 16


@dataclass(frozen=True)
class Replayed:
    """What a log comes to."""

    data: Any
    """JSON value of the state after the last line that could be followed."""
    passed: frozenset[str]
    """Digests of the state files on the way, that one's included."""
    whole: bool
    """False when lines at its end could not be followed."""


class ChangeLog:
    """`.state/changes.jsonl`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends: tuple[str | None, ...] = ()
        """Digests that the last line starts from and leads to."""

    def append(self, base: tuple[Any, str] | None, data: Any, digest: str) -> None:
        """Add a line for a save.

        Args:
            base: JSON value (None when it is not known) and digest of the file as it is; None
                when there is no file.
            data: JSON value of the state to be saved.
            digest: of the file that will hold it.

        Raises:
            PipelineError: the line could not be written.
        """
        old, start = base or (None, None)
        if start == digest:
            return
        ends = self._ends or _ends(_last_line(self.path))
        follows = old is not None and start in ends
        line: dict[str, Any] = {"from": start, "to": digest}
        if follows:
            line["changes"] = list(difference(old, data))
        else:
            line["state"] = data
        self._ends = ()  # a write that fails half-way leaves an end that nothing can follow
        append_line(self.path, json.dumps(line))
        self._ends = start, digest

    def replayed(self) -> Replayed | None:
        """The state as the log tells it; None when it tells nothing.

        Raises:
            PipelineError: the log cannot be read.
        """
        try:
            with open_regular(self.path) as file:
                return replayed(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise PipelineError(f"{self.path}: cannot be read ({error.strerror})") from error


def difference(old: Any, new: Any, path: tuple[str | int, ...] = ()) -> Iterator[Change]:
    """What turns one JSON value into another, the order of keys included. Pure."""
    if old == new and repr(old) == repr(new):  # quick; == alone takes 1 for True, and any order
        return
    if isinstance(old, dict) and isinstance(new, dict) and _in_order(old, new):
        yield from ([[*path, key]] for key in old if key not in new)
        for key, value in new.items():
            if key in old:
                yield from difference(old[key], value, (*path, key))
            else:
                yield [[*path, key], value]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from difference(before, after, (*path, index))
    else:
        yield [list(path), new]


def applied(data: Any, changes: Iterable[Change]) -> Any:
    """The value after the changes; what they touch is changed in place.

    Raises:
        LookupError, TypeError, ValueError: they do not fit.
    """
    for path, *value in changes:
        if not path:
            (data,) = value
            continue
        place = data
        for part in path[:-1]:
            place = place[part]
        if value:
            place[path[-1]] = value[0]
        else:
            del place[path[-1]]
    return data


def replayed(lines: Iterable[bytes]) -> Replayed | None:
    """Follow the lines of a log as far as they hang together. Pure."""
    log = _Follower()
    for line in lines:
        log.see(_parsed(line))
    log.settle()
    return None if log.data is None else Replayed(log.data, frozenset(log.passed), log.whole)


class _Follower:
    """The state along a log, one line behind: only the next line tells whether one was saved.

    Digests say which line follows which. One that follows nothing is passed over: it is of a
    command that had lost the lock, or something before it is damaged, and then so is the next.
    """

    def __init__(self) -> None:
        self.data: Any = None
        self.passed: set[str] = set()
        self.whole = True
        self._at: str | None = None
        self._next: list[dict[str, Any]] = []
        """Lines from here on, of which one was saved at most."""

    def see(self, line: dict[str, Any] | None) -> None:
        """Take the next line; None for one that is damaged."""
        if line is None:
            self.whole = False
            return
        saved = [other for other in self._next if other["to"] == line["from"]]
        if saved:
            self.settle(saved)
        self.whole = "state" in line or (self._at is not None and line["from"] == self._at)
        if self.whole:
            self._next.append(line)

    def settle(self, saved: list[dict[str, Any]] | None = None) -> None:
        """Follow the line that was saved; at the end of the log, the last one that fits."""
        lines, self._next = saved or self._next, []
        if not lines:
            return
        line = lines[-1]
        try:
            data = line["state"] if "state" in line else applied(self.data, line["changes"])
        except (LookupError, TypeError, ValueError):
            self.data, self._at, self.whole = None, None, False
            return
        self.data, self._at = data, line["to"]
        self.passed |= {line["to"], line["from"] or line["to"]}


def _in_order(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Does `new` hold what is left of `old` in its order, and then what it has alone?"""
    kept = [key for key in old if key in new]
    return [*kept, *(key for key in new if key not in old)] == list(new)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    fits = (
        isinstance(entry, dict)
        and "from" in entry
        and isinstance(entry.get("to"), str)
        and isinstance(entry.get("from"), str | None)
        and (isinstance(entry.get("changes"), list) or "state" in entry)
    )
    return entry if fits else None


def _ends(line: bytes | None) -> tuple[str | None, ...]:
    """Digests of the files that the line leads from and to: one of them is there now."""
    entry = _parsed(line) if line is not None else None
    return () if entry is None else (entry["from"], entry["to"])


def _last_line(path: Path) -> bytes | None:
    """The last line, however long; None when there is none."""
    try:
        with open_regular(path) as file:
            size, wanted = file.seek(0, 2), _TAIL_BYTES
            while True:
                file.seek(max(0, size - wanted))
                lines: Sequence[bytes] = file.read().splitlines(keepends=True)
                if len(lines) > 1 or wanted >= size:
                    return lines[-1] if lines else None
                wanted *= 4
    except OSError:
        return None
