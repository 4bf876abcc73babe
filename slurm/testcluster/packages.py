"""What must be installed for a cluster, and installing it with apt."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from slurm.testcluster.errors import NotInstalledError

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAMS = {
    "munge": ("munged", "munge"),
    "slurm-wlm": ("slurmctld", "slurmd", "sbatch", "scontrol"),
}
_ACCOUNTING_PROGRAMS = {
    "slurmdbd": ("slurmdbd", "sacctmgr"),
    "mariadb-server": ("mariadbd", "mariadb-install-db"),
}
_POLICY = Path("/usr/sbin/policy-rc.d")
_APT = Path("/var/lib/dpkg")


def program(name: str) -> str:
    """Path of an installed program; daemons lie in sbin, which users may not have on PATH.

    Raises:
        NotInstalledError: it is not installed.
    """
    found = _found(name)
    if found is None:
        raise NotInstalledError(f"{name} is not installed")
    return found


def search_path() -> str:
    """PATH with the folders that daemons lie in."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])


def ensure_installed(*, accounting: bool, install: bool) -> None:
    """Make sure that all programs are there; as root on Debian and Ubuntu by installing them.

    Raises:
        NotInstalledError: some are missing and cannot be installed.
    """
    packages = _missing(accounting=accounting)
    if not packages:
        return
    names = " ".join(packages)
    if not install or os.geteuid() != 0 or _found("apt-get") is None:
        raise NotInstalledError(
            f"not installed: {names}; run this as root on Debian or Ubuntu, "
            f"or once `apt-get install --no-install-recommends {names}`"
        )
    with _alone():
        packages = _missing(accounting=accounting)
        if packages:
            _install(packages)
    left = _missing(accounting=accounting)
    if left:
        raise NotInstalledError(f"installed, and yet programs are missing of: {' '.join(left)}")


def _missing(*, accounting: bool) -> list[str]:
    """Packages of which a program is not there."""
    wanted = _PROGRAMS | (_ACCOUNTING_PROGRAMS if accounting else {})
    return [name for name, programs in wanted.items() if any(_found(p) is None for p in programs)]


def _found(name: str) -> str | None:
    return shutil.which(name, path=search_path())


def _install(packages: list[str]) -> None:
    options = ["-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"]
    with _no_services():
        _apt("update", "-qq")
        _apt("install", *options, *packages)


def _apt(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode != 0:
        words = " ".join((done.stderr or done.stdout).split()[-40:])
        raise NotInstalledError(f"apt-get {arguments[0]} failed: {words}")


@contextmanager
def _alone() -> Iterator[None]:
    """One installation at a time: apt's own lock on the package lists does not wait."""
    lock = os.open(_APT, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep the packages from starting services of their own (unless that is forbidden anyway)."""
    if _POLICY.exists():
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()
