"""Tasks of this machine that fail, diverge, are killed, cancelled or left alone."""

import json
import os
import signal
import subprocess
import sys

import psutil

from pipeline.state import RunStatus
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.pipeline.conftest import (
    WAIT_S,
    Cli,
    edit,
    kill_the_task,
    only_pilot,
    state_of,
    wait_for,
    write_profiles,
)


def test_ctrl_c_leaves_the_tasks_running_and_the_next_watch_goes_on(
    workspace: Workspace, cli: Cli
) -> None:
    """Interrupting the watch loses nothing: exit 130, tasks alive, the study still completes."""
    only_pilot(workspace)
    hold = workspace.root / "hold"  # what the toy waits for
    hold.touch()
    watch = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "advance", "--watch"],
        cwd=workspace.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    store = StateStore(workspace.state_dir)
    wait_for(lambda: store.path.exists() and any(
        run.status is RunStatus.RUNNING for run in state_of(workspace).runs.values()
    ))  # fmt: skip
    os.killpg(watch.pid, signal.SIGINT)  # what a terminal sends to the whole foreground group
    _, errors = watch.communicate(timeout=WAIT_S)

    assert watch.returncode == 130
    assert "what runs goes on" in errors
    (job,) = state_of(workspace).live_jobs().values()
    assert psutil.pid_exists(int(job.job_id or 0))
    hold.unlink()
    assert cli("advance", "--watch").returncode == 0
    assert {run.tries for run in state_of(workspace).runs.values()} == {1}


def test_no_more_tasks_run_than_the_profile_allows(workspace: Workspace, cli: Cli) -> None:
    """max_running bounds what is in flight, whatever submitit would start."""
    write_profiles(
        workspace, '[profiles.local]\nbackend = "local"\nmax_running = 2\nstack_size = 1\n'
    )
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1003"')
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.2")  # none ends while we look

    assert "submitted 2 runs in 2 tasks" in cli("advance").stdout
    assert "submitted" not in cli("advance").stdout
    assert len(state_of(workspace).live_jobs()) == 2
    assert sum(run.tries for run in state_of(workspace).runs.values()) == 2


def test_a_failed_run_stops_the_phase_with_exit_3_and_can_be_retried(
    workspace: Workspace, cli: Cli
) -> None:
    """A crash is told with its own words, later phases wait, and retry takes the run up again."""
    edit(workspace, "config.handicap = 0.5", "config.crash = true")

    stopped = cli("advance", "--watch")

    assert stopped.returncode == 3
    assert "toy crash of worse-s1000" in stopped.stdout
    assert "failed run needs a person, see above" in stopped.stderr
    status = json.loads(cli("status", "--json").stdout)
    assert [phase["status"] for phase in status["phases"]] == ["attention", "not_started"]
    failed = next(k for k, r in state_of(workspace).runs.items() if r.status is RunStatus.FAILED)
    logs = cli("logs", failed)
    assert "RuntimeError: toy crash" in logs.stdout

    assert cli("retry", failed).returncode == 0
    assert state_of(workspace).runs[failed].status is RunStatus.PLANNED
    assert cli("retry", failed).returncode == 2
    assert cli("advance", "--watch").returncode == 3
    assert state_of(workspace).runs[failed].tries == 2


def test_a_run_that_diverged_does_not_take_its_neighbour_along(
    workspace: Workspace, cli: Cli
) -> None:
    """In one stack, one run with a nan fails and the other one is done."""
    edit(workspace, "config.handicap = 0.5", "config.fail_at = 2")

    assert cli("advance", "--watch").returncode == 3

    runs = state_of(workspace).runs_of("pilot").values()
    assert {run.condition: run.status for run in runs} == {
        "baseline": RunStatus.DONE,
        "worse": RunStatus.FAILED,
    }
    assert {run.reason for run in runs} == {None, "loss is nan at step 2"}


def test_a_killed_task_is_tried_once_more_and_then_needs_a_person(
    workspace: Workspace, cli: Cli
) -> None:
    """kill -9 of everything may be an accident once; the second time a person is asked."""
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.2")
    cli("advance")
    kill_the_task(workspace)

    again = cli("advance")

    assert again.returncode == 0
    assert "killed without a trace: 2 runs tried again" in again.stdout
    kill_the_task(workspace)
    stopped = cli("advance")
    assert stopped.returncode == 3
    assert "killed without a trace: ended without a result" in stopped.stdout
    edit(workspace, "steps = 1000\nstep_s = 0.2", "steps = 3")
    assert cli("advance").returncode == 0  # other configs are other runs; the old ones are kept
    assert sum(not run.in_plan for run in state_of(workspace).runs.values()) == 2


def test_a_task_lives_as_long_as_any_of_its_processes(workspace: Workspace, cli: Cli) -> None:
    """Killing the controller alone ends nothing: the task still runs, and cancel reaches it."""
    edit(workspace, "steps = 3", "steps = 100\nstep_s = 0.2")
    cli("advance")
    (job,) = state_of(workspace).live_jobs().values()
    controller = psutil.Process(int(job.job_id or 0))
    wait_for(controller.children)
    (worker,) = controller.children()
    controller.kill()
    wait_for(lambda: not psutil.pid_exists(controller.pid))

    assert cli("advance").returncode == 0
    assert {run.tries for run in state_of(workspace).runs_of("pilot").values()} == {1}
    assert cli("cancel", "--yes").returncode == 0
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)


def test_cancel_ends_the_processes_and_says_so(workspace: Workspace, cli: Cli) -> None:
    """After cancel no process is left, the runs are failed, and retry plans them anew."""
    edit(workspace, "steps = 3", "steps = 100\nstep_s = 0.2")
    cli("advance")
    (job,) = state_of(workspace).live_jobs().values()

    assert cli("cancel", "--yes").returncode == 0

    wait_for(lambda: not psutil.pid_exists(int(job.job_id or 0)))
    reasons = {run.reason for run in state_of(workspace).runs_of("pilot").values()}
    assert reasons == {"cancelled with `pipeline cancel`"}
    assert cli("retry").returncode == 0


def test_cancel_works_with_a_broken_study(workspace: Workspace, cli: Cli) -> None:
    """A typo in study.toml does not keep jobs alive."""
    edit(workspace, "steps = 3", "steps = 100\nstep_s = 0.2")
    cli("advance")
    edit(workspace, "[config]", "[confg]")

    assert cli("cancel", "--yes").returncode == 0
    assert not [job for job in json.loads(cli("status", "--json").stdout)["phases"][0]["jobs"]
                if job["state"] == "RUNNING"]  # fmt: skip
