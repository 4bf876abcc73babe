"""The scheduler edge: the only importer of submitit and the only caller of Slurm commands."""

from pipeline.scheduler.base import (
    ACCOUNTING_LAG_S,
    FollowUp,
    HeldError,
    Scheduler,
    Submission,
    Submitted,
    TaskStatus,
)

__all__ = [
    "ACCOUNTING_LAG_S",
    "FollowUp",
    "HeldError",
    "Scheduler",
    "Submission",
    "Submitted",
    "TaskStatus",
    "scheduler_for",
]


def scheduler_for(backend: str) -> Scheduler:
    """The scheduler that jobs of a backend ("local" or "slurm") live in."""
    if backend == "local":
        from pipeline.scheduler.local import LocalScheduler

        return LocalScheduler()
    from pipeline.scheduler.slurm import SlurmScheduler

    return SlurmScheduler()
