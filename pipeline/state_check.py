"""Validates the bytes of pipeline.json with pydantic and says at which line and column they fail.

Imported only when a state file is written, or is not byte for byte what the store wrote.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.state import (
    SCHEMA_VERSION,
    JobRecord,
    RunRecord,
    RunStatus,
    State,
    TaskRecord,
    is_job_id,
)
from pipeline.state_migration import migrated
from pipeline.strict_json import JsonError, decoded, parsed
from pipeline.validation import suggest

_ADAPTER = TypeAdapter(State)
_WHITESPACE = " \t\r\n"
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_NODE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,\[\]-]*")
_LARGEST = 1e15
"""Beyond is no count, no second and no seed."""
_YEARS = range(1970, 9999)
_NO_MOMENT = "is no time such as 2026-01-23T10:00:00+00:00"


class StateFileError(Exception):
    """What is wrong in a state file, as "line:column: message"."""


class NewerSchemaError(StateFileError):
    """Nothing is wrong with it: a later version of the pipeline wrote it."""


def validate(content: bytes) -> State:
    """Return the state that `content` holds.

    Raises:
        NewerSchemaError: written by a newer version.
        StateFileError: not UTF-8, not JSON, or not a state.
    """
    try:
        text = decoded(content)
        data = parsed(text)
    except JsonError as error:
        raise StateFileError(str(error)) from None
    _check_version(data)
    try:
        state = _ADAPTER.validate_json(_todays(data, text), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        path = [part for part in first["loc"] if isinstance(part, str | int)]
        where = ".".join(str(part) for part in path)
        raise StateFileError(f"{position(text, path)}: {where}: {_message(first)}") from None
    return _consistent(state, data, text)


def _check_version(data: Any) -> None:
    version = data.get("schema_version") if isinstance(data, dict) else None
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise NewerSchemaError(
            f"1:1: written by a newer version (schema {version}, this one knows {SCHEMA_VERSION}); "
            "use that version"
        )


def _todays(data: Any, text: str) -> str:
    new = migrated(data)
    return text if new is data else json.dumps(new)


def _message(item: Any) -> str:
    if item["type"] in {"extra_forbidden", "unexpected_keyword_argument"}:
        return "unknown key"
    if item["type"] == "enum" and item["loc"][-1] == "status":
        return f'unknown status "{item["input"]}"' + suggest(str(item["input"]), list(RunStatus))
    return f"{json.dumps(item['input'], default=str)[:60]}: {item['msg']}"


def _consistent(state: State, data: Any, text: str) -> State:
    """What the records say of each other must hold, or later steps would fail in the dark."""
    for path, problem in (*_wild_numbers(data, []), *_bad_names(state), *_inconsistencies(state)):
        where = ".".join(str(part) for part in path)
        raise StateFileError(f"{position(text, path)}: {where}: {problem}")
    return state


def _wild_numbers(value: Any, path: list[str | int]) -> Iterator[tuple[list[str | int], str]]:
    """Numbers that sums and differences could not be made of."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _wild_numbers(item, [*path, key])
    elif isinstance(value, int | float) and not abs(value) <= _LARGEST:
        yield path, "is beyond all that can stand here"


def _bad_names(state: State) -> Iterator[tuple[list[str | int], str]]:
    """What folders are called after must not lead out of the workspace."""
    for table in ("phases", "jobs"):
        for name in getattr(state, table):
            if not _NAME.fullmatch(name):
                yield [table, name], f"{name[:60]!r} cannot be a name"
    for key in state.runs:
        parts = key.split("/")
        if len(parts) != 2 or not all(_NAME.fullmatch(part) for part in parts):
            yield ["runs", key], f"{key[:60]!r} cannot be the name of a run"
    for token, job in state.jobs.items():
        if not _NAME.fullmatch(job.phase):
            yield ["jobs", token, "phase"], f"{job.phase[:60]!r} cannot be a name"
    for node in state.bad_nodes:
        if not _NODE.fullmatch(node):
            yield ["bad_nodes", node], f"{node[:60]!r} cannot be a node"
    if state.follow_up is not None and not _NAME.fullmatch(state.follow_up.token):
        yield ["follow_up", "token"], f"{state.follow_up.token[:60]!r} cannot be a name"


def _inconsistencies(state: State) -> Iterator[tuple[list[str | int], str]]:
    if state.schema_version != SCHEMA_VERSION:
        yield ["schema_version"], f"unknown schema {state.schema_version}"
    for key, run in state.runs.items():
        for field, problem in _run_problems(state, run):
            yield ["runs", key, field], problem
    for token, job in state.jobs.items():
        for field, problem in _job_problems(state, job):
            yield ["jobs", token, field], problem
    for node, bad in state.bad_nodes.items():
        if not _is_moment(bad.until):
            yield ["bad_nodes", node, "until"], f'"{bad.until}" {_NO_MOMENT}'
    if state.follow_up is not None:
        for field, problem in _job_problems(state, state.follow_up.job):
            yield ["follow_up", "job", field], problem


def _run_problems(state: State, run: RunRecord) -> Iterator[tuple[str, str]]:
    if run.phase not in state.phases:
        yield "phase", f'unknown phase "{run.phase}"'
    if not 0 <= run.uncounted <= max(0, run.tries):
        yield "uncounted", f"must lie between 0 and its {run.tries} tries"
    if run.tries < 0:
        yield "tries", "cannot be negative"
    if run.failure is not None and run.status is not RunStatus.FAILED:
        yield "failure", "only a failed run has one"
    if (run.status is RunStatus.DONE) is not (run.result_digest is not None):
        yield "status", "a run is done exactly when it has a result_digest"
    if (run.status is RunStatus.PLANNED) is not (run.job is None):
        yield "status", "a run has a job exactly when it is no longer planned"
    if run.job is not None and run.job not in state.jobs:
        yield "job", f'unknown job "{run.job}"'
    elif run.job is not None and not 0 <= (run.task or 0) < len(state.jobs[run.job].tasks):
        yield "task", f"job {run.job} has no task {run.task}"
    if (run.job is None) is not (run.task is None):
        yield "job", "job and task belong together"


def _job_problems(state: State, job: JobRecord) -> Iterator[tuple[str, str]]:
    if not job.tasks:
        yield "tasks", "a job has at least one task"
    for key in (key for task in job.tasks for key in task.runs):
        if key not in state.runs:
            yield "tasks", f'unknown run "{key}"'
    if job.job_id is not None and not is_job_id(job.job_id):
        yield "job_id", f'"{job.job_id}" is no job id'
    if not _is_moment(job.submitted_at):
        yield "submitted_at", f'"{job.submitted_at}" {_NO_MOMENT}'
    for task in job.tasks:
        yield from (("tasks", problem) for problem in _task_problems(task))


def _task_problems(task: TaskRecord) -> Iterator[str]:
    for name in ("started_at", "ended_at", "missing_since"):
        moment = getattr(task, name)
        if moment is not None and not _is_moment(moment):
            yield f'{name}: "{moment}" {_NO_MOMENT}'
    for failure in task.failures:
        if failure.run not in task.runs:
            yield f'failures: "{failure.run}" is none of its runs'


def _is_moment(text: str) -> bool:
    try:
        moment = datetime.fromisoformat(text)
        return moment.tzinfo is not None and moment.year in _YEARS
    except ValueError:
        return False


def position(text: str, path: list[str | int]) -> str:
    """ "line:column" of the value at a key path of valid JSON, or of its nearest parent."""
    index = _skip(text, 0)
    for part in path:
        found = _child(text, index, part)
        if found is None:
            break
        index = found
    line = text.count("\n", 0, index) + 1
    return f"{line}:{index - text.rfind(chr(10), 0, index)}"


def _child(text: str, index: int, part: str | int) -> int | None:
    """Index of the value under a key or position of the container that starts at `index`."""
    opening = text[index]
    if opening not in "{[":
        return None
    decoder, count = json.JSONDecoder(), 0
    index = _skip(text, index + 1)
    while text[index] not in "}]":
        key: str | int = count
        if opening == "{":
            key, index = decoder.raw_decode(text, index)
            index = _skip(text, _skip(text, index) + 1)  # past the colon
        if key == part:
            return index
        _, index = decoder.raw_decode(text, index)
        index = _skip(text, index)
        index = _skip(text, index + 1) if text[index] == "," else index
        count += 1
    return None


def _skip(text: str, index: int) -> int:
    while index < len(text) and text[index] in _WHITESPACE:
        index += 1
    return index
