"""A study on a real Slurm when nothing goes wrong, and when a person ends it."""

from __future__ import annotations

import json

from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from tests.pipeline.conftest import Cli, edit, state_of
from tests.slurm.conftest import hold, set_profile
from tests.slurm.looks import accounted, only_job, queue, wait_for, wait_until_training


def test_a_study_walks_through_a_real_slurm_to_its_report(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """A single task, then an array of ten: every result names its element, node and GPU time."""
    edit(study, 'seeds = "0-5"', 'seeds = "0-9"')

    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    state = state_of(study)
    assert {(run.status, run.tries) for run in state.runs.values()} == {(RunStatus.DONE, 1)}
    jobs = {job.phase: job for job in state.jobs.values()}
    assert {phase: len(job.tasks) for phase, job in jobs.items()} == {"pilot": 1, "multiseed": 10}
    array = jobs["multiseed"].job_id or ""
    wait_for(lambda: accounted(cluster, array) == ["COMPLETED"] * 10)
    results = [json.loads(path.read_text()) for path in study.runs_dir.glob("multiseed/*/*.json")
               if path.name == "result.json"]  # fmt: skip
    attempts = [result["attempt"] for result in results]
    assert sorted(attempt["array_index"] for attempt in attempts) == sorted([*range(10)] * 2)
    assert {attempt["job_id"] for attempt in attempts} == {array}
    assert {attempt["node"] for attempt in attempts} <= {"node1", "node2", "node3", "node4"}
    assert all(result["gpu_s"] > 0 for result in results)
    assert "Verdict: **" in study.report_file.read_text(encoding="utf-8")


def test_name_and_comment_tell_whose_job_it_is(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """squeue shows study, phase and token: to a person, and to a later `advance`."""
    hold(study)
    assert cli("advance").returncode == 0
    (token,) = state_of(study).jobs

    shown = cluster.run("squeue", "--noheader", "--Format=Name:100,Comment:200").split()

    assert shown == [
        f"toy-pilot-{token}", "study-pipeline", "study=toy", "phase=pilot", f"token={token}"
    ]  # fmt: skip


def test_status_tells_queued_from_running_and_cancel_ends_both(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """Elements one at a time: one runs, the others wait; after cancel Slurm and state agree."""
    set_profile(study, stack_size=1, array_parallelism=1)
    edit(study, "seeds = [1000]", 'seeds = "1000-1001"')
    hold(study)
    assert cli("advance").returncode == 0
    wait_until_training(study)
    stored = (study.state_dir / "pipeline.json").read_bytes()

    phase = json.loads(cli("status", "--json").stdout)["phases"][0]

    assert phase["status"] == "running"
    assert phase["runs"] == {"total": 4, "done": 0, "running": 1, "pending": 3, "failed": 0}
    job_id, _ = only_job(study)
    assert phase["jobs"] == [{"job_id": job_id, "state": "RUNNING", "tasks": 4}]
    assert (study.state_dir / "pipeline.json").read_bytes() == stored

    assert cli("cancel", "--yes").returncode == 0
    wait_for(lambda: not queue(cluster))
    wait_for(lambda: cli("advance").returncode == 3 and only_job(study)[1].ended, 20)
    _, job = only_job(study)
    assert {task.scheduler_state for task in job.tasks} == {"CANCELLED"}
    reasons = {run.reason for run in state_of(study).runs_of("pilot").values()}
    assert reasons == {"cancelled with `pipeline cancel`"}
    assert not queue(cluster)
