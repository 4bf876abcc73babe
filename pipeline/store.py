"""The only reader and writer of `.state/`: encoding, validation, last good copy, logs.

A state file that is broken is never replaced in passing by its last good copy. That is one save
older, and the save that is missing may be the intent of a submission: who goes on from it submits
those runs a second time. What was submitted since is in the logs, the jobs' folders and the
scheduler; `pipeline doctor --repair` asks them all (see pipeline/doctor/repair.py). Commands that
change nothing may show the last good copy, and say so.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from pipeline import lock
from pipeline.changes import ChangeLog
from pipeline.digest import digest_of
from pipeline.errors import PipelineError
from pipeline.failures.kinds import FailureClass
from pipeline.files import append_line, read_bytes, sync_dir, write_atomic, write_error
from pipeline.state import (
    SCHEMA_VERSION,
    BadNode,
    FollowUpRecord,
    GateRecord,
    Incarnation,
    JobRecord,
    OverrideRecord,
    PhaseRecord,
    RunFailure,
    RunRecord,
    RunStatus,
    Selection,
    State,
    TaskRecord,
    TaskState,
)

_SEAL_BYTES = 1000
REPAIR = (
    "nothing was changed; mend it by hand, or have it rebuilt: `pipeline doctor` says what of, "
    "`pipeline doctor --repair` does it"
)


class BrokenStateError(PipelineError):
    """The state file is broken or gone; `pipeline doctor --repair` rebuilds it."""


class StateStore:
    """`.state/pipeline.json` of one workspace, with its last good copy and its logs."""

    def __init__(self, state_dir: Path) -> None:
        self.dir = state_dir
        self.path = state_dir / "pipeline.json"
        self.backup = state_dir / "pipeline.json.bak"
        self.journal = state_dir / "journal.jsonl"
        self.changes = ChangeLog(state_dir / "changes.jsonl")
        self.seal = state_dir / "pipeline.json.sha256"
        self._known: tuple[Any, str] | None = None
        """JSON value (when the file was written by this version) and digest of the file."""

    def load(self) -> State | None:
        """Return the state, or None when nothing was ever submitted here.

        Raises:
            BrokenStateError: the file is broken, or gone while there are traces of it.
            PipelineError: it cannot be read, or is from a newer version. Nothing is overwritten.
        """
        self._known = None
        content = self._read()
        if content is None:
            return None
        if not self._is_sealed(content):
            self._known = None, digest_of(content)
            return self._validated(content)
        data = json.loads(content)
        self._known = data, digest_of(content)
        return decode(data)

    def save(self, state: State) -> None:
        """Write the state atomically, after validating the very bytes that will be read back.

        Raises:
            LostLockError: the lock under which it was read is another's by now.
            PipelineError: it could not be written; the old state stands.
        """
        content = encode(state)
        self._validated(content)
        data, digest = json.loads(content), digest_of(content)
        self._check_lock()
        is_first = not self.path.exists()
        if not is_first:
            self.changes.append(self._known, data, digest)
            self._keep_last_good()
        self._replace(content)
        if is_first:  # a log without a state would pass for a lost one
            self.changes.append(None, data, digest)
        self._known = data, digest
        write_atomic(self.seal, _seal_of(content).encode())

    def record(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Append events to the journal.

        Raises:
            LostLockError: the lock is another's by now, who knows nothing of these events.
            PipelineError: they could not be written.
        """
        self._check_lock()
        at = datetime.now(UTC).isoformat(timespec="seconds")
        for event in events:
            append_line(self.journal, json.dumps({"at": at, **event}))

    def is_as_saved(self) -> bool:
        """False when the file is not byte for byte what this version wrote last."""
        try:
            return self._is_sealed(read_bytes(self.path))
        except OSError:
            return False

    def keep(self) -> Path:
        """Copy the state's files into a new folder beside them; return it.

        Raises:
            PipelineError: they could not be copied.
        """
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        folder = self.dir / f"before-repair-{moment}"
        try:
            for path in (self.path, self.backup, self.seal):
                if path.exists():
                    write_atomic(folder / path.name, read_bytes(path))
        except OSError as error:
            raise write_error(folder, error) from error
        return folder

    def set_aside(self) -> Path:
        """Keep the files, then take the broken state away, so that it becomes nobody's last good.

        Raises:
            PipelineError: they could not be copied or removed.
        """
        folder = self.keep()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error
        return folder

    def _read(self) -> bytes | None:
        try:
            return read_bytes(self.path)
        except FileNotFoundError:
            traces = (self.backup, self.changes.path, self.journal)
            if any(trace.exists() for trace in traces):
                raise BrokenStateError(f"{self.path}: the state file is gone; {REPAIR}") from None
            return None
        except OSError as error:
            raise PipelineError(f"{self.path}: cannot be read ({error.strerror})") from error

    def _check_lock(self) -> None:
        held = lock.held(self.dir / lock.NAME)
        if held is not None:
            held.check()

    def _replace(self, content: bytes) -> None:
        held = lock.held(self.dir / lock.NAME)
        if held is None:
            write_atomic(self.path, content)
        else:
            held.replace(self.path, content)

    def _is_sealed(self, content: bytes) -> bool:
        """True when these bytes are the ones this version validated and wrote itself."""
        try:
            return read_bytes(self.seal, _SEAL_BYTES) == _seal_of(content).encode()
        except OSError:
            return False

    def _validated(self, content: bytes) -> State:
        from pipeline.state_check import (  # builds pydantic models
            NewerSchemaError,
            StateFileError,
            validate,
        )

        try:
            return validate(content)
        except NewerSchemaError as error:
            raise PipelineError(f"{self.path}:{error}; nothing was changed") from None
        except StateFileError as error:
            raise BrokenStateError(f"{self.path}:{error}; {REPAIR}") from None

    def _keep_last_good(self) -> None:
        if not self.path.exists():
            return
        spare = self.backup.with_suffix(".bak.new")
        try:
            spare.unlink(missing_ok=True)
            _copy(self.path, spare)
            spare.replace(self.backup)
            sync_dir(self.dir)
        except OSError as error:
            raise write_error(self.backup, error) from error


def _copy(source: Path, target: Path) -> None:
    """A second name for the same file; a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _seal_of(content: bytes) -> str:
    return f"{SCHEMA_VERSION} {digest_of(content)}"


def encode(state: State) -> bytes:
    """JSON with one record a line, runs sorted by key, jobs as submitted, defaults left out.

    One line a record keeps 10,000 runs readable, and lets grep and diff speak of runs.
    """
    tables: list[tuple[str, Mapping[str, object]]] = [
        ("phases", state.phases),  # in the study's order, which is the order they run in
        ("runs", dict(sorted(state.runs.items()))),
        ("jobs", state.jobs),  # as submitted: two of one second have no other order
        ("bad_nodes", dict(sorted(state.bad_nodes.items()))),
    ]
    scalars = {f.name: getattr(state, f.name) for f in fields(state) if f.name not in dict(tables)}
    parts = [f'  "{name}": {json.dumps(_plain(value))}' for name, value in scalars.items()]
    parts += [f'  "{name}": {_encode_table(table)}' for name, table in tables]
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode()


def _encode_table(table: Mapping[str, object]) -> str:
    if not table:
        return "{}"
    lines = [f"    {json.dumps(key)}: {json.dumps(_plain(row))}" for key, row in table.items()]
    return "{\n" + ",\n".join(lines) + "\n  }"


def _plain(value: Any) -> Any:
    """JSON value of a record; fields that hold their default are left out."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if not hasattr(value, "__dataclass_fields__"):
        return value
    record: Any = type(value)
    return {
        name: _plain(item)
        for name, default in _defaults_of(record)
        if (item := getattr(value, name)) != default
    }


@cache
def _defaults_of(record: type) -> tuple[tuple[str, object], ...]:
    """Names and defaults of a record's fields; asked a hundred thousand times in a large state."""
    return tuple(
        (f.name, f.default if f.default is not MISSING else MISSING) for f in fields(record)
    )


_RUN_STATUS = {status.value: status for status in RunStatus}
"""Many times quicker than calling the enumeration."""


def decode(data: dict[str, Any]) -> State:
    """Build the state from JSON that is known to be valid; no checks."""
    return State(
        **{
            **data,
            "phases": {k: _phase(v) for k, v in data["phases"].items()},
            "runs": {k: _run(v) for k, v in data["runs"].items()},
            "jobs": {k: _job(v) for k, v in data["jobs"].items()},
            "bad_nodes": {k: BadNode(**_classed(v, "kind")) for k, v in data["bad_nodes"].items()},
            "follow_up": _follow_up(data.get("follow_up")),
        }
    )


def _phase(data: dict[str, Any]) -> PhaseRecord:
    gates = tuple(GateRecord(**gate) for gate in data.get("gates", ()))
    overrides = tuple(OverrideRecord(**item) for item in data.get("overrides", ()))
    made = data.get("selection")
    selection = made and Selection(**{**made, "ranking": tuple(made["ranking"])})
    nested = {"gates": gates, "overrides": overrides, "selection": selection}
    return PhaseRecord(**{**data, **nested})


def _run(data: dict[str, Any]) -> RunRecord:
    status = _RUN_STATUS[data.get("status", RunStatus.PLANNED)]
    data = {**_classed(data, "failure"), "status": status}
    return RunRecord(**{**data, "unread": tuple(data.get("unread", ()))})


def _job(data: dict[str, Any]) -> JobRecord:
    data = {**data, "tasks": tuple(_task(task) for task in data["tasks"])}
    return JobRecord(**{**data, "excluded": tuple(data.get("excluded", ()))})


def _follow_up(data: dict[str, Any] | None) -> FollowUpRecord | None:
    if data is None:
        return None
    waits_for = tuple(data.get("waits_for", ()))
    return FollowUpRecord(**{**data, "job": _job(data["job"]), "waits_for": waits_for})


def _task(data: dict[str, Any]) -> TaskRecord:
    fields_ = {**data, "runs": tuple(data["runs"])}
    fields_["state"] = TaskState(data.get("state", TaskState.QUEUED))
    if "earlier" in data:
        fields_["earlier"] = tuple(Incarnation(**item) for item in data["earlier"])
    if "failures" in data:
        failures = (RunFailure(**_classed(item, "kind")) for item in data["failures"])
        fields_["failures"] = tuple(failures)
    return TaskRecord(**fields_)


def _classed(data: dict[str, Any], key: str) -> dict[str, Any]:
    """The data with the class of a failure in place of its name."""
    return {**data, key: FailureClass(data[key])} if data.get(key) is not None else data
