"""The daemons of a cluster: how each is started, in which order, and when it is ready."""

from __future__ import annotations

import signal
import socket
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from slurm.testcluster import processes
from slurm.testcluster.configuration import user_name
from slurm.testcluster.errors import ClusterError
from slurm.testcluster.packages import program, search_path
from slurm.testcluster.processes import Process, recorded, spawn, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from slurm.testcluster.folder import Folder
    from slurm.testcluster.settings import Settings

NODE_VARIABLE = "SLURMD_NODENAME"
"""Slurm sets it in what a job runs on a node, and nowhere else."""

_CLIENT_TIMEOUT_S = 60
_READY_S = 60


def environment(folder: Folder) -> dict[str, str]:
    """What daemons and clients of the cluster see, and nothing of the caller's own jobs."""
    return {"SLURM_CONF": str(folder.slurm_conf), "PATH": search_path(), "LC_ALL": "C"}


def succeeds(folder: Folder, *command: str) -> bool:
    """Whether a client command of the cluster ends with status 0."""
    try:
        done = subprocess.run(
            [program(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(folder),
            timeout=_CLIENT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@dataclass(frozen=True)
class Daemon:
    """One daemon of a cluster; started in the foreground, so that its pid is known for sure."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    record: Path
    ready: Callable[[], bool]
    patience_s: float = 10.0
    """How long it may take to end before it is killed."""

    @property
    def process(self) -> Process | None:
        """Its process while it runs."""
        process = recorded(self.record)
        return process if process is not None and process.alive else None

    def start(self) -> None:
        """Start it unless it runs (frozen, it goes on), and wait until it answers.

        Raises:
            ClusterError: it ended, or did not answer in time; with the end of its log.
        """
        process = self.process
        if process is None:
            spawn(self.command, self.environment, self.log, self.record)
        else:
            process.send(signal.SIGCONT)
        wait_until(self._answers, f"{self.name} answers", _READY_S, self.log)

    def stop(self) -> None:
        """End it as its service would, by force when that takes too long."""
        if self.process is not None:
            processes.end([self.process], self.patience_s)
        self.record.unlink(missing_ok=True)

    def kill(self) -> None:
        """End it without warning, as a crash does."""
        if self.process is not None:
            processes.kill([self.process])

    def freeze(self) -> None:
        """Let it hang: connections are accepted by the kernel, and nobody answers."""
        self._running().send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on with all that waits for it."""
        self._running().send(signal.SIGCONT)

    def _running(self) -> Process:
        process = self.process
        if process is None:
            raise ClusterError(f"{self.name} does not run")
        return process

    def _answers(self) -> bool:
        if self.process is None:
            raise ClusterError(f"{self.name} ended at once{processes.end_of(self.log)}")
        return self.ready()


def daemons_of(folder: Folder, settings: Settings) -> list[Daemon]:
    """All daemons in the order they are started in; they are stopped in the opposite one."""
    found = [_munged(folder)]
    if settings.accounting:
        found += [_mariadbd(folder, settings.mariadb_port), _slurmdbd(folder)]
    found.append(_slurmctld(folder))
    return found + [_slurmd(folder, name) for name in settings.node_names]


def _daemon(
    folder: Folder, name: str, command: tuple[str, ...], ready: Callable[[], bool]
) -> Daemon:
    path, *arguments = command
    return Daemon(
        name=name,
        command=(program(path), *arguments),
        environment=environment(folder),
        log=folder.log / f"{name}.log",
        record=folder.run / f"{name}.json",
        ready=ready,
    )


def _munged(folder: Folder) -> Daemon:
    command = (
        "munged",
        "--foreground",
        "--force",  # a folder that others cannot enter, such as a home, is good enough
        f"--key-file={folder.munge_key}",
        f"--socket={folder.munge_socket}",
        f"--pid-file={folder.run}/munged.munge-pid",
        f"--seed-file={folder.run}/munged.seed",
        "--num-threads=4",
    )
    socket_file = str(folder.munge_socket)
    return _daemon(
        folder,
        "munged",
        command,
        lambda: succeeds(folder, "munge", "--no-input", f"--socket={socket_file}"),
    )


def _mariadbd(folder: Folder, port: int) -> Daemon:
    command = (
        "mariadbd",
        "--no-defaults",
        f"--user={user_name()}",
        f"--datadir={folder.database}",
        f"--tmpdir={folder.tmp}",
        f"--socket={folder.mariadb_socket}",
        f"--pid-file={folder.run}/mariadbd.mariadb-pid",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--skip-name-resolve",
        f"--init-file={folder.etc}/database.sql",
        "--innodb-buffer-pool-size=64M",
        "--innodb-lock-wait-timeout=900",  # slurmdbd asks for it
        "--innodb-flush-log-at-trx-commit=0",  # a crash of the machine may cost a second
        "--skip-log-bin",
    )
    return _daemon(folder, "mariadbd", command, lambda: _listens(port))


def _slurmdbd(folder: Folder) -> Daemon:
    return _daemon(
        folder,
        "slurmdbd",
        ("slurmdbd", "-D"),
        lambda: succeeds(folder, "sacctmgr", "--noheader", "show", "cluster"),
    )


def _slurmctld(folder: Folder) -> Daemon:
    return _daemon(
        folder,
        "slurmctld",
        ("slurmctld", "-D"),
        lambda: succeeds(folder, "scontrol", "ping"),
    )


def _slurmd(folder: Folder, node: str) -> Daemon:
    daemon = _daemon(
        folder,
        node,
        ("slurmd", "-D", "-N", node),
        lambda: True,  # slurmctld says when: Cluster waits for the nodes
    )
    # The keepers of its jobs inherit this, so that they are found when they outlive it.
    return replace(daemon, environment={**daemon.environment, NODE_VARIABLE: node})


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
