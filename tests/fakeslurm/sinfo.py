"""The fake sinfo: partitions and nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .model import Config, Reply
from .options import Options
from .squeue import render
from .store import Cluster
from .text import clock, format_indices

OPTIONS = Options(
    "sinfo",
    "Node.N exact.e format=o noheader.h partition=p states=t summarize.s nodes=n version.V all.a",
)
DEFAULT_FORMAT = "%9P %.5a %.10l %.6D %.6t %N"
SHORT = {"allocated": "alloc", "mixed": "mix"}


@dataclass
class Group:
    """A line of sinfo: nodes of one partition that are in the same state."""

    config: Config
    partition: str
    state: str
    nodes: list[int]
    used: int

    @property
    def node_list(self) -> str:
        """``node3`` or ``node[1-4]``."""
        shown = format_indices(self.nodes)
        return f"node{shown}" if len(self.nodes) == 1 else f"node[{shown}]"

    @property
    def cpus(self) -> str:
        """CPUs allocated, idle, other, in all."""
        total = self.config.cpus * len(self.nodes)
        return f"{self.used}/{total - self.used}/0/{total}"

    @property
    def name(self) -> str:
        """The partition, the default one with a star."""
        first = next(iter(self.config.partitions))
        return self.partition + ("*" if self.partition == first else "")

    @property
    def gres(self) -> str:
        """The GPUs of each node."""
        config = self.config
        return f"gpu:{config.gpu_type}:{config.gpus}" if config.gpus else "(null)"


COLUMNS: dict[str, tuple[str, Callable[[Group], str]]] = {
    "P": ("PARTITION", lambda g: g.name),
    "R": ("PARTITION", lambda g: g.partition),
    "a": ("AVAIL", lambda _: "up"),
    "l": ("TIMELIMIT", lambda g: clock(g.config.partitions[g.partition] * 60)),
    "D": ("NODES", lambda g: str(len(g.nodes))),
    "T": ("STATE", lambda g: g.state),
    "t": ("STATE", lambda g: SHORT.get(g.state, g.state)),
    "N": ("NODELIST", lambda g: g.node_list),
    "G": ("GRES", lambda g: g.gres),
    "c": ("CPUS", lambda g: str(g.config.cpus)),
    "m": ("MEMORY", lambda g: str(g.config.memory_mb)),
    "f": ("AVAIL_FEATURES", lambda g: g.config.features),
    "C": ("CPUS(A/I/O/T)", lambda g: g.cpus),
}


def main(cluster: Cluster, argv: list[str]) -> Reply:
    """Lists partitions, with their nodes grouped by state (each by itself with -N)."""
    given, _ = OPTIONS.parse(argv)
    if "version" in given:
        return Reply("slurm-wlm 22.05.8\n")
    groups = [
        group
        for partition in cluster.config().partitions
        if given.get("partition", partition) == partition
        for group in _groups(cluster, partition, "Node" in given)
    ]
    if "Node" in given:
        groups.sort(key=lambda group: group.nodes)
    form = given.get("format", DEFAULT_FORMAT)
    lines = [] if "noheader" in given else [render(form, lambda x: COLUMNS[x][0])]
    lines += [render(form, _reader(group)) for group in groups]
    return Reply("".join(f"{line}\n" for line in lines))


def _reader(group: Group) -> Callable[[str], str]:
    return lambda letter: COLUMNS[letter][1](group)


def _groups(cluster: Cluster, partition: str, one_by_one: bool) -> list[Group]:
    config = cluster.config()
    used = dict.fromkeys(range(1, config.nodes + 1), 0)
    for job in cluster.jobs():
        number = int(job.node.removeprefix("node") or 0)
        if job.live and number in used:
            used[number] += job.spec.cpu_count
    found: dict[str, Group] = {}
    for number, cpus in used.items():
        state = "idle" if not cpus else "mixed" if cpus < config.cpus else "allocated"
        if number in config.drained:
            state = "draining" if cpus else "drained"
        key = f"{number}" if one_by_one else state
        group = found.setdefault(key, Group(config, partition, state, [], 0))
        group.nodes.append(number)
        group.used += cpus
    return list(found.values())
