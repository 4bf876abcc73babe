"""What a Slurm cluster offers and allows, as typed facts. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

_OUT_OF_SERVICE = frozenset(
    ["down", "drain", "drained", "draining", "fail", "failing", "error", "inval", "unknown",
     "future", "powered_down"]
)  # fmt: skip


@dataclass(frozen=True)
class Gres:
    """A generic resource: `name:type:count`; `type` is empty where Slurm names none."""

    name: str
    type: str
    count: int


@dataclass(frozen=True)
class NodeShape:
    """Nodes of one partition that are alike and in the same state."""

    partition: str
    state: str
    count: int
    cpus: int
    memory_mb: int
    gres: tuple[Gres, ...] = ()
    features: frozenset[str] = frozenset()

    @property
    def in_service(self) -> bool:
        """False when nothing is started there now: down, drained, failing."""
        return self.state.rstrip("*~#!%$@^-+") not in _OUT_OF_SERVICE


@dataclass(frozen=True)
class Partition:
    """One partition. An empty set of allowed names means that all are allowed."""

    name: str
    state: str = "UP"
    default: bool = False
    max_time_min: int | None = None
    max_cpus_per_node: int | None = None
    max_memory_mb_per_node: int | None = None
    qos: str | None = None
    allow_accounts: frozenset[str] = frozenset()
    deny_accounts: frozenset[str] = frozenset()
    allow_qos: frozenset[str] = frozenset()
    deny_qos: frozenset[str] = frozenset()
    allow_groups: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Qos:
    """One quality of service, with the limits that bear on a study."""

    name: str
    max_wall_min: int | None = None
    max_submit_per_user: int | None = None
    max_submit_per_account: int | None = None
    group_submit: int | None = None


@dataclass(frozen=True)
class Association:
    """What a user (or, with an empty name, an account as a whole) may do under an account."""

    account: str
    parent: str = ""
    user: str = ""
    partition: str = ""
    qos: tuple[str, ...] = ()
    default_qos: str = ""
    max_submit: int | None = None
    group_submit: int | None = None
    max_wall_min: int | None = None


@dataclass(frozen=True)
class ClusterFacts:
    """All that was learnt; None where a client gave no answer, whose words are in `silent`."""

    missing: tuple[str, ...] = ()
    """Clients that are not on PATH."""
    version: str | None = None
    answers: bool = False
    """The controller answered."""
    clock_skew_s: float | None = None
    """The controller's clock minus ours."""
    settings: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, Partition] | None = None
    nodes: tuple[NodeShape, ...] | None = None
    qos: Mapping[str, Qos] | None = None
    associations: tuple[Association, ...] | None = None
    """Of this user."""
    accounts: Mapping[str, Association] = field(default_factory=dict)
    """Of accounts as a whole."""
    default_account: str | None = None
    user: str = ""
    groups: frozenset[str] = frozenset()
    """Of this user, on this machine."""
    silent: Mapping[str, str] = field(default_factory=dict)
    """Client -> what it said, or did, instead of answering."""

    @property
    def accounting(self) -> bool:
        """True when the cluster keeps accounts of jobs."""
        return self.settings.get("AccountingStorageType", "").endswith("/slurmdbd")

    def enforces(self, what: str) -> bool:
        """Whether "associations", "limits" or "qos" are enforced; each implies the ones before."""
        words = set(self.settings.get("AccountingStorageEnforce", "").lower().split(","))
        implied = {
            "associations": {"associations", "limits", "qos", "safe", "wckeys", "all"},
            "limits": {"limits", "qos", "safe", "all"},
            "qos": {"qos", "all"},
        }
        return bool(words & implied[what])

    def association(self, account: str, partition: str) -> Association | None:
        """What a job of this user falls under: the partition's own association first."""
        of_account = [a for a in self.associations or () if a.account == account]
        own = [a for a in of_account if a.partition == partition]
        return next(iter(own or [a for a in of_account if not a.partition]), None)

    def ancestors(self, account: str) -> list[Association]:
        """The account as a whole and those above it, whose group limits hold for it too."""
        found: list[Association] = []
        while account in self.accounts and self.accounts[account] not in found:
            found.append(self.accounts[account])
            account = found[-1].parent
        return found
