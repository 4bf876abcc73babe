"""Where things come from: clock, tokens, versions, machine. An edge: nothing here is pure."""

import importlib.metadata
import platform
import secrets
import socket
from datetime import UTC, datetime


def now() -> str:
    """The time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def age_s(moment: str) -> float:
    """Seconds since a moment that `now` gave."""
    return (datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds()


def new_token() -> str:
    """A name for one submission, unique for all practical purposes."""
    return secrets.token_hex(5)


def node_name() -> str:
    """Name of the machine this runs on."""
    return socket.gethostname()


def versions() -> dict[str, str]:
    """Versions that decide what the code computes."""
    found = {"python": platform.python_version()}
    for package in ("study-pipeline", "torch", "numpy", "scipy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
