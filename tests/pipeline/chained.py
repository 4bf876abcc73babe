"""What the tests of `advance --auto` share: a profile, and eyes on the chain."""

import dataclasses
import json
import time
from collections.abc import Callable

from pipeline.state import FollowUpRecord, State
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.fakeslurm.model import Job
from tests.pipeline.conftest import edit

PROFILES = """
[profiles.cluster]
backend = "slurm"
partition = "main"
gres = "gpu:a100:1"
cpus_per_task = 1
mem_gb = 1
walltime_min = 30
stack_size = 2
poll_interval_s = 0.2

[profiles.cluster.auto]
walltime_min = 50
mem_gb = 1
retry_s = 0.2
poll_min = 1
"""
WAIT_S = 90


def prepare(workspace: Workspace, cluster: FakeSlurm) -> FakeSlurm:
    """Give the workspace a profile for the cluster; a minute lasts two seconds in it."""
    profiles(workspace, PROFILES)
    edit(workspace, 'name = "toy"', 'name = "toy"\nprofile = "cluster"')
    cluster.configure(seconds_per_minute=2.0, slots=4)
    return cluster


def profiles(workspace: Workspace, text: str) -> None:
    """Write the workspace's profiles."""
    path = workspace.root / "slurm" / "profiles.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def state_of(workspace: Workspace) -> State:
    """The state as it is stored now."""
    state = StateStore(workspace.state_dir).load()
    assert state is not None
    return state


def follow_ups(cluster: FakeSlurm, *, live: bool = False) -> list[Job]:
    """Follow-up jobs, all there ever were or those in the queue."""
    return [j for j in cluster.jobs() if "-auto-" in j.spec.name and (j.live or not live)]


def wait_for(condition: Callable[[], object], what: str = "") -> None:
    """Poll until something holds; it must within the time of a test."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what or "waited too long"
        time.sleep(0.05)


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
