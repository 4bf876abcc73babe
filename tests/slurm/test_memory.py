"""A real Slurm that kills what takes more memory than it asked for."""

from __future__ import annotations

import pytest

from pipeline.failures.kinds import FailureClass
from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from slurm.testcluster.memory import by_cgroups
from tests.pipeline.conftest import Cli, edit, only_pilot, state_of
from tests.slurm.conftest import set_profile, temporary_cluster, use
from tests.slurm.looks import only_job, queue, wait_for


@pytest.mark.usefixtures("session_cluster")  # skipped where no cluster can be had
def test_a_run_out_of_memory_is_tried_again_with_more_and_succeeds(
    study: Workspace, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel kills it at 1 GB; the policy asks for 2 GB, and that is enough."""
    set_profile(study, failures={"memory_max_gb": 2})
    edit(study, "steps = 3", "steps = 3\ntakes_mb = 1300")
    only_pilot(study)
    with temporary_cluster(nodes=1, enforce_memory=True) as cluster:
        use(cluster, monkeypatch)
        assert cli("advance").returncode == 0
        _, job = only_job(study)
        key, _ = job.tasks[0].runs
        wait_for(lambda: not queue(cluster))
        wait_for(lambda: "failed: host out of memory" in cli("why", key).stdout)
        why = cli("why", key).stdout
        words = "cgroup out-of-memory handler" if by_cgroups() else "job memory limit"
        assert words in why

        done = cli("advance", "--watch")

        assert done.returncode == 0, done.stdout + done.stderr
    assert "host out of memory: 2 runs tried again with 2 GB" in done.stdout
    state = state_of(study)
    assert [job.mem_gb for job in state.jobs.values()] == [1, 2]
    first, second = state.jobs.values()
    assert {failure.kind for failure in first.tasks[0].failures} == {
        FailureClass.HOST_OUT_OF_MEMORY
    }
    assert second.tasks[0].failures == ()
    assert {(run.status, run.tries) for run in state.runs.values()} == {(RunStatus.DONE, 2)}
