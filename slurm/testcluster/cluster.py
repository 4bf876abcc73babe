"""A cluster in a folder: brought up, taken down, and its daemons one by one."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from slurm.testcluster import memory, processes
from slurm.testcluster.configuration import configure, user_name
from slurm.testcluster.daemons import NODE_VARIABLE, Daemon, daemons_of, environment, succeeds
from slurm.testcluster.errors import ClusterError
from slurm.testcluster.folder import Folder
from slurm.testcluster.packages import ensure_installed, program
from slurm.testcluster.processes import processes_with, wait_until
from slurm.testcluster.settings import Settings, load_settings, save_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_CLIENT_TIMEOUT_S = 60
_NODES_S = 60
_CANCEL_S = 10
_RESPONDING = "idle,mixed,allocated,completing,drained,draining,reserved"


class Cluster:
    """A private Slurm cluster; `up` and `down` may be called again at any time."""

    def __init__(self, root: Path) -> None:
        self.folder = Folder(root.absolute())

    @property
    def settings(self) -> Settings | None:
        """What it was set up with; None before its first `up`."""
        return load_settings(self.folder.settings_file)

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables with which a client command talks to this cluster."""
        return environment(self.folder)

    def up(self, knobs: Mapping[str, Any] | None = None, *, install: bool = True) -> None:
        """Install, configure and start whatever is not there yet, and wait until nodes answer.

        Args:
            knobs: fields of `Settings`; they cannot be changed once the folder is set up.
            install: install missing packages, when this is root on Debian or Ubuntu.

        Raises:
            ClusterError: it cannot; the message says what to do.
        """
        settings = self._agreed(knobs or {})
        ensure_installed(accounting=settings.accounting, install=install)
        self.folder.root.mkdir(parents=True, exist_ok=True)
        with self._alone():
            settings = self._kept(settings)
            self.folder.make()
            configure(self.folder, settings)
            if settings.accounting:
                self._make_database()
            for daemon in daemons_of(self.folder, settings):
                daemon.start()
                if daemon.name == "slurmctld" and settings.accounting:
                    self._make_accounts()
            first = self.daemon(settings.node_names[0])
            wait_until(self._nodes_answer, "all nodes answer", _NODES_S, first.log)

    def down(self, *, wipe: bool = False) -> None:
        """Cancel its jobs, stop its daemons and whatever jobs left behind.

        Args:
            wipe: also remove the folder, with everything in it.
        """
        settings = self.settings
        if settings is not None:
            with self._alone():
                daemons = daemons_of(self.folder, settings)
                if not wipe and self._controller_answers():
                    self.cancel_all()
                for daemon in reversed(daemons):
                    daemon.stop()
                processes.kill(self._left_behind())
                if settings.enforce_memory:
                    memory.clear_up(settings.node_names)
            if wipe:
                shutil.rmtree(self.folder.root)

    def daemon(self, name: str) -> Daemon:
        """munged, mariadbd, slurmdbd, slurmctld, node1, node2, ...

        Raises:
            ClusterError: this cluster has no such daemon.
        """
        settings = self.settings
        for daemon in daemons_of(self.folder, settings) if settings else ():
            if daemon.name == name:
                return daemon
        raise ClusterError(f"{self.folder.root}: no daemon {name} in this cluster")

    def run(self, *command: str) -> str:
        """Output of a client command, which must succeed.

        Raises:
            ClusterError: it failed; with its words.
        """
        done = subprocess.run(
            [program(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=dict(self.environment),
            timeout=_CLIENT_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            words = " ".join((done.stderr or done.stdout).split())
            raise ClusterError(f"{' '.join(command)}: {words}")
        return done.stdout

    def cancel_all(self) -> None:
        """Cancel every job and wait until all have ended, but not for those on dead nodes."""
        self.run("scancel", "--quiet", f"--user={user_name()}")
        with suppress(ClusterError):
            wait_until(lambda: not self.run("squeue", "--noheader"), "all jobs end", _CANCEL_S)

    def _controller_answers(self) -> bool:
        return self.daemon("slurmctld").process is not None and succeeds(
            self.folder, "scontrol", "ping"
        )

    def _agreed(self, knobs: Mapping[str, Any]) -> Settings:
        """The settings it has, or gets now."""
        there, root = self.settings, self.folder.root
        if there is None:
            if root.exists() and set(root.iterdir()) - {self.folder.lock_file}:
                raise ClusterError(f"{root}: holds other things; name a new or empty folder")
            return Settings(**knobs)
        other = [name for name, value in knobs.items() if getattr(there, name) != value]
        if other:
            raise ClusterError(
                f"{root}: was set up with {other[0]} = {getattr(there, other[0])}; "
                "to change that, take it down with --wipe first"
            )
        return there

    def _kept(self, settings: Settings) -> Settings:
        """Write settings down at the first `up`, with the ports that are free now."""
        there = self.settings
        if there is not None:
            return there
        settings = settings.with_free_ports()
        save_settings(self.folder.settings_file, settings)
        return settings

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One `up` or `down` at a time."""
        with self.folder.lock_file.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _make_database(self) -> None:
        folder = self.folder
        if (folder.database / "mysql").exists():
            return
        done = subprocess.run(
            [
                program("mariadb-install-db"),
                "--no-defaults",
                f"--user={user_name()}",
                f"--datadir={folder.database}",
                f"--tmpdir={folder.tmp}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(folder.database, ignore_errors=True)
            raise ClusterError(f"mariadb-install-db failed: {done.stderr or done.stdout}")

    def _make_accounts(self) -> None:
        """Accounts, QOSes and their limits, once in the life of the database."""
        if self.folder.accounts_ready.exists():
            return
        commands = (self.folder.etc / "accounts.sacctmgr").read_text(encoding="utf-8")
        done = subprocess.run(
            [program("sacctmgr"), "--immediate", "--quiet"],
            input=commands,
            capture_output=True,
            text=True,
            env=dict(self.environment),
            timeout=_CLIENT_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise ClusterError(f"sacctmgr refused the accounts: {' '.join(done.stderr.split())}")
        self.folder.accounts_ready.touch()

    def _nodes_answer(self) -> bool:
        settings = self.settings
        assert settings is not None
        names = self.run(
            "sinfo",
            "--noheader",
            "--Node",
            "--responding",
            f"--states={_RESPONDING}",
            "--format=%N",
        )
        return set(names.split()) == set(settings.node_names)

    def _left_behind(self) -> list[processes.Process]:
        """Jobs and their keepers that outlived their slurmd."""
        ours = str(self.folder.slurm_conf)
        return processes_with(
            lambda environment: (
                environment.get("SLURM_CONF") == ours and NODE_VARIABLE in environment
            )
        )
