"""The command lines of `up` and `down`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slurm.testcluster.cluster import Cluster
from slurm.testcluster.errors import ClusterError
from slurm.testcluster.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_FAILED = 2


def up(arguments: list[str] | None = None) -> int:
    """Run `up DIR [OPTIONS]`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="up",
        description="Set up and start a private Slurm cluster in DIR, or start it again. "
        "As root on Debian or Ubuntu, missing packages are installed.",
        epilog="Example: up lab && . lab/env.sh && sinfo",
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="new folder for all its files")
    unset = argparse.SUPPRESS
    for name, text in (
        ("nodes", "virtual nodes, a slurmd each"),
        ("cpus", "CPUs that each node claims"),
        ("gpus", "fake A100 GPUs per node"),
        ("memory-mb", "memory that each node claims"),
        ("max-array-size", "Slurm's MaxArraySize"),
        ("port", "first of a block of ports below 32768; 0 chooses a free block"),
    ):
        default = getattr(Settings, name.replace("-", "_"))
        parser.add_argument(
            f"--{name}", type=int, default=unset, metavar="N", help=f"{text} (default: {default})"
        )
    parser.add_argument(
        "--no-accounting",
        dest="accounting",
        action="store_false",
        default=unset,
        help="no database: sacct is disabled and nothing has limits",
    )
    parser.add_argument(
        "--enforce-memory",
        action="store_true",
        default=unset,
        help="kill jobs that take more memory than they asked for",
    )
    parser.add_argument("--no-install", action="store_true", help="install nothing")
    knobs = vars(parser.parse_args(arguments))
    root, install = knobs.pop("dir"), not knobs.pop("no_install")
    return _told(lambda: _up(Cluster(root), knobs, install=install))


def down(arguments: list[str] | None = None) -> int:
    """Run `down DIR [--wipe]`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="down",
        description="Cancel the jobs of the cluster in DIR and stop what `up` started there.",
        epilog="Example: down lab --wipe",
    )
    parser.add_argument("dir", type=Path, metavar="DIR", help="folder given to `up`")
    parser.add_argument("--wipe", action="store_true", help="remove the folder as well")
    options = parser.parse_args(arguments)
    return _told(lambda: Cluster(options.dir).down(wipe=options.wipe))


def _up(cluster: Cluster, knobs: Mapping[str, Any], *, install: bool) -> None:
    cluster.up(knobs, install=install)
    print(f"ready; next: . {cluster.folder.env_file}")


def _told(action: Callable[[], None]) -> int:
    try:
        action()
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return _FAILED
    return 0
