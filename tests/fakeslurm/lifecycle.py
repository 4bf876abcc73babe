"""How an attempt moves on: it starts, ends, is cancelled or queued again.

Called inside a transaction by the scheduler, by clients, and by the test's helper. Killing the
processes of a job that ended early is the scheduler's business: here it only becomes COMPLETING.
"""

from __future__ import annotations

from .model import NOT_AN_ARRAY, Config, Job
from .store import Cluster

CLIENT_HEAD_START_S = 0.1  # `scontrol requeue` from inside the job returns before the TERM
END_NOTES = {
    "CANCELLED": "",
    "REQUEUED": " DUE TO JOB REQUEUE",
    "TIMEOUT": " DUE TO TIME LIMIT",
    "PREEMPTED": " DUE TO PREEMPTION",
    "NODE_FAIL": " DUE TO NODE FAILURE, SEE SLURMCTLD LOG FOR DETAILS",
}
END_REASONS = {"TIMEOUT": "TimeLimit", "NODE_FAIL": "NodeDown", "OUT_OF_MEMORY": "OutOfMemory"}


def split(cluster: Cluster, job: Job, jobs: list[Job]) -> None:
    """Gives an element its own JobId; the last one left of an array keeps the array's."""
    if job.raw_id:
        return
    waiting = [j for j in jobs if j.array_id == job.array_id and not j.raw_id and j.current]
    job.raw_id = cluster.new_id() if len(waiting) > 1 else job.array_id
    cluster.save(job)
    if len(waiting) == 2:  # the one that stays behind stands for itself now
        last = next(other for other in waiting if other is not job)
        last.raw_id = last.array_id
        cluster.save(last)


def start(cluster: Cluster, job: Job, jobs: list[Job], config: Config, now: float) -> None:
    """Puts a pending job on a node."""
    split(cluster, job, jobs)
    busy = [other for other in jobs if other.live and other.node]
    names = [f"node{n + 1}" for n in range(config.nodes)]
    usable = [name for name in names if name not in job.spec.exclude] or names
    job.node = min(usable, key=lambda name: sum(other.node == name for other in busy))
    taken = {g for other in busy if other.node == job.node for g in other.gpu_indices.split(",")}
    free = [str(g) for g in range(config.gpus) if str(g) not in taken]
    job.gpu_indices = ",".join((free + [str(g) for g in range(config.gpus)])[: job.spec.gpus])
    job.state, job.reason, job.start_time = "RUNNING", "None", now
    job.deadline = now + job.spec.minutes * config.seconds_per_minute
    job.deadline_state = "TIMEOUT"
    cluster.save(job)


def finish(cluster: Cluster, job: Job, code: int, signal_number: int, now: float) -> None:
    """The batch script ended by itself."""
    failed = code or signal_number
    job.state = "FAILED" if failed else "COMPLETED"
    job.exit_code, job.exit_signal = code, signal_number
    job.reason = "JobLaunchFailure" if signal_number else "NonZeroExitCode" if code else "None"
    job.end_time, job.completing = now, False
    cluster.save(job)


def end_early(
    cluster: Cluster, job: Job, state: str, now: float, *, requeue: bool = False, uid: int = -1
) -> None:
    """Ends a running job from outside; it is COMPLETING until its processes are gone."""
    job.state, job.end_time, job.completing, job.requeue_after = state, now, True, requeue
    job.reason = END_REASONS.get(state, "None")
    job.cancelled_by = uid
    if state == "OUT_OF_MEMORY":
        job.exit_signal = 125
    delay = CLIENT_HEAD_START_S if state == "REQUEUED" else 0.0
    job.term_at, job.termed_at = now + delay, 0.0
    cluster.save(job)


def cancel(cluster: Cluster, jobs: list[Job], chosen: list[Job], uid: int, now: float) -> None:
    """What scancel does; an element that waited in an array leaves no record at all."""
    for job in chosen:
        if job.state == "RUNNING":
            end_early(cluster, job, "CANCELLED", now, uid=uid)
        elif job.state == "PENDING":
            mates = [j for j in jobs if j.array_id == job.array_id and j.state == "PENDING"]
            shared = job.index != NOT_AN_ARRAY and not job.raw_id
            whole = all(mate in chosen for mate in mates if not mate.raw_id)
            job.state, job.cancelled_by = "CANCELLED", uid
            job.start_time = job.end_time = now
            job.hidden = shared and not whole
            job.current = not job.hidden
            cluster.save(job)
        elif job.requeue_after:
            job.requeue_after, job.state, job.cancelled_by = False, "CANCELLED", uid
            cluster.save(job)


def requeue(cluster: Cluster, job: Job, now: float, state: str = "REQUEUED") -> None:
    """Sends a job back to the queue, at once or when its processes are gone."""
    if job.state == "RUNNING":
        end_early(cluster, job, state, now, requeue=True)
    else:
        job.state = state
        next_attempt(cluster, job, now)


def next_attempt(cluster: Cluster, job: Job, now: float) -> Job:
    """Closes an attempt and queues the next one."""
    delay = cluster.config().requeue_delay
    fresh = Job(job.array_id, job.index, job.restart + 1, job.raw_id, spec=job.spec)
    fresh.submit_time, fresh.begin_time = now, now + delay
    fresh.reason = fresh.pending_reason = "BeginTime"
    job.current = job.completing = job.requeue_after = False
    cluster.save(job, fresh)
    return fresh
