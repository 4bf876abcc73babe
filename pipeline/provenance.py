"""Where things come from: clock, tokens, git, versions, machine. An edge: nothing here is pure."""

import importlib.metadata
import platform
import secrets
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from pipeline.digest import digest_of
from pipeline.results import Code

_GIT_TIMEOUT_S = 20


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


def code_of(trainer_reference: str) -> Code:
    """Commit, dirty flag and source digest of the package a trainer lives in.

    The digest is over the files themselves, so that it holds without git and for a dirty tree.
    """
    package = trainer_reference.partition(":")[0].partition(".")[0]
    module = sys.modules[package]
    folders = [Path(place) for place in getattr(module, "__path__", ())]
    origin = folders[0] if folders else Path(str(module.__file__))
    sources = sorted(origin.rglob("*.py")) if folders else [origin]
    folder = folders[0] if folders else origin.parent
    digests = {
        path.relative_to(folder).as_posix(): digest_of(path.read_bytes()) for path in sources
    }
    commit = _git(folder, "rev-parse", "HEAD")
    tracked = commit is not None and _git(folder, "ls-files", "--error-unmatch", str(sources[0]))
    return Code(
        commit=commit if tracked else None,
        dirty=bool(_git(folder, "status", "--porcelain", "--untracked-files=no", "."))
        if tracked
        else None,
        source_digest=digest_of(digests),
    )


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None when there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
