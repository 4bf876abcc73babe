"""A repair on this machine alone, where processes are the jobs."""

import shutil

from pipeline.advance import advance
from pipeline.doctor.repair import repair
from pipeline.site import open_site
from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from tests.pipeline.conftest import only_pilot, state_of, wait_for


def test_a_local_task_is_adopted_while_it_runs(workspace: Workspace) -> None:
    """The process goes on, and its result is the run's."""
    only_pilot(workspace)
    (workspace.root / "hold").touch()
    before = advance(open_site(workspace, None)).state
    code = workspace.state_dir / "code"
    code.rename(workspace.root / "code")
    shutil.rmtree(workspace.state_dir)
    workspace.state_dir.mkdir()
    (workspace.root / "code").rename(code)

    repair(workspace, None, lambda _: None)

    state = state_of(workspace)
    assert {token: job.job_id for token, job in state.jobs.items()} == {
        token: job.job_id for token, job in before.jobs.items()
    }
    assert {job.host for job in state.jobs.values()} == {job.host for job in before.jobs.values()}
    assert {run.status for run in state.runs.values()} == {RunStatus.RUNNING}
    (workspace.root / "hold").unlink()
    site = open_site(workspace, None)
    wait_for(lambda: {r.status for r in advance(site).state.runs.values()} == {RunStatus.DONE})
    assert {run.tries for run in state_of(workspace).runs.values()} == {1}
