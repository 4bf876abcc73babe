"""What a test looks at: the cluster's own word on the jobs of a study, and what runs write."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from pipeline.results import RunResult
from pipeline.state import JobRecord
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from tests.pipeline.conftest import state_of

WAIT_S = 60


def only_job(workspace: Workspace) -> tuple[str, JobRecord]:
    """The one submission there is: its job id and its record."""
    (job,) = state_of(workspace).jobs.values()
    assert job.job_id is not None
    return job.job_id, job


def run_in(job: JobRecord, index: int) -> str:
    """Key of the only run of a task."""
    (key,) = job.tasks[index].runs
    return key


def results_of(workspace: Workspace, phase: str) -> dict[str, RunResult]:
    """Every result of a phase, by the run's key."""
    found = workspace.runs_dir.glob(f"{phase}/*/result.json")
    results = [RunResult.model_validate_json(path.read_bytes()) for path in found]
    return {f"{phase}/{result.run_id}": result for result in results}


def queue(cluster: Cluster) -> dict[str, str]:
    """Live tasks as squeue tells them: "JOB" or "JOB_INDEX" to state."""
    lines = cluster.run("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
    return dict(line.split() for line in lines)


def nodes_of(cluster: Cluster) -> dict[str, str]:
    """Where running tasks run."""
    text = cluster.run("squeue", "--noheader", "--array", "--states=RUNNING", "--format=%i %N")
    return dict(line.split() for line in text.splitlines())


def accounted(cluster: Cluster, job_id: str, *options: str) -> list[str]:
    """States of a job's elements as accounting has them, in the order of the elements."""
    text = cluster.run(
        "sacct", "--noheader", "--parsable2", "--allocations", *options,
        f"--jobs={job_id}", "--format=State",
    )  # fmt: skip
    return [line.split()[0] for line in text.splitlines()]


def processes_of(workspace: Workspace) -> list[tuple[psutil.Process, dict[str, str]]]:
    """Processes whose command lines name the workspace, with their environments."""
    found = []
    for process in psutil.process_iter():
        try:
            if str(workspace.root) in " ".join(process.cmdline()):
                found.append((process, process.environ()))
        except psutil.Error:
            continue
    return found


def wait_for(condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    """Return once the condition holds; fail when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def wait_until_training(workspace: Workspace, runs: int = 1) -> None:
    """Wait until so many runs have taken a step: Slurm says RUNNING long before."""
    wait_for(lambda: len(list(workspace.runs_dir.glob("*/*/attempts/*/metrics.jsonl"))) >= runs)
