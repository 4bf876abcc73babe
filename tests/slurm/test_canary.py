"""The canary on a real Slurm: one task goes first, and what it shows decides about the others."""

from __future__ import annotations

from collections import Counter

from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from tests.pipeline.conftest import Cli, edit, state_of
from tests.slurm.conftest import set_profile
from tests.slurm.looks import only_job, queue, wait_for


def tally(workspace: Workspace) -> Counter[RunStatus]:
    """Where the pilot's runs stand."""
    return Counter(run.status for run in state_of(workspace).runs_of("pilot").values())


def test_a_first_task_that_fails_burns_nothing_else(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """Six tasks, all with the same mistake: Slurm sees one of them, and a person is asked."""
    set_profile(study, canary=True)
    edit(study, "seeds = [1000]", 'seeds = "1000-1005"')
    edit(study, "steps = 3", "steps = 3\ncrash = true")

    failed = cli("advance", "--watch")

    assert failed.returncode == 3
    assert "canary: the first task of pilot failed; 5 other tasks not submitted" in failed.stdout
    assert tally(study) == {RunStatus.FAILED: 2, RunStatus.PLANNED: 10}
    _, job = only_job(study)
    assert len(job.tasks) == 1
    assert not queue(cluster)


def test_a_step_of_the_first_task_lets_the_others_go(
    study: Workspace, cluster: Cluster, cli: Cli
) -> None:
    """Once it has done 1 % of its steps the other five go in one array, while it still trains."""
    set_profile(study, canary=True)
    edit(study, "seeds = [1000]", 'seeds = "1000-1005"')
    edit(study, "steps = 3", "steps = 4000\nstep_s = 0.01")
    assert "canary: 1 task of pilot first; 5 wait until it reaches step 40" in cli("advance").stdout
    (first,) = queue(cluster)

    wait_for(lambda: "the first task of pilot works; the others go" in cli("advance").stdout)

    tasks = queue(cluster)
    assert tasks.pop(first) == "RUNNING"
    assert len(tasks) == 5
    assert len({name.partition("_")[0] for name in tasks}) == 1
    assert tally(study)[RunStatus.PLANNED] == 0
