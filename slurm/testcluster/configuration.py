"""A cluster's configuration files: the templates with its settings put in."""

from __future__ import annotations

import os
import pwd
import secrets
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from slurm.testcluster import memory

if TYPE_CHECKING:
    from slurm.testcluster.folder import Folder
    from slurm.testcluster.settings import Settings

SUBMIT_LIMIT = 4
"""Jobs that each limit on submissions admits (array elements count one by one)."""

_TEMPLATES = Path(__file__).with_name("templates")
_KEY_BYTES = 128


def user_name() -> str:
    """The user all daemons and jobs run as."""
    return pwd.getpwuid(os.geteuid()).pw_name


def configure(folder: Folder, settings: Settings) -> None:
    """Write every file that the daemons and clients read."""
    _make_secrets(folder)
    _make_gpus(folder, settings.gpus)
    accounting = "accounting-on.conf" if settings.accounting else "accounting-off.conf"
    values = _values(folder, settings)
    values["accounting"] = _rendered(accounting, values)
    for name in ("slurm.conf", "gres.conf", "cgroup.conf"):
        (folder.etc / name).write_text(_rendered(name, values), encoding="utf-8")
    if settings.accounting:
        for name in ("slurmdbd.conf", "database.sql", "accounts.sacctmgr"):
            _write_private(folder.etc / name, _rendered(name, values).encode())
    folder.env_file.write_text(_rendered("env.sh", values), encoding="utf-8")
    folder.profiles_file.write_text(_rendered("profiles.toml", values), encoding="utf-8")


def _values(folder: Folder, settings: Settings) -> dict[str, str | int]:
    last_port = settings.first_node_port + settings.nodes - 1
    several = settings.nodes > 1
    return {
        "user": user_name(),
        "run": str(folder.run),
        "state": str(folder.state),
        "spool": str(folder.spool),
        "slurm_conf": str(folder.slurm_conf),
        "munge_socket": str(folder.munge_socket),
        "password": _password_file(folder).read_text(encoding="utf-8"),
        "slurmctld_port": settings.slurmctld_port,
        "slurmdbd_port": settings.slurmdbd_port,
        "mariadb_port": settings.mariadb_port,
        "node_ports": f"[{settings.first_node_port}-{last_port}]" if several else last_port,
        "nodes": settings.nodes,
        "node_prefix": settings.node_prefix,
        "cpus": settings.cpus,
        "memory_mb": settings.memory_mb,
        "gpus": settings.gpus,
        "gpu_files": f"{folder.gpu}/nvidia[0-{settings.gpus - 1}]",
        "max_array_size": settings.max_array_size,
        "submit_limit": SUBMIT_LIMIT,
        **memory.configuration(enforced=settings.enforce_memory),
    }


def _rendered(name: str, values: dict[str, str | int]) -> str:
    template = (_TEMPLATES / name).read_text(encoding="utf-8")
    return Template(template).substitute(values)


def _password_file(folder: Folder) -> Path:
    return folder.etc / "database-password"


def _make_secrets(folder: Folder) -> None:
    if not folder.munge_key.exists():
        _write_private(folder.munge_key, secrets.token_bytes(_KEY_BYTES))
    if not _password_file(folder).exists():
        _write_private(_password_file(folder), secrets.token_hex(16).encode())


def _make_gpus(folder: Folder, count: int) -> None:
    """Slurm wants a device file per GPU, numbered as CUDA_VISIBLE_DEVICES is to be."""
    for index in range(count):
        device = folder.gpu / f"nvidia{index}"
        if not device.is_symlink():
            device.symlink_to(os.devnull)


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read: munged and slurmdbd insist on it."""
    path.touch(mode=0o600)
    path.write_bytes(content)
