"""What a failed sbatch means, from its words: nobody answered, a limit, or a mistake. Pure.

Slurm has no other way to tell: every refusal ends with exit code 1. The texts are those of Slurm
22.05 and its sources; the name of a limit (such as QOSMaxSubmitJobPerUserLimit) decides, never the
general sentence about accounting policy that follows it.
"""

import re
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What to do about a refusal."""

    UNREACHABLE = "the job may exist: keep the intent, look for its token later"
    LIMIT = "so many tasks do not fit: try fewer, hold the rest until a later advance"
    BUSY = "no job is taken now: hold all until a later advance"
    MISTAKE = "a person must change something"


@dataclass(frozen=True)
class Refusal:
    """One kind of refusal, told by a text of sbatch."""

    pattern: str
    kind: Kind
    keys: tuple[str, ...] = ()
    """Keys of the profile that may be wrong, the likeliest first."""
    remedy: str = ""
    """What else may help, as a clause."""


def _mistake(pattern: str, *keys: str, remedy: str = "") -> Refusal:
    return Refusal(pattern, Kind.MISTAKE, keys, remedy)


UNKNOWN = _mistake("", remedy="Slurm's words above say what it minds")

# The first row that matches decides: a controller that is gone comes before all, and the names of
# limits come before the sentences that follow them.
TABLE = (
    Refusal(
        r"Unable to contact slurm controller|Socket timed out|Connection (refused|timed out|reset)|"
        r"Zero Bytes were transmitted|Transport endpoint|Communication connection failure|"
        r"slurm_persist_conn_open|authentication error|Munge (en|de)code failed|standby mode",
        Kind.UNREACHABLE,
    ),
    Refusal(
        r"sleeping and retrying|Resource temporarily unavailable|MaxJobCount|"
        r"Unable to create job record",
        Kind.BUSY,
    ),
    Refusal(r"(QOS|Assoc)\w*Submit\w*", Kind.LIMIT),
    _mistake(r"(QOS|Assoc)\w*(Wall|Time)\w*", "walltime_min", "qos"),
    _mistake(r"(QOS|Assoc)\w*(GRES|Gres|Billing)\w*", "gres", "qos"),
    _mistake(r"(QOS|Assoc)\w*Mem\w*", "mem_gb", "qos"),
    _mistake(r"(QOS|Assoc)\w*(Cpu|CPU)\w*", "cpus_per_task", "qos"),
    _mistake(r"\b(QOS|Assoc)(Max|Min|Grp)\w+", "qos", "account"),
    Refusal(r"job submit limit", Kind.LIMIT),  # older Slurm names no limit
    _mistake(r"[Ii]nvalid partition", "partition", remedy="`sinfo` lists the partitions"),
    _mistake(r"Required partition not available", "partition",
             remedy="or wait until it is open again"),
    _mistake(r"not permitted to use this partition", "partition", "account", "qos"),
    _mistake(r"Invalid account", "account", "partition",
             remedy="`sacctmgr show associations user=$USER` lists yours"),
    _mistake(r"Invalid qos", "qos", remedy="`sacctmgr show associations user=$USER` lists yours"),
    _mistake(r"Invalid generic resource", "gres", remedy="`sinfo -o '%P %G'` lists what there is"),
    _mistake(r"Memory (specification can not be satisfied|required by task is not available)",
             "mem_gb"),
    _mistake(r"time limit|Time limit|Invalid --time", "walltime_min", "partition"),
    _mistake(r"Invalid feature", "constraint"),
    _mistake(r"Requested node configuration is not available",
             "gres", "mem_gb", "cpus_per_task", "constraint"),
    _mistake(r"More processors requested|CPU count", "cpus_per_task"),
    _mistake(r"Node count specification|Requested partition configuration", "partition"),
    _mistake(r"Invalid job array specification", "max_submitted",
             remedy="an array has more elements than this cluster takes; set it lower"),
)  # fmt: skip


def recognise(text: str) -> Refusal:
    """The refusal that sbatch's words tell; `UNKNOWN` for words nobody has met yet."""
    return next((row for row in TABLE if re.search(row.pattern, text)), UNKNOWN)
