"""What git knows of a folder; None wherever there is no git, no repository, or no answer."""

import subprocess
from pathlib import Path

_TIMEOUT_S = 20


def toplevel(folder: Path) -> Path | None:
    """Root of the working tree that a folder lies in."""
    found = _git(folder, "rev-parse", "--show-toplevel")
    return Path(found.rstrip("\n")).resolve() if found and found.strip() else None


def commit(folder: Path) -> str | None:
    """The commit that is checked out."""
    found = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    return found.strip() if found else None


def tracked(top: Path) -> list[str] | None:
    """Paths of all tracked files, those of submodules included."""
    return _paths(_git(top, "ls-files", "-z", "--cached", "--recurse-submodules"))


def untracked(top: Path) -> list[str] | None:
    """Paths of the files that are neither tracked nor ignored."""
    return _paths(_git(top, "ls-files", "-z", "--others", "--exclude-standard"))


def changed(top: Path) -> list[str] | None:
    """Paths of tracked files that differ from the commit, deleted ones included."""
    return _paths(_git(top, "diff", "--name-only", "-z", "--no-ext-diff", "HEAD"))


def diff(top: Path) -> str | None:
    """The tracked files' difference from the commit, as a patch."""
    return _git(top, "diff", "--no-color", "--no-ext-diff", "HEAD")


def _paths(output: str | None) -> list[str] | None:
    return None if output is None else [path for path in output.split("\0") if path]


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",  # file names may be any bytes
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
