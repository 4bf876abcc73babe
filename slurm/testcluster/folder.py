"""Where everything lies in a cluster's folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slurm.testcluster.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

_SOCKET_PATH_BYTES = 107  # sun_path of sockaddr_un, less the closing zero


@dataclass(frozen=True)
class Folder:
    """A cluster's folder; nothing of a cluster lies elsewhere."""

    root: Path

    def __post_init__(self) -> None:
        longest = len(bytes(self.munge_socket))
        if longest > _SOCKET_PATH_BYTES:
            raise ClusterError(
                f"{self.root}: too long by {longest - _SOCKET_PATH_BYTES} characters for the "
                "sockets that lie in it; choose a shorter path"
            )
        if any(character.isspace() or character in "#,'\"$" for character in str(self.root)):
            raise ClusterError(f"{self.root}: Slurm cannot have spaces or any of # , ' \" $ in it")

    def make(self) -> None:
        """Make the folder and its parts."""
        for part in (self.etc, self.run, self.log, self.state, self.spool, self.gpu, self.tmp):
            part.mkdir(mode=0o755, parents=True, exist_ok=True)

    @property
    def settings_file(self) -> Path:
        """The settings of the first `up`."""
        return self.root / "cluster.json"

    @property
    def lock_file(self) -> Path:
        """Held by `up` and `down`."""
        return self.root / "lock"

    @property
    def env_file(self) -> Path:
        """What a shell reads to use the cluster."""
        return self.root / "env.sh"

    @property
    def profiles_file(self) -> Path:
        """Profiles of this cluster for `pipeline`."""
        return self.root / "profiles.toml"

    @property
    def etc(self) -> Path:
        """Configuration, the munge key and the database's password."""
        return self.root / "etc"

    @property
    def run(self) -> Path:
        """Who runs (one file per daemon), and sockets."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """What every daemon says."""
        return self.root / "log"

    @property
    def state(self) -> Path:
        """What slurmctld knows of jobs."""
        return self.root / "state"

    @property
    def spool(self) -> Path:
        """One folder per node: its slurmd's own files."""
        return self.root / "spool"

    @property
    def database(self) -> Path:
        """MariaDB's data."""
        return self.root / "db"

    @property
    def tmp(self) -> Path:
        """MariaDB's temporary tables: in /tmp, another MariaDB that starts would remove them."""
        return self.root / "tmp"

    @property
    def gpu(self) -> Path:
        """The fake GPUs."""
        return self.root / "gpu"

    @property
    def slurm_conf(self) -> Path:
        """What SLURM_CONF names: it tells one cluster from another."""
        return self.etc / "slurm.conf"

    @property
    def munge_key(self) -> Path:
        """The cluster's own secret."""
        return self.etc / "munge.key"

    @property
    def munge_socket(self) -> Path:
        """Where munged answers."""
        return self.run / "munge.sock"

    @property
    def mariadb_socket(self) -> Path:
        """Where MariaDB answers besides its port."""
        return self.run / "sql.sock"

    @property
    def accounts_ready(self) -> Path:
        """There once accounts and QOSes are in the database."""
        return self.database / "accounts-ready"
