"""Brings the JSON of an older state file to the schema of this version. Pure.

Only what reads files from before needs this; nothing writes an older schema.
"""

from typing import Any


def migrated(data: Any) -> Any:
    """The same state in today's schema; anything else, and what is no state, as it is."""
    if isinstance(data, dict) and data.get("schema_version") == 1:
        return _from_1(data)
    return data


def _from_1(data: dict[str, Any]) -> dict[str, Any]:
    """Version 1 knew no classes of failure: a run that failed then waits for a person."""
    new = {**data, "schema_version": 2, "bad_nodes": {}}
    if isinstance(data.get("runs"), dict):
        new["runs"] = {key: _run_from_1(run) for key, run in data["runs"].items()}
    return new


def _run_from_1(run: Any) -> Any:
    failed = isinstance(run, dict) and run.get("status") == "failed"
    return {**run, "settled": True} if failed else run
