"""Slurm's reasons for a job that waits, in words a user can act on. Pure.

From the list "JOB REASON CODES" of the squeue manual; the first pattern that matches decides.
"""

import re

_WORDS = (
    (r"^DependencyNeverSatisfied", "waits for a job that failed, so never starts: cancel it"),
    (r"^Dependency", "waits for another job of the study"),
    (r"^Priority", "jobs of higher priority come first"),
    (r"^Resources", "it is next: waits for a node with enough free GPUs, CPUs and memory"),
    (r"^BeginTime", "was queued again and waits a moment before it starts"),
    (r"^JobArrayTaskLimit", "as many elements run as the profile's array_parallelism allows"),
    (r"^JobHeld(User|Admin)", "is held: `scontrol release JOB` (or ask your administrators)"),
    (r"^ReqNodeNotAvail", "the nodes it may run on are down, drained or reserved"),
    (r"^(PartitionDown|PartitionInactive)", "its partition is closed for now"),
    (r"^PartitionTimeLimit", "asks for more time than the partition allows: lower walltime_min"),
    (r"^PartitionNodeLimit", "asks for more nodes than the partition allows"),
    (r"^Licenses", "waits for a licence"),
    (r"^Reservation", "waits for its reservation"),
    (r"^(NodeDown|Nodes)", "the nodes it may run on are down or in use"),
    (r"^BadConstraints", "no node satisfies what it asks for: look at gres and constraint"),
    (r"^InvalidQOS", "its QOS is not valid any more"),
    (r"^InvalidAccount", "its account is not valid any more"),
    (r"^AssocGrp\w*Minutes", "the budget of your account is spent"),
    (r"^(QOS|Assoc)Max(GRES|Gres|Tres|TRES)\w*PerUser|^QOSMaxGRES",
     "you hold as many GPUs as the QOS allows a user"),
    (r"^(QOS|Assoc)Max(Jobs|Job)", "as many of your jobs run as your limit allows"),
    (r"^(QOS|Assoc)MaxWall", "asks for more time than your limit allows: lower walltime_min"),
    (r"^(QOS|Assoc)Max(Cpu|CPU)", "you hold as many CPUs as your limit allows"),
    (r"^(QOS|Assoc)Max(Mem)", "you hold as much memory as your limit allows"),
    (r"^(QOS|Assoc)Grp", "your group holds as much as its limit allows"),
    (r"^(QOS|Assoc)", "a limit of your QOS or account holds it back"),
)  # fmt: skip


def reason_in_words(reason: str | None) -> str:
    """What the job waits for; the scheduler's own word for a reason nobody has met."""
    if reason is None:
        return "the scheduler has not said why it waits"
    for pattern, words in _WORDS:
        if re.search(pattern, reason):
            return f"{words} ({reason})"
    return f"the scheduler says: {reason}"
