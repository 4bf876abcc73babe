"""The knobs of a cluster, chosen at its first `up` and kept in its folder."""

from __future__ import annotations

import json
import random
import socket
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from slurm.testcluster.errors import ClusterError

if TYPE_CHECKING:
    from pathlib import Path

_LOWEST_PORT = 10_000
_EPHEMERAL_PORTS = 32_768
"""From here on the kernel lends ports to outgoing connections (ip_local_port_range)."""
_PORTS_BEFORE_NODES = 3
_BLOCKS_TRIED = 200


@dataclass(frozen=True)
class Settings:
    """What a cluster is like; what cannot be set here stands in templates/slurm.conf."""

    nodes: int = 4
    cpus: int = 4
    """CPUs that each node claims; the machine may have fewer."""
    gpus: int = 2
    """Fake A100 GPUs per node."""
    memory_mb: int = 4000
    """Memory that each node claims."""
    accounting: bool = True
    """False: no database, sacct is disabled, no account or QOS has limits."""
    max_array_size: int = 1001
    """Slurm's MaxArraySize: the highest array index plus one."""
    enforce_memory: bool = False
    """True: a job that takes more memory than it asked for is killed."""
    port: int = 0
    """First of a block of ports; 0 chooses a free block."""

    def __post_init__(self) -> None:
        for name in ("nodes", "cpus", "gpus", "memory_mb", "max_array_size"):
            if getattr(self, name) < 1:
                raise ClusterError(f"{name} = {getattr(self, name)}: at least 1 is needed")
        if self.port and not 1024 <= self.port <= _EPHEMERAL_PORTS - self.port_count:
            raise ClusterError(
                f"port = {self.port}: {self.port_count} ports from it on must lie between 1024 "
                f"and {_EPHEMERAL_PORTS - 1}, below those the kernel lends out"
            )

    @property
    def port_count(self) -> int:
        """How many ports the cluster takes."""
        return _PORTS_BEFORE_NODES + self.nodes

    @property
    def slurmctld_port(self) -> int:
        """The controller's port."""
        return self.port

    @property
    def slurmdbd_port(self) -> int:
        """The port of the accounting daemon."""
        return self.port + 1

    @property
    def mariadb_port(self) -> int:
        """The database's port."""
        return self.port + 2

    @property
    def first_node_port(self) -> int:
        """The port of node1; the others follow."""
        return self.port + _PORTS_BEFORE_NODES

    @property
    def node_prefix(self) -> str:
        """What stands before a node's number; cgroups are named after nodes, one per machine."""
        return f"node{self.port}-" if self.enforce_memory else "node"

    @property
    def node_names(self) -> tuple[str, ...]:
        """node1, node2, ..."""
        return tuple(f"{self.node_prefix}{number}" for number in range(1, self.nodes + 1))

    def with_free_ports(self) -> Settings:
        """These settings with a block of ports that nobody listens on.

        Raises:
            ClusterError: the ports asked for are taken, or none are free.
        """
        if self.port:
            if not _free(self.port, self.port_count):
                raise ClusterError(
                    f"port = {self.port}: someone listens on one of {self.port_count} ports from "
                    "it on; give another --port, or none to choose a free block"
                )
            return self
        last = _EPHEMERAL_PORTS - self.port_count
        for _ in range(_BLOCKS_TRIED):
            port = random.randint(_LOWEST_PORT, last)
            if _free(port, self.port_count):
                return replace(self, port=port)
        raise ClusterError(f"no {self.port_count} free ports in a row below {_EPHEMERAL_PORTS}")


def load_settings(path: Path) -> Settings | None:
    """The settings a cluster was set up with; None before its first `up`.

    Raises:
        ClusterError: the file is not ours.
    """
    try:
        return Settings(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise ClusterError(f"{path}: not the settings of a test cluster ({error})") from None


def save_settings(path: Path, settings: Settings) -> None:
    """Write the settings down for later calls of `up` and `down`."""
    path.write_text(json.dumps(asdict(settings), indent=1) + "\n", encoding="utf-8")


def _free(first: int, count: int) -> bool:
    """True when nobody listens on any port of the block."""
    for port in range(first, first + count):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TIME_WAIT is free
            try:
                probe.bind(("", port))
            except OSError:
                return False
    return True
