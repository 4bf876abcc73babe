"""Slurm's daemons die, hang and come back while a study is under way."""

from __future__ import annotations

import time

import pytest

from pipeline.state import RunStatus, State
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from slurm.testcluster.daemons import NODE_VARIABLE
from tests.pipeline.conftest import Cli, state_of
from tests.slurm.conftest import hold, release, set_profile, temporary_cluster, use
from tests.slurm.looks import only_job, processes_of, queue, wait_for, wait_until_training


def done_at_the_first_try(state: State) -> bool:
    """Whether every run is done, and none was submitted twice."""
    return {(run.status, run.tries) for run in state.runs.values()} == {(RunStatus.DONE, 1)}


def test_a_controller_that_dies_costs_nothing_but_time(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """Meanwhile exit 4 and unchanged state; the tasks go on, and later the study completes."""
    hold(study)
    controller = cluster.daemon("slurmctld")
    assert cli("advance").returncode == 0
    wait_until_training(study)
    seen_at = time.time()  # slurmctld writes its state late; what it did not write it would lose
    wait_for(lambda: (cluster.folder.state / "job_state").stat().st_mtime > seen_at)
    stored = (study.state_dir / "pipeline.json").read_bytes()
    controller.kill()

    for command in ("advance", "status"):
        silent = cli(command)
        assert silent.returncode == 4, silent.stdout
        assert "Unable to contact slurm controller" in silent.stderr
    assert (study.state_dir / "pipeline.json").read_bytes() == stored

    release(study)  # the tasks end, and there is nobody to tell
    wait_for(lambda: len(list(study.runs_dir.glob("pilot/*/result.json"))) == 2)
    controller.start()
    assert cli("advance", "--watch").returncode == 0
    assert done_at_the_first_try(state_of(study))


def test_a_job_whose_sbatch_timed_out_is_adopted_not_submitted_again(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """A hanging controller takes the job after sbatch has given up; its token tells it is ours."""
    hold(study)
    controller = cluster.daemon("slurmctld")
    controller.freeze()
    timed_out = cli("advance")
    controller.thaw()

    assert timed_out.returncode == 4
    assert "Socket timed out" in timed_out.stderr
    (job,) = state_of(study).jobs.values()
    assert job.job_id is None
    wait_for(lambda: queue(cluster))
    assert "found job" in cli("advance").stdout
    job_id, _ = only_job(study)
    assert list(queue(cluster)) == [job_id]


def test_a_study_completes_while_accounting_is_down(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """sacct fails at every look: slurmctld still tells of a killed task, and results decide."""
    cluster.daemon("slurmdbd").kill()
    hold(study)
    assert cli("advance").returncode == 0
    wait_until_training(study)
    for process, environment in processes_of(study):
        if NODE_VARIABLE in environment and process.name().startswith("python"):
            process.kill()
    wait_for(lambda: not queue(cluster))
    release(study)
    (task,) = only_job(study)[1].tasks
    assert "failed: killed without a trace" in cli("why", task.runs[0]).stdout

    assert cli("advance", "--watch").returncode == 0
    tries = {(run.phase, run.status, run.tries) for run in state_of(study).runs.values()}
    assert tries == {("pilot", RunStatus.DONE, 2), ("multiseed", RunStatus.DONE, 1)}


def test_a_study_completes_without_accounting_in_arrays_of_four(
    study: Workspace, cluster: Cluster, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sacct is disabled and MaxArraySize small: on a second cluster, unnoticed by the first."""
    pids = [cluster.daemon(name).process for name in ("slurmctld", "node1")]
    set_profile(study, stack_size=1, canary=True)
    with temporary_cluster(accounting=False, nodes=2, max_array_size=4) as other:
        use(other, monkeypatch)
        done = cli("advance", "--watch")
        assert done.returncode == 0, done.stdout + done.stderr
        assert not queue(cluster)
    state = state_of(study)
    assert done_at_the_first_try(state)
    sizes = [len(job.tasks) for job in state.jobs.values() if job.phase == "multiseed"]
    assert sorted(sizes) == [1, 3, 4, 4]
    assert [cluster.daemon(name).process for name in ("slurmctld", "node1")] == pids
    assert None not in pids
