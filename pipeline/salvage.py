"""The newest state that can still be read when pipeline.json cannot. Writes nothing."""

import json
from dataclasses import dataclass

from pipeline.digest import digest_of
from pipeline.files import read_bytes
from pipeline.state import State
from pipeline.state_check import StateFileError, validate
from pipeline.store import StateStore


@dataclass(frozen=True)
class Salvage:
    """A state, and where it was found."""

    state: State
    source: str
    """In words, such as "the last good copy pipeline.json.bak"."""
    is_whole: bool = False
    """True when no save is known to be missing."""


def salvaged(store: StateStore) -> Salvage | None:
    """The log's state, unless it ends before the last good copy; None when neither can be read."""
    log = store.changes.replayed()
    try:
        content = read_bytes(store.backup)
    except OSError:
        content = b""
    copy = _valid(content)
    if log is not None and (copy is None or digest_of(content) in log.passed):
        logged = _valid(json.dumps(log.data).encode())
        if logged is not None:
            told = "to the last save" if log.whole else "as far as it can be read"
            source = f"the log of changes {store.changes.path.name}, {told}"
            return Salvage(logged, source, log.whole)
    if copy is None:
        return None
    return Salvage(copy, f"the last good copy {store.backup.name}, one save older or more")


def _valid(content: bytes) -> State | None:
    try:
        return validate(content)
    except StateFileError:
        return None
