"""Slurm itself ends tasks: a node is lost, a job of higher rank takes the place."""

from __future__ import annotations

import json

import psutil

from pipeline.digest import digest_of
from pipeline.failures.kinds import FailureClass
from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from slurm.testcluster.daemons import NODE_VARIABLE
from tests.pipeline.conftest import Cli, only_pilot, state_of
from tests.slurm.conftest import hold, release, set_profile
from tests.slurm.looks import (
    accounted,
    nodes_of,
    only_job,
    processes_of,
    queue,
    results_of,
    run_in,
    wait_for,
    wait_until_training,
)

UNDISTURBED = sum(1 / (1 + step) for step in range(4))
"""What the toy's losses add up to in its steps 0 to 3."""


def test_a_lost_node_is_left_out_and_what_goes_on_running_there_writes_nothing(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """Slurm queues one task again, we the other; the old ones go on, and each run is done once."""
    set_profile(study, stack_size=1)
    only_pilot(study)
    hold(study)
    assert cli("advance").returncode == 0
    wait_until_training(study, 2)
    job_id, job = only_job(study)
    again, lost = f"{job_id}_0", f"{job_id}_1"
    node = nodes_of(cluster)[lost]
    assert nodes_of(cluster)[again] == node
    old = trainers_on(node, study)
    assert len(old) == 2
    cluster.run("scontrol", "update", f"jobid={lost}", "requeue=0")
    cluster.daemon(node).kill()
    wait_for(lambda: lost not in queue(cluster) and nodes_of(cluster).get(again) != node)
    wait_for(lambda: accounted(cluster, lost) == ["NODE_FAIL"])
    why = cli("why", run_in(job, 1)).stdout
    assert "failed: node failure" in why
    assert "scheduler: NODE_FAIL" in why

    told = cli("advance").stdout

    assert "node failure: 1 run tried again on another node" in told
    assert f"{node} is left out until" in told
    assert state_of(study).bad_nodes[node].kind is FailureClass.NODE_FAILURE
    hold(study, node)  # the others go on
    assert cli("advance", "--watch").returncode == 0
    accepted = {key: run.result_digest for key, run in state_of(study).runs.items()}
    assert all(worker.is_running() for worker in old)
    release(study)
    wait_for(lambda: not trainers_on(node, study))
    results = results_of(study, "pilot")
    assert node not in {result.attempt.node for result in results.values()}
    paths = [study.run_dir(key) / "result.json" for key in accepted]
    assert [digest_of(path.read_bytes()) for path in paths] == list(accepted.values())
    assert sorted(finished(study)) == sorted(accepted)
    jobs = [job for job in state_of(study).jobs.values() if job.job_id != job_id]
    assert {job.excluded for job in jobs} == {(node,)}


def test_a_preempted_task_is_requeued_and_every_run_is_done_once(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """A job of a higher tier takes the node; the tasks come back by themselves and complete."""
    set_profile(study, partition="abrupt", stack_size=1)
    only_pilot(study)
    hold(study)
    assert cli("advance").returncode == 0
    wait_until_training(study, 2)
    job_id, _ = only_job(study)
    (node,) = set(nodes_of(cluster).values())
    wait_for(lambda: 0 not in seconds_of(cluster))  # Slurm counts them whole
    take_node(cluster, node)
    wait_for(lambda: "PREEMPTED" in accounted(cluster, job_id, "--duplicates"))
    release(study)

    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    runs = state_of(study).runs
    assert {(run.status, run.tries) for run in runs.values()} == {(RunStatus.DONE, 1)}
    assert sorted(finished(study)) == sorted(runs)
    assert accounted(cluster, job_id) == ["COMPLETED", "COMPLETED"]
    (job,) = [job for job in state_of(study).jobs.values() if job.job_id == job_id]
    assert {start.scheduler_state for task in job.tasks for start in task.earlier} == {"PREEMPTED"}
    assert json.loads(cli("status", "--json").stdout)["ledger"][0]["preempted"] > 0


def test_a_task_preempted_with_grace_goes_on_from_its_checkpoint(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """Told to stop, it saves and ends; that uses up no try, and its result is what it would be."""
    set_profile(study, partition="low", stack_size=1, failures={"max_tries": 1})
    only_pilot(study)
    hold(study)
    assert cli("advance").returncode == 0
    wait_until_training(study, 2)
    job_id, job = only_job(study)
    (node,) = set(nodes_of(cluster).values())
    take_node(cluster, node)
    wait_for(lambda: not any(task.startswith(job_id) for task in queue(cluster)))
    why = cli("why", run_in(job, 0)).stdout
    assert "failed: preempted" in why
    assert "stopped before its last step" in why

    resumed = cli("advance")
    assert "preempted: 2 runs resumed; this does not count as a try" in resumed.stdout
    release(study)
    assert cli("advance", "--watch").returncode == 0
    runs = state_of(study).runs_of("pilot").values()
    assert {(run.tries, run.uncounted, run.resumed) for run in runs} == {(2, 1, True)}
    assert totals(study) == {UNDISTURBED}


def test_a_time_limit_is_resumed_to_the_result_of_an_undisturbed_run(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """Warned ahead of it or killed at it, the runs go on from their checkpoints."""
    set_profile(study, stack_size=1, walltime_min=1, signal_lead_s=50)
    only_pilot(study)
    hold(study)
    assert cli("advance").returncode == 0
    wait_until_training(study, 2)
    job_id, job = only_job(study)
    cluster.run("scontrol", "update", f"jobid={job_id}_1", "EndTime=now+2seconds")
    wait_for(lambda: not queue(cluster), 90)
    for index, words in enumerate(["of the 1 min it may", "scheduler: TIMEOUT"]):
        why = cli("why", run_in(job, index)).stdout
        assert "failed: time limit" in why
        assert words in why

    release(study)
    assert cli("advance", "--watch").returncode == 0
    assert {run.resumed for run in state_of(study).runs_of("pilot").values()} == {True}
    assert totals(study) == {UNDISTURBED}


def seconds_of(cluster: Cluster) -> list[int]:
    """How long each task in the queue has been running."""
    text = cluster.run("squeue", "--noheader", "--array", "--Format=TimeUsed")
    return [int(line.rpartition(":")[2]) for line in text.splitlines()]


def take_node(cluster: Cluster, node: str) -> None:
    """Have a job of a higher tier take a whole node for a moment."""
    cluster.run(
        "sbatch", "--partition=normal", "--exclusive", f"--nodelist={node}",
        "--output=/dev/null", "--wrap=sleep 1",
    )  # fmt: skip


def trainers_on(node: str, workspace: Workspace) -> list[psutil.Process]:
    """Processes that train for the study on a node, whatever Slurm says of them."""
    return [
        process
        for process, environment in processes_of(workspace)
        if environment.get(NODE_VARIABLE) == node and _is_python(process)
    ]


def _is_python(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("python")
    except psutil.NoSuchProcess:  # it has ended meanwhile
        return False


def finished(workspace: Workspace) -> list[str]:
    """Runs in the order in which they were seen to be done, as the journal has them."""
    journal = (workspace.state_dir / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [event["run"] for event in map(json.loads, journal) if event.get("to") == "done"]


def totals(workspace: Workspace) -> set[object]:
    """Sums that the pilot's runs kept over all their steps."""
    return {result.details["total"] for result in results_of(workspace, "pilot").values()}
