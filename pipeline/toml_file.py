"""Reads a TOML file that a person wrote; what is wrong with it is said in one line."""

import tomllib
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError


def read_toml(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Return the file's bytes and what they say; a leading byte-order mark is allowed.

    Raises:
        PipelineError: it cannot be read, is not UTF-8, or is not TOML (with line and column).
    """
    try:
        content = path.read_bytes()
        return content, tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path.name}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise PipelineError(f"{path.name}: not valid TOML: {error}") from error
