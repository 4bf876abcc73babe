"""Finds headless Chromium, and installs it where that is allowed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

_PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_PACKAGE = "chromium-headless-shell"
_OPTIONS = ("-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
_INSTALL_S = 600
_DPKG = Path("/var/lib/dpkg")


class NoBrowserError(Exception):
    """There is no Chromium, and this user or machine cannot install one."""


def browser() -> str:
    """Return the path of a Chromium; as root on Debian install one if there is none.

    Raises:
        NoBrowserError: there is none and none can be installed.
    """
    found = _found()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        lock = os.open(_DPKG, os.O_RDONLY)  # apt's own lock on the package lists does not wait
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _found() is None:
                _apt("update", "-qq")
                _apt("install", *_OPTIONS, _PACKAGE)
        finally:
            os.close(lock)
        found = _found()
    if found is None:
        raise NoBrowserError(
            f"none of {', '.join(_PROGRAMS)} on PATH; run this as root on Debian, or once "
            f"`apt-get install --no-install-recommends {_PACKAGE}`"
        )
    return found


def _found() -> str | None:
    return next((path for name in _PROGRAMS if (path := shutil.which(name))), None)


def _apt(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=_INSTALL_S,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).split()[-40:])
        raise NoBrowserError(f"apt-get {arguments[0]} failed: {words}")
