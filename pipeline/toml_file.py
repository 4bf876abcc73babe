"""Reads a TOML file that a person wrote; what is wrong with it is said in one line."""

import tomllib
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError
from pipeline.files import read_bytes

_MOST_BYTES = 16 << 20
_MOST_LEVELS = 50


def read_toml(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the file's bytes and what they say; a leading byte-order mark is allowed.

    Raises:
        PipelineError: it cannot be read, is not UTF-8, or is not TOML (with line and column).
    """
    try:
        content = read_bytes(path, _MOST_BYTES)
        data = tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        kind = "UTF-16" if content.startswith((BOM_UTF16_BE, BOM_UTF16_LE)) else "not UTF-8"
        raise PipelineError(f"{path.name}:{line}: {kind}; save it as UTF-8") from error
    except RecursionError:
        raise PipelineError(f"{path.name}: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError; Python's own on a number of too many digits
        raise PipelineError(f"{path.name}: not valid TOML: {error}") from error
    if _is_deep(data):
        raise PipelineError(f"{path.name}: nested too deeply")
    return content, data


def _is_deep(data: Any) -> bool:
    """Dotted keys lead to any depth without a bracket; what walks tables cannot follow that."""
    level = [data]
    for _ in range(_MOST_LEVELS):
        inner = (value.values() if isinstance(value, dict) else value for value in level)
        level = [item for items in inner for item in items if isinstance(item, dict | list)]
    return bool(level)
