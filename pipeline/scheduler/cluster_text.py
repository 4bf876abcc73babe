"""Reads what scontrol, sinfo and sacctmgr print into the facts of cluster.py.

Pure. What is not understood is left out or counts as no limit, and never raises: clusters differ
in version, and a plugin may print whatever it likes between the lines.
"""

import re
import time
from dataclasses import replace

from pipeline.scheduler.cluster import Association, Gres, NodeShape, Partition, Qos

_FIELD = re.compile(r"(?:^|\s)([A-Za-z][\w/:]*)=(\S*)")
_DURATION = re.compile(r"(?:(\d{1,6})-)?(\d{1,8})(?::(\d{1,2}))?(?::(\d{1,2}))?", re.ASCII)
_CONFIG_TIME = re.compile(r"Configuration data as of (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)")
_SETTING = re.compile(r"(\w[\w\[\]]*)\s*= (.*)")
_COUNT = re.compile(r"(\d{1,9})([kmgt]?)", re.ASCII)
_MAX_DIGITS = 15  # a longer number is no limit of Slurm's
_ALL = frozenset({"", "ALL", "(null)", "N/A"})


def parse_settings(text: str) -> dict[str, str]:
    """Settings from `scontrol show config`."""
    found = (_SETTING.fullmatch(line.strip()) for line in text.splitlines())
    return {match[1]: match[2].strip() for match in found if match}


def controller_time(text: str) -> float | None:
    """The controller's clock (seconds since the epoch) as `scontrol show config` begins with."""
    match = _CONFIG_TIME.search(text)
    if match is None:
        return None
    try:
        return time.mktime(time.strptime(match[1], "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None


def parse_partitions(text: str) -> dict[str, Partition]:
    """Partitions from `scontrol --oneliner show partition`."""
    found = {}
    for line in text.splitlines():
        row = _fields(line)
        name = row.get("PartitionName", "")
        if name:
            found[name] = Partition(
                name=name,
                state=row.get("State", "UP"),
                default=row.get("Default") == "YES",
                max_time_min=minutes(row.get("MaxTime", "")),
                max_cpus_per_node=number(row.get("MaxCPUsPerNode", "")),
                max_memory_mb_per_node=number(row.get("MaxMemPerNode", "")),
                qos=row.get("QoS") if row.get("QoS", "") not in _ALL else None,
                allow_accounts=_names(row.get("AllowAccounts", "")),
                deny_accounts=_names(row.get("DenyAccounts", "")),
                allow_qos=_names(row.get("AllowQos", "")),
                deny_qos=_names(row.get("DenyQos", "")),
                allow_groups=_names(row.get("AllowGroups", "")),
            )
    return found


NODE_FORMAT = "%R|%T|%D|%c|%m|%G|%f"


def parse_nodes(text: str) -> tuple[NodeShape, ...]:
    """Shapes of nodes from `sinfo --exact --noheader --format=NODE_FORMAT`."""
    found = []
    for row in _rows(text, 7):
        partition, state, *sizes, gres, features = row
        count, cpus, memory_mb = (number(size.rstrip("+")) for size in sizes)
        if not partition or count is None or cpus is None or memory_mb is None:
            continue
        shape = NodeShape(partition, state.lower(), count, cpus, memory_mb)
        found.append(replace(shape, gres=parse_gres(gres), features=_names(features)))
    return tuple(found)


def parse_gres(text: str) -> tuple[Gres, ...]:
    """Resources from "gpu:a100:4(S:0-1),nvme:1", as nodes offer and jobs ask for them."""
    found = []
    plain = re.sub(r"\([^)]*\)?", "", text)
    for part in plain.split(","):
        words = part.strip().removeprefix("gres/").removeprefix("gres:").lower().split(":")
        if not words[0]:
            continue
        last = _COUNT.fullmatch(words[-1]) if len(words) > 1 else None
        scale = 1024 ** " kmgt".index(last[2] or " ") if last else 1
        middle = words[1:-1] if last else words[1:]
        found.append(Gres(words[0], ":".join(middle), int(last[1]) * scale if last else 1))
    return tuple(found)


QOS_FIELDS = "Name,MaxWall,MaxSubmitJobsPerUser,MaxSubmitJobsPerAccount,GrpSubmitJobs"


def parse_qos(text: str) -> dict[str, Qos]:
    """Qualities of service from `sacctmgr --parsable2 show qos format=QOS_FIELDS`."""
    return {
        name: Qos(name, minutes(wall), number(per_user), number(per_account), number(group))
        for name, wall, per_user, per_account, group in _rows(text, 5)
        if name
    }


ASSOCIATION_FIELDS = (
    "Account,ParentName,User,Partition,QOS,DefaultQOS,MaxSubmitJobs,GrpSubmitJobs,MaxWall"
)


def parse_associations(text: str) -> tuple[Association, ...]:
    """Associations from `sacctmgr --parsable2 show assoc format=ASSOCIATION_FIELDS`."""
    return tuple(
        Association(
            account=row[0],
            parent=row[1],
            user=row[2],
            partition=row[3],
            qos=tuple(sorted(_names(row[4]))),
            default_qos=row[5],
            max_submit=number(row[6]),
            group_submit=number(row[7]),
            max_wall_min=minutes(row[8]),
        )
        for row in _rows(text, 9)
        if row[0]
    )


def minutes(text: str) -> int | None:
    """Whole minutes of a Slurm duration ("30", "1:30", "1:00:00", "2-12:00"); None for no limit."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    days, first, second, _ = (int(value or 0) for value in match.groups())
    if match[1] is not None:
        return days * 1440 + first * 60 + second
    return first * 60 + second if match[4] is not None else first


def number(text: str) -> int | None:
    """A count; None for "UNLIMITED", "" and all that is no number."""

    digits = text.strip()
    known = digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS
    return int(digits) if known else None


def _rows(text: str, width: int) -> list[list[str]]:
    """Lines of exactly `width` fields between bars."""
    rows = [[word.strip() for word in line.split("|")] for line in text.splitlines()]
    return [row for row in rows if len(row) == width]


def _fields(line: str) -> dict[str, str]:
    """`Key=value` pairs; the first of a key counts, since free text may come later in a line."""
    return dict(reversed(_FIELD.findall(line)))


def _names(text: str) -> frozenset[str]:
    return frozenset() if text in _ALL else frozenset(name for name in text.split(",") if name)
