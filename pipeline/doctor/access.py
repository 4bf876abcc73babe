"""May this user submit to the partitions that a profile names? Facts to findings. Pure."""

from collections.abc import Iterator

from pipeline.doctor.finding import Finding, ok, problem, warning
from pipeline.profiles import SlurmProfile
from pipeline.scheduler.cluster import Association, ClusterFacts, Partition
from pipeline.validation import suggest

NEEDED = ("sbatch", "squeue", "srun", "scancel", "scontrol")
PROFILES = "slurm/profiles.toml"
_MAX_SKEW_S = 5.0
_REFUSING = {"INACTIVE": "takes no jobs", "DRAIN": "takes no new jobs"}


def judge_clients(facts: ClusterFacts) -> Iterator[Finding]:
    """Slurm's programs and its controller."""
    needed = [name for name in facts.missing if name in NEEDED]
    if needed:
        yield problem(
            "commands",
            f"not on PATH: {', '.join(needed)}",
            "run this on a login node of the cluster, or choose --profile local",
            unreachable=True,
        )
    elif facts.missing:
        yield warning(
            "commands",
            f"{facts.version or 'Slurm'}, without {', '.join(facts.missing)}",
            "ask the cluster's administrators for the missing clients",
        )
    else:
        yield ok("commands", f"{facts.version or 'Slurm of unknown version'}, all clients present")
    if facts.answers:
        name = facts.settings.get("ClusterName", "(unnamed)")
        yield ok("controller", f"cluster {name} answers")
    elif not needed:
        words = "; ".join(facts.silent.values())
        yield problem(
            "controller",
            f"no answer: {words}",
            "try again later; if it stays so, tell the cluster's administrators",
            unreachable=True,
        )


def judge_accounting(facts: ClusterFacts) -> Finding:
    """Whether ends of jobs can be looked up."""
    if not facts.accounting:
        return warning(
            "accounting",
            "off: how a task ended is known from its result file and log alone",
            "nothing to do; GPU-hours are then measured by the tasks themselves",
        )
    if facts.associations is None:
        words = facts.silent.get("sacctmgr", "sacctmgr is missing")
        return warning(
            "accounting",
            f"on, but gives no answer: {words}",
            "try again later; QOS, account and submit limits could not be checked",
        )
    enforced = facts.settings.get("AccountingStorageEnforce", "none")
    return ok("accounting", f"slurmdbd answers; enforced: {enforced}")


def judge_clock(facts: ClusterFacts) -> Finding:
    """This machine's clock against the controller's."""
    skew = facts.clock_skew_s
    if skew is None:
        return warning(
            "clock",
            "the controller did not tell its time",
            "compare `date` here and on the controller",
        )
    if abs(skew) > _MAX_SKEW_S:
        return warning(
            "clock",
            f"the controller is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}",
            "tell the administrators (NTP); ages of jobs and files are off by as much",
        )
    return ok("clock", "this machine and the controller agree")


def chosen_partitions(profile: SlurmProfile, facts: ClusterFacts) -> list[Partition]:
    """The partitions a job may go to: those named, else the default one."""
    known = facts.partitions or {}
    if profile.partitions:
        return [known[name] for name in profile.partitions if name in known]
    return [partition for partition in known.values() if partition.default]


def job_account(profile: SlurmProfile, facts: ClusterFacts) -> str | None:
    """Who is charged; None where that cannot be known."""
    return profile.account or facts.default_account


def job_qos(profile: SlurmProfile, association: Association | None) -> str:
    """The QOS a job gets: the profile's, else the association's default, else "normal"."""
    if profile.qos or association is None:
        return profile.qos or "normal"
    only = association.qos[0] if len(association.qos) == 1 else "normal"
    return association.default_qos or only


def judge_partitions(profile: SlurmProfile, facts: ClusterFacts) -> Iterator[Finding]:
    """Existence, state, and who is let in, of each partition."""
    if facts.partitions is None:
        words = facts.silent.get("scontrol", "no answer")
        yield warning("partition", f"could not be looked up: {words}", "try again later")
        return
    for name in profile.partitions:
        if name not in facts.partitions:
            yield problem(
                "partition",
                f'there is no partition "{name}" here{suggest(name, sorted(facts.partitions))}',
                f"mend `partition` in {PROFILES}",
            )
    chosen = chosen_partitions(profile, facts)
    if not chosen and not profile.partitions:
        yield problem(
            "partition",
            "the profile names none and the cluster has no default",
            f"set `partition` in {PROFILES}; there are: {', '.join(sorted(facts.partitions))}",
        )
    for partition in chosen:
        yield _judge_partition(partition, profile, facts)


def _judge_partition(partition: Partition, profile: SlurmProfile, facts: ClusterFacts) -> Finding:
    check = "partition"
    state = partition.state.upper()
    if state in _REFUSING:
        return problem(
            check,
            f"{partition.name} {_REFUSING[state]} (state {state})",
            f"choose another in {PROFILES}, or wait until it is up again",
        )
    for shut_out in _shut_out(partition, profile, facts):
        return problem(check, f"{partition.name} {shut_out}", f"mend the profile in {PROFILES}")
    if state != "UP":
        return warning(
            check,
            f"{partition.name} is {state}: jobs are taken but do not start",
            "wait until it is up again, or choose another partition",
        )
    limit = partition.max_time_min
    longest = f"up to {limit} min" if limit else "without a time limit"
    return ok(check, f"{partition.name} is up and open to you, {longest}")


def _shut_out(partition: Partition, profile: SlurmProfile, facts: ClusterFacts) -> Iterator[str]:
    """Why the partition would turn a job away, in words."""
    account = job_account(profile, facts)
    association = facts.association(account, partition.name) if account else None
    qos = job_qos(profile, association)
    if account and partition.allow_accounts and account not in partition.allow_accounts:
        yield f'is not open to account "{account}", only to {_listed(partition.allow_accounts)}'
    if account in partition.deny_accounts:
        yield f'is closed to account "{account}"'
    if partition.allow_qos and qos not in partition.allow_qos:
        yield f'is not open to QOS "{qos}", only to {_listed(partition.allow_qos)}'
    if qos in partition.deny_qos:
        yield f'is closed to QOS "{qos}"'
    if (
        partition.allow_groups
        and facts.user != "root"
        and not (partition.allow_groups & facts.groups)
    ):
        yield f"is open to members of {_listed(partition.allow_groups)} only"


def judge_account(profile: SlurmProfile, facts: ClusterFacts) -> Finding | None:
    """The user's association; None where there is nothing to say."""
    if facts.associations is None:
        return None
    account = job_account(profile, facts)
    own = sorted({association.account for association in facts.associations})
    if account in own:
        return ok("account", f"{facts.user} may charge {account}")
    if not facts.enforces("associations"):
        return ok("account", "not enforced on this cluster")
    if not own:
        return problem(
            "account",
            f"{facts.user} has no account on this cluster",
            "ask its administrators for one; sbatch refuses every job until then",
        )
    if account is None:
        return problem("account", "you have no default account", _choose_account(own))
    return problem(
        "account",
        f'{facts.user} may not charge account "{account}"{suggest(account, own)}',
        _choose_account(own),
    )


def _choose_account(own: list[str]) -> str:
    return f"set `account` in {PROFILES} to one of: {', '.join(own)}"


def judge_qos(profile: SlurmProfile, facts: ClusterFacts) -> Finding | None:
    """The QOS exists and is the user's to use; None where there is nothing to say."""
    if facts.qos is None or facts.associations is None:
        return None
    account = job_account(profile, facts)
    chosen = chosen_partitions(profile, facts)
    place = chosen[0].name if chosen else ""
    association = facts.association(account, place) if account else None
    name = job_qos(profile, association)
    mend = f"mend `qos` in {PROFILES}"
    if profile.qos and name not in facts.qos:
        return problem(
            "qos", f'there is no QOS "{name}" here{suggest(name, sorted(facts.qos))}', mend
        )
    if not facts.enforces("qos"):
        return ok("qos", "not enforced on this cluster")
    if association is None:
        return None  # the account's line says what is wrong
    if name not in association.qos:
        text = f'account {account} does not allow QOS "{name}", only {_listed(association.qos)}'
        return problem("qos", text, mend)
    return ok("qos", f"{name}, allowed for account {account}")


def _listed(names: frozenset[str] | tuple[str, ...]) -> str:
    return ", ".join(sorted(names)) or "none"
