"""Slurm itself ends tasks: a node is lost, a job of higher rank takes the place."""

from __future__ import annotations

import json

from pipeline.state import RunStatus, TaskState
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from tests.pipeline.conftest import Cli, state_of
from tests.slurm.conftest import hold, release, set_profile
from tests.slurm.looks import (
    accounted,
    nodes_of,
    only_job,
    queue,
    wait_for,
    wait_until_training,
)


def test_tasks_on_a_lost_node_are_seen_as_slurm_sees_them(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """The one that Slurm requeues waits again, the other is NODE_FAIL; neither is called done."""
    set_profile(study, stack_size=1)
    hold(study)
    assert cli("advance").returncode == 0
    wait_until_training(study, 2)
    job_id, _ = only_job(study)
    again, lost = f"{job_id}_0", f"{job_id}_1"
    node = nodes_of(cluster)[lost]
    assert nodes_of(cluster)[again] == node
    cluster.run("scontrol", "update", f"jobid={lost}", "requeue=0")
    cluster.daemon(node).kill()
    wait_for(lambda: lost not in queue(cluster) and nodes_of(cluster).get(again) != node)
    wait_for(lambda: accounted(cluster, lost) == ["NODE_FAIL"])

    cli("advance")

    _, job = only_job(study)
    assert job.tasks[0].state is TaskState.QUEUED
    assert job.tasks[1].scheduler_state == "NODE_FAIL"
    assert job.tasks[1].node == node
    assert RunStatus.DONE not in {run.status for run in state_of(study).runs.values()}


def test_a_preempted_task_is_requeued_and_every_run_is_done_once(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """A job of a higher tier takes the node; the tasks come back by themselves and complete."""
    set_profile(study, partition="abrupt", stack_size=1)
    hold(study)
    assert cli("advance").returncode == 0
    wait_until_training(study, 2)
    job_id, _ = only_job(study)
    (node,) = set(nodes_of(cluster).values())
    cluster.run(
        "sbatch", "--partition=normal", "--exclusive", f"--nodelist={node}",
        "--output=/dev/null", "--wrap=sleep 1",
    )  # fmt: skip
    wait_for(lambda: "PREEMPTED" in accounted(cluster, job_id, "--duplicates"))
    release(study)

    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    runs = state_of(study).runs
    assert {(run.status, run.tries) for run in runs.values()} == {(RunStatus.DONE, 1)}
    journal = (study.state_dir / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    finished = [event["run"] for event in map(json.loads, journal) if event.get("to") == "done"]
    assert sorted(finished) == sorted(runs)
    assert accounted(cluster, job_id) == ["COMPLETED", "COMPLETED"]
