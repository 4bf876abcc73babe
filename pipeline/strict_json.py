"""JSON as the standard has it: no key twice, no nan, no number beyond all bounds; says where."""

import json
from typing import Any, NoReturn


class JsonError(ValueError):
    """What is wrong with a text, as "line:column: message"."""


def decoded(content: bytes) -> str:
    """The text of a UTF-8 file; a leading byte-order mark is allowed.

    Raises:
        JsonError: it is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise JsonError(f"{line}:1: not UTF-8") from None


def parsed(text: str) -> Any:
    """The value that a text holds.

    Raises:
        JsonError: not JSON, or JSON of which two readers could make two different things.
    """
    try:
        return json.loads(text, object_pairs_hook=_table, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise JsonError(f"{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
    except RecursionError:
        raise JsonError("1:1: nested too deeply") from None
    except JsonError:
        raise
    except ValueError as error:  # Python's bound on the digits of a number
        raise JsonError(f"1:1: not valid JSON: {error}") from None


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonError(f"1:1: the key {json.dumps(twice)} stands twice in one table")
    return table


def _refuse(name: str) -> NoReturn:
    raise JsonError(f"1:1: {name} is no number of JSON")
