"""What the tests of `advance --auto` share: a profile, and eyes on the chain."""

import dataclasses
import json

from pipeline.state import FollowUpRecord
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.fakeslurm.model import Job
from tests.pipeline.conftest import CLUSTER, on_cluster, state_of, wait_for

PROFILES = (
    CLUSTER
    + """
[profiles.cluster.auto]
walltime_min = 50
mem_gb = 1
retry_s = 0.2
poll_min = 1
"""
)


def prepare(workspace: Workspace, cluster: FakeSlurm) -> FakeSlurm:
    """Give the workspace a profile for the cluster; a minute lasts two seconds in it."""
    on_cluster(workspace, PROFILES)
    cluster.configure(seconds_per_minute=2.0, slots=4)
    return cluster


def follow_ups(cluster: FakeSlurm, *, live: bool = False) -> list[Job]:
    """Follow-up jobs, all there ever were or those in the queue."""
    return [j for j in cluster.jobs() if "-auto-" in j.spec.name and (j.live or not live)]


def wait_for_end(workspace: Workspace, cluster: FakeSlurm) -> FollowUpRecord:
    """Wait until the chain has ended by itself; never were two of its jobs waiting at once."""

    def over() -> bool:
        waiting = [job for job in follow_ups(cluster, live=True) if job.state == "PENDING"]
        assert len(waiting) <= 1, "two chains"
        record = state_of(workspace).follow_up
        return record is not None and record.ended is not None

    wait_for(over, "the chain did not end")
    wait_for(lambda: not follow_ups(cluster, live=True))
    record = state_of(workspace).follow_up
    assert record is not None
    return record


def journal(workspace: Workspace, event: str) -> list[dict[str, object]]:
    """The journal's events of a kind."""
    lines = (workspace.state_dir / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for line in lines if (entry := json.loads(line))["event"] == event]


def aged(workspace: Workspace) -> None:
    """Let the lag pass in which a job may still show up."""
    store = StateStore(workspace.state_dir)
    state = store.load()
    if state is None:
        return
    old = "2026-01-01T00:00:00+00:00"
    jobs = {
        token: dataclasses.replace(job, submitted_at=old) if job.job_id is None else job
        for token, job in state.jobs.items()
    }
    record = state.follow_up
    if record is not None and record.job.job_id is None:
        record = dataclasses.replace(record, job=dataclasses.replace(record.job, submitted_at=old))
    store.save(dataclasses.replace(state, jobs=jobs, follow_up=record))
