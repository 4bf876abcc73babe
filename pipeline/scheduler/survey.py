"""Asks a Slurm cluster what it offers: a handful of calls, each with a time limit."""

import grp
import os
import pwd
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pipeline.scheduler.cluster import ClusterFacts
from pipeline.scheduler.cluster_text import (
    ASSOCIATION_FIELDS,
    NODE_FORMAT,
    QOS_FIELDS,
    controller_time,
    parse_associations,
    parse_nodes,
    parse_partitions,
    parse_qos,
    parse_settings,
)
from pipeline.scheduler.commands import ClientError, call

CLIENTS = ("sbatch", "squeue", "srun", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr")
_TIMEOUT_S = 30

OnAsk = Callable[[str], None]


class _Clients:
    """Slurm's clients; one that does not answer is remembered with its words."""

    def __init__(self, timeout_s: float, on_ask: OnAsk) -> None:
        self.silent: dict[str, str] = {}
        self._timeout_s, self._on_ask = timeout_s, on_ask

    def ask(self, *command: str) -> str | None:
        """Output of a client, None when it fails or gives no answer in time."""
        self._on_ask(command[0])
        try:
            return call(*command, timeout_s=self._timeout_s)
        except FileNotFoundError:
            return None  # stands among the missing ones
        except ClientError as error:
            self.silent[command[0]] = str(error)
            return None


def survey(timeout_s: float = _TIMEOUT_S, on_ask: OnAsk = lambda _: None) -> ClusterFacts:
    """Return what the cluster says of itself and of this user; never raises.

    Args:
        timeout_s: how long each client may take.
        on_ask: told the name of the client that is about to be asked.
    """
    missing = tuple(name for name in CLIENTS if shutil.which(name) is None)
    clients = _Clients(timeout_s, on_ask)
    version = (clients.ask("scontrol", "--version") or "").strip() or None
    # ping answers in 40 ms where another client would hang for its message time-out.
    alive = version is not None and clients.ask("scontrol", "ping") is not None
    before = time.time()
    config = clients.ask("scontrol", "show", "config") if alive else None
    if config is None:
        return ClusterFacts(missing=missing, version=version, silent=clients.silent)
    partitions = clients.ask("scontrol", "--all", "--oneliner", "show", "partition")
    nodes = clients.ask("sinfo", "--all", "--exact", "--noheader", f"--format={NODE_FORMAT}")
    facts = ClusterFacts(
        missing=missing,
        version=version,
        answers=True,
        clock_skew_s=_skew_s(config, before),
        settings=parse_settings(config),
        partitions=None if partitions is None else parse_partitions(partitions),
        nodes=None if nodes is None else parse_nodes(nodes),
        user=_user(),
        groups=_groups(),
        silent=clients.silent,
    )
    return _with_accounting(facts, clients) if facts.accounting else facts


def _with_accounting(facts: ClusterFacts, clients: _Clients) -> ClusterFacts:
    """Add what sacctmgr knows: limits, and what this user may do."""

    def show(kind: str, fields: str, *where: str) -> str | None:
        words = ["show", kind, *(["where", *where] if where else []), f"format={fields}"]
        return clients.ask("sacctmgr", "--noheader", "--parsable2", "--readonly", *words)

    cluster = f"cluster={facts.settings.get('ClusterName', '')}"
    own = show("assoc", ASSOCIATION_FIELDS, f"user={facts.user}", cluster)
    if own is None:  # no answer to the first question, none to the others
        return facts
    accounts = show("assoc", ASSOCIATION_FIELDS, "user=", cluster) or ""
    qos = show("qos", QOS_FIELDS)
    default = show("user", "DefaultAccount", f"name={facts.user}") or ""
    return replace(
        facts,
        associations=tuple(a for a in parse_associations(own) if a.user),
        accounts={a.account: a for a in parse_associations(accounts) if not a.user},
        qos=None if qos is None else parse_qos(qos),
        default_account=default.strip() or None,
    )


def _skew_s(config: str, asked_at: float) -> float | None:
    """The controller's clock minus ours, which is told in whole seconds, rounded down."""
    theirs = controller_time(config)
    now = time.time()
    if theirs is None:
        return None
    early, late = theirs - now, theirs + 1 - asked_at
    return 0.0 if early <= 0 <= late else min(early, late, key=abs)


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _groups() -> frozenset[str]:
    found = set()
    for number in {os.getgid(), *os.getgroups()}:
        with suppress(KeyError):
            found.add(grp.getgrgid(number).gr_name)
    return frozenset(found)
