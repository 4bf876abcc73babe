"""The fake sacctmgr: show qos, association and user, which is all that a user may ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .model import ClientError, Config, Reply
from .options import Options
from .sacct import DATABASE_DOWN
from .store import Cluster
from .text import user_name

OPTIONS = Options(
    "sacctmgr", "noheader.n parsable.p parsable2.P readonly.r quiet.Q immediate.i version.V"
)
DISABLED = (
    "You are not running a supported accounting_storage plugin\n"
    "Only 'accounting_storage/slurmdbd' is supported.\n"
)
# Names as they may be asked for, and the header each is shown under.
TITLES = {
    "Account": "Account",
    "Cluster": "Cluster",
    "DefaultAccount": "Def Acct",
    "DefaultQOS": "Def QOS",
    "Flags": "Flags",
    "GrpSubmitJobs": "GrpSubmit",
    "MaxSubmitJobs": "MaxSubmit",
    "MaxSubmitJobsPerAccount": "MaxSubmitPA",
    "MaxSubmitJobsPerUser": "MaxSubmitPU",
    "MaxWall": "MaxWall",
    "Name": "Name",
    "ParentName": "ParentName",
    "Partition": "Partition",
    "QOS": "QOS",
    "User": "User",
}
Row = Mapping[str, str]  # by the name a column is asked for


def main(cluster: Cluster, argv: list[str]) -> Reply:
    """Shows what accounting knows of limits and of who may do what."""
    given, words = OPTIONS.parse(argv)
    if "version" in given:
        return Reply("slurm-wlm 22.05.8\n")
    config = cluster.config()
    if config.sacct == "disabled":
        raise ClientError(DISABLED)
    if config.sacct == "down":
        first, second, _ = DATABASE_DOWN.replace("sacct:", "sacctmgr:").splitlines(keepends=True)
        raise ClientError(first + second)
    if "parsable2" not in given or words[:1] not in (["show"], ["list"]):
        raise ClientError("the fake knows `sacctmgr --parsable2 show` only\n")
    _, kind, *rest = words
    asked = dict(word.partition("=")[::2] for word in rest if "=" in word)
    columns = asked.pop("format").split(",")
    unknown = [name for name in columns if name not in TITLES]
    if unknown:
        raise ClientError(f" Unknown field '{unknown[0]}'\n")
    rows = [row for row in _rows(kind, config) if _matches(row, asked)]
    lines = [] if "noheader" in given else ["|".join(TITLES[name] for name in columns)]
    lines += ["|".join(row.get(name, "") for name in columns) for row in rows]
    return Reply("".join(f"{line}\n" for line in lines))


def _rows(kind: str, config: Config) -> Iterator[Row]:
    if kind == "qos":
        for name in config.qos:
            yield {"Name": name, **config.qos_limits.get(name, {})}
    elif kind.startswith("assoc"):
        qos = ",".join(config.qos)
        yield {"Account": "root", "Cluster": "lab", "QOS": "normal"}
        for account in config.accounts:
            whole = {"Account": account, "Cluster": "lab", "QOS": qos}
            yield {**whole, "ParentName": "root", **config.account_limits.get(account, {})}
            yield {**whole, "User": user_name(), **config.user_limits}
    elif kind == "user":
        yield {"Name": user_name(), "DefaultAccount": next(iter(config.accounts), "")}
    else:
        raise ClientError("No valid entity in list command\n")


def _matches(row: Row, asked: Mapping[str, str]) -> bool:
    titles = {"user": "User", "account": "Account", "cluster": "Cluster", "name": "Name"}
    return all(row.get(titles[key], "") == value for key, value in asked.items())
