"""A study carried on in pieces: `advance --for-min` stops this machine's tasks in time."""

import json

import pytest

from pipeline.failures.kinds import FailureClass
from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from tests.pipeline.conftest import Cli, edit, state_of, statuses, write_profiles

PIECE_MIN = "0.05"  # three seconds, of which tasks have one to stop
PROFILES = """
[profiles.local]
backend = "local"
max_running = 4
stack_size = 3
signal_lead_s = 1
poll_interval_s = 0.1
"""


@pytest.fixture
def pieces(workspace: Workspace) -> Workspace:
    """The toy study, of which one phase takes longer than a piece."""
    write_profiles(workspace, PROFILES)
    edit(workspace, "steps = 3", "steps = 40\nstep_s = 0.02")
    edit(workspace, "seeds = [1000]", 'seeds = [1000]\nconditions = ["baseline"]')
    return workspace


@pytest.mark.slow
def test_a_study_in_pieces_ends_as_an_undivided_one_would(pieces: Workspace, cli: Cli) -> None:
    """Each piece exits with 0, leaves nothing running and uses no try; results are the same."""
    last_lines: list[str] = []
    while not last_lines or "the study is complete" not in last_lines[-1]:
        done = cli("advance", "--for-min", PIECE_MIN)
        assert done.returncode == 0, done.stdout + done.stderr
        if "stopped run" in done.stdout:
            assert not state_of(pieces).live_jobs()
        last_lines.append(done.stdout.splitlines()[-1])
        assert len(last_lines) < 20, last_lines

    assert sum("stopped run" in line for line in last_lines) >= 1
    state = state_of(pieces)
    assert {run.status for run in state.runs.values()} == {RunStatus.DONE}
    assert all(run.tries - run.uncounted == 1 for run in state.runs.values())
    results = [json.loads(p.read_text()) for p in pieces.runs_dir.glob("*/*/result.json")]
    assert any(result["details"]["resumed_from_step"] > 0 for result in results)
    unbroken = sum(1.0 / (1 + step) for step in range(41))
    assert {result["details"]["total"] for result in results} == {unbroken}


def test_the_last_line_of_a_piece_says_what_is_stopped(pieces: Workspace, cli: Cli) -> None:
    """Runs that were stopped are planned again at once, with the attempt that they go on from."""
    edit(pieces, "steps = 40", "steps = 1000")

    done = cli("advance", "--for-min", PIECE_MIN)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "paused: 1 run planned again; this does not count as a try" in done.stdout
    assert done.stdout.splitlines()[-1] == "next: `pipeline advance` goes on with 1 stopped run"
    assert statuses(pieces, "pilot") == {RunStatus.PLANNED}
    (job,) = state_of(pieces).jobs.values()
    (failure,) = job.tasks[0].failures
    assert (failure.kind, failure.checkpoint) == (FailureClass.PAUSED, True)


def test_a_piece_too_short_to_stop_in_is_refused(pieces: Workspace, cli: Cli) -> None:
    """Before anything is submitted: the time to write checkpoints has to fit."""
    refused = cli("advance", "--for-min", "0.01")

    assert refused.returncode == 2
    assert "--for-min 0.01 is not longer than signal_lead_s = 1" in refused.stderr
    assert not pieces.state_dir.exists()


@pytest.mark.usefixtures("cluster")
def test_a_clusters_jobs_outlive_the_piece(workspace: Workspace, cli: Cli) -> None:
    """They need no machine of ours: the watch ends, they go on."""
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.2")
    path = workspace.root / "slurm" / "profiles.toml"
    path.write_text(path.read_text().replace("walltime_min", "signal_lead_s = 1\nwalltime_min"))

    done = cli("advance", "--for-min", "0.05")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "paused" not in done.stdout
    assert statuses(workspace, "pilot") <= {RunStatus.QUEUED, RunStatus.RUNNING}
    assert len(state_of(workspace).live_jobs()) == 1
    assert cli("cancel", "--yes").returncode == 0
