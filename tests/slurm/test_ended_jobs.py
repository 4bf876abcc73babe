"""Slurm itself ends tasks: a node is lost, a job of higher rank takes the place."""

from __future__ import annotations

import json

from pipeline.state import RunStatus, TaskState
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from tests.pipeline.conftest import Cli, edit, state_of
from tests.slurm.conftest import hold, release, set_profile
from tests.slurm.looks import (
    accounted,
    nodes_of,
    only_job,
    queue,
    wait_for,
    wait_until_training,
)


def test_tasks_on_a_lost_node_go_on_elsewhere(study: Workspace, cluster: Cluster, cli: Cli) -> None:
    """The one that Slurm requeues waits; the other is tried again by us, without that node."""
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

    told = cli("advance")

    assert "node failure: 1 run tried again on another node" in told.stdout
    state = state_of(study)
    first, second = sorted(state.jobs.values(), key=lambda job: len(job.tasks), reverse=True)
    assert first.tasks[0].state is TaskState.QUEUED
    assert (first.tasks[1].scheduler_state, first.tasks[1].node) == ("NODE_FAIL", node)
    assert set(state.bad_nodes) == {node}
    assert second.excluded == (node,)
    assert RunStatus.DONE not in {run.status for run in state.runs.values()}


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
    tasks = state_of(study).jobs[next(iter(state_of(study).attempts().values()))[0][0]].tasks
    assert {start.scheduler_state for task in tasks for start in task.earlier} == {"PREEMPTED"}
    spent = json.loads(cli("status", "--json").stdout)["ledger"]
    assert spent[0]["preempted"] > 0


def test_a_time_limit_is_resumed_to_the_same_result(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """Slurm ends the job in the middle of training; the next one goes on from its checkpoint."""
    edit(study, "steps = 3", "steps = 40")
    hold(study)
    assert cli("advance").returncode == 0
    wait_until_training(study, 1)
    job_id, _ = only_job(study)
    cluster.run("scontrol", "update", f"jobid={job_id}", "EndTime=now+1seconds")
    wait_for(lambda: accounted(cluster, job_id) == ["TIMEOUT"], 90)

    told = cli("advance")
    release(study)
    done = cli("advance", "--watch")

    assert "time limit: 2 runs resumed with 30 min" in told.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    details = [
        json.loads(path.read_text(encoding="utf-8"))["details"]
        for path in study.runs_dir.glob("pilot/*/result.json")
    ]
    assert max(detail["resumed_from_step"] for detail in details) > 0
    assert {detail["total"] for detail in details} == {sum(1 / (1 + s) for s in range(41))}
    assert {run.tries for run in state_of(study).runs_of("pilot").values()} == {2}
