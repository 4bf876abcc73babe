"""Which pending jobs may start now, and why the others may not. Pure."""

from __future__ import annotations

from collections.abc import Callable

from .model import FINISHED, Config, Job
from .text import select

DONE_WELL: dict[str, Callable[[str], bool]] = {
    "after": lambda state: state != "PENDING",
    "afterany": lambda state: state in FINISHED,
    "afterok": lambda state: state == "COMPLETED",
    "afternotok": lambda state: state in FINISHED and state != "COMPLETED",
}


def dependency_terms(job: Job, jobs: list[Job]) -> list[tuple[str, bool]]:
    """Returns what a job still waits for, as squeue's %E writes it, and whether it can come."""
    left = []
    for term in filter(None, job.spec.dependency.replace("?", ",").split(",")):
        kind, *wanted = term.split(":")
        if kind == "singleton":
            before = [j for j in jobs if j.spec.name == job.spec.name and j.array_id < job.array_id]
            if any(j.live for j in before):
                left.append(("singleton(unfulfilled)", True))
            continue
        for name in wanted:
            others = select(jobs, name.split("+")[0])
            if all(DONE_WELL[kind](other.state) for other in others):
                continue
            possible = all(o.state not in FINISHED or DONE_WELL[kind](o.state) for o in others)
            shown = f"{name}_*" if "_" not in name and others[0].spec.indices else name
            left.append((f"{kind}:{shown}({'unfulfilled' if possible else 'failed'})", possible))
    return left


def dependency_text(job: Job, jobs: list[Job]) -> str:
    """Writes the unmet dependencies of a pending job."""
    terms = dependency_terms(job, jobs) if job.state == "PENDING" else []
    return ",".join(text for text, _ in terms) or "(null)"


def plan(jobs: list[Job], config: Config, now: float) -> tuple[list[Job], dict[str, str]]:
    """Chooses the jobs to start, and gives each other pending job (by key) its reason."""
    order = sorted((j for j in jobs if j.state == "PENDING"), key=lambda j: (j.array_id, j.index))
    running = [j for j in jobs if j.state == "RUNNING"]
    busy = sum(j.live and j.state != "PENDING" for j in jobs)
    starts: list[Job] = []
    reasons: dict[str, str] = {}
    shared: dict[int, str] = {}  # elements that wait together share one record, so one reason
    for job in order:
        reason = _own_reason(job, jobs, now)
        active = running + starts
        mates = sum(other.array_id == job.array_id for other in active)
        if reason:
            pass
        elif job.spec.throttle and mates >= job.spec.throttle:
            reason = "JobArrayTaskLimit"
        elif config.max_running is not None and len(active) >= config.max_running:
            reason = "QOSMaxJobsPerUserLimit"
        elif busy + len(starts) >= config.slots:
            full = "Resources" in reasons.values()
            reason = "Priority" if full else "Resources"
        else:
            starts.append(job)
            continue
        reasons[job.key] = reason if job.raw_id else shared.setdefault(job.array_id, reason)
    return starts, reasons


def _own_reason(job: Job, jobs: list[Job], now: float) -> str:
    if job.held:
        return job.reason if job.reason == "JobHeldAdmin" else "JobHeldUser"
    if job.begin_time > now:
        return "BeginTime"
    terms = dependency_terms(job, jobs)
    if terms:
        possible = all(ok for _, ok in terms)
        return "Dependency" if possible else "DependencyNeverSatisfied"
    return ""
