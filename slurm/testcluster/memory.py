"""Memory limits that bite: by cgroups where this machine lets us, else by sampling."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONTROLLER = Path("/sys/fs/cgroup/memory")
"""Of cgroup v1; with v2, Slurm 22.05 wants systemd."""

_UNENFORCED = {"task_plugin": "none", "over_memory": "", "cgroup": "ConstrainCores=no"}
_SAMPLED = {**_UNENFORCED, "over_memory": "JobAcctGatherParams=OverMemoryKill"}
_CONSTRAINED = {
    **_UNENFORCED,
    "task_plugin": "cgroup",
    "cgroup": "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\n"
    "ConstrainRAMSpace=yes\nConstrainSwapSpace=no",
}


def by_cgroups() -> bool:
    """Whether a job that takes too much can be killed by the kernel, as on most clusters."""
    return (_CONTROLLER / "memory.limit_in_bytes").exists() and os.access(_CONTROLLER, os.W_OK)


def configuration(*, enforced: bool) -> dict[str, str]:
    """What the configuration files say of it."""
    if not enforced:
        return _UNENFORCED
    return _CONSTRAINED if by_cgroups() else _SAMPLED


def clear_up(node_names: Iterable[str]) -> None:
    """Remove the cgroups of nodes; slurmd leaves them behind, and those of jobs when it dies."""
    for name in node_names:
        top = _CONTROLLER / f"slurm_{name}"
        for group in sorted(top.glob("**/"), key=lambda path: len(path.parts), reverse=True):
            with suppress(OSError):  # somebody is still in it
                group.rmdir()
