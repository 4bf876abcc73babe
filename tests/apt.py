"""Installs a program that tests need, where that is allowed: as root on Debian."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_OPTIONS = ("-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300")
_INSTALL_S = 600
_DPKG = Path("/var/lib/dpkg")


class NotInstalledError(Exception):
    """The program is not here, and this user or machine cannot install it."""


def program(names: Sequence[str], package: str) -> str:
    """Return the path of the first of these programs that is here, installed if need be.

    Raises:
        NotInstalledError: none is here and none can be installed.
    """
    found = _found(names)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        lock = os.open(_DPKG, os.O_RDONLY)  # apt's own lock on the package lists does not wait
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _found(names) is None:
                _apt("update", "-qq")
                _apt("install", *_OPTIONS, package)
        finally:
            os.close(lock)
        found = _found(names)
    if found is None:
        raise NotInstalledError(
            f"none of {', '.join(names)} on PATH; run this as root on Debian, or once "
            f"`apt-get install --no-install-recommends {package}`"
        )
    return found


def _found(names: Sequence[str]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


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
        raise NotInstalledError(f"apt-get {arguments[0]} failed: {words}")
