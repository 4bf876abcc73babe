"""How much and how long a cluster lets a study run: facts to findings. Pure."""

from collections.abc import Iterator

from pipeline.doctor.access import PROFILES, chosen_partitions, job_account, job_qos
from pipeline.doctor.finding import Finding, ok, problem, warning
from pipeline.profiles import SlurmProfile
from pipeline.scheduler.cluster import ClusterFacts, Partition, Qos
from pipeline.scheduler.cluster_text import number
from pipeline.words import count

Limit = tuple[int, str]
"""A limit and whose it is."""


def judge_array(facts: ClusterFacts) -> Finding:
    """MaxArraySize, which caps the index: the largest allowed is one less."""
    size = number(facts.settings.get("MaxArraySize", ""))
    if size is None:
        return warning(
            "array",
            "the controller did not tell MaxArraySize",
            "if sbatch refuses an array, set max_submitted to the largest size it takes",
        )
    if size < 2:
        return problem(
            "array",
            f"MaxArraySize is {size}: this cluster takes no job arrays",
            "ask the administrators to allow them, or run one run per phase",
        )
    return ok("array", f"MaxArraySize is {size}: indices up to {size - 1} in one array")


def judge_submitted(profile: SlurmProfile, facts: ClusterFacts) -> Finding | None:
    """The profile's max_submitted against every limit on submitted jobs; None if none is known."""
    if facts.accounting and facts.associations is None:
        return None
    limits = sorted(_submit_limits(profile, facts))
    own = profile.max_submitted
    if not limits:
        text = f"max_submitted = {own}" if own else "max_submitted is not set"
        return ok("submitted", f"{text}; the cluster sets no limit on submitted jobs")
    least, whose = limits[0]
    if least == 0:
        return problem(
            "submitted",
            f"{whose} allows no job at all",
            f"choose another account or QOS in {PROFILES}, or ask the administrators",
        )
    if own is None or own > least:
        shown = "is not set" if own is None else f"= {own}"
        return warning(
            "submitted",
            f"max_submitted {shown}, but {whose} allows {least} (each array element counts)",
            f"set max_submitted = {least} or less in {PROFILES}; what is refused waits for the "
            "next advance",
        )
    return ok("submitted", f"max_submitted = {own}, within the {least} that {whose} allows")


def _submit_limits(profile: SlurmProfile, facts: ClusterFacts) -> Iterator[Limit]:
    if not facts.enforces("limits"):
        return
    for partition in chosen_partitions(profile, facts):
        for qos in _qualities(profile, facts, partition):
            found = {
                "": qos.max_submit_per_user,
                " (whole account)": qos.max_submit_per_account,
                " (all users)": qos.group_submit,
            }
            for who, limit in found.items():
                if limit is not None:
                    yield limit, f"QOS {qos.name}{who}"
        account = job_account(profile, facts) or ""
        association = facts.association(account, partition.name)
        if association is not None and association.max_submit is not None:
            yield association.max_submit, f"your association with account {account}"
        for parent in facts.ancestors(account):
            if parent.group_submit is not None:
                yield parent.group_submit, f"account {parent.account} (all its users)"


def _qualities(profile: SlurmProfile, facts: ClusterFacts, partition: Partition) -> Iterator[Qos]:
    """The job's QOS and the partition's own."""
    account = job_account(profile, facts)
    association = facts.association(account, partition.name) if account else None
    for name in {job_qos(profile, association), partition.qos}:
        if name is not None and facts.qos is not None and name in facts.qos:
            yield facts.qos[name]


def judge_walltime(profile: SlurmProfile, facts: ClusterFacts) -> Finding | None:
    """walltime_min against MaxTime and MaxWall; None where no partition is known."""
    partitions = chosen_partitions(profile, facts)
    if not partitions:
        return None
    wanted = profile.walltime_min
    tight = {p.name: sorted(_time_limits(profile, facts, p)) for p in partitions}
    too_long = {
        name: limits[0] for name, limits in tight.items() if limits and limits[0][0] < wanted
    }
    if not too_long:
        return ok("walltime", f"{count(wanted, 'minute')} are allowed")
    name, (limit, whose) = next(iter(too_long.items()))
    text = f"walltime_min = {wanted}, but {whose} allows {count(limit, 'minute')}"
    remedy = f"set walltime_min = {limit} or less in {PROFILES} (tasks resume from checkpoints)"
    everywhere = facts.settings.get("EnforcePartLimits", "NO").upper() == "ALL"
    if len(too_long) < len(partitions) and not everywhere:
        return warning("walltime", f"{text}: no task will start in {name}", remedy)
    return problem("walltime", text, remedy)


def _time_limits(
    profile: SlurmProfile, facts: ClusterFacts, partition: Partition
) -> Iterator[Limit]:
    if partition.max_time_min is not None:
        yield partition.max_time_min, f"partition {partition.name}"
    if not facts.enforces("limits"):
        return
    for qos in _qualities(profile, facts, partition):
        if qos.max_wall_min is not None:
            yield qos.max_wall_min, f"QOS {qos.name}"
    account = job_account(profile, facts) or ""
    association = facts.association(account, partition.name)
    if association is not None and association.max_wall_min is not None:
        yield association.max_wall_min, f"your association with account {account}"
