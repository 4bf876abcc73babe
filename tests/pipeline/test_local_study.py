"""A whole study on this machine, used as a researcher would: walked, looked at, edited."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.state import RunStatus
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.pipeline.conftest import WAIT_S, Cli, edit, snapshot, state_of, wait_for


def test_a_study_walks_through_all_phases_and_then_nothing_changes(
    workspace: Workspace, cli: Cli
) -> None:
    """--watch ends with exit 0, results in place, a report; one more advance writes no byte."""
    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the study is complete" in done.stdout
    state = state_of(workspace)
    assert {run.status for run in state.runs.values()} == {RunStatus.DONE}
    assert len(list(workspace.runs_dir.glob("*/*/result.json"))) == 14
    assert workspace.report_file.exists()
    # A task may have left its results and not yet its process when the watch ended.
    wait_for(lambda: cli("advance").returncode == 0 and not state_of(workspace).live_jobs())
    before = snapshot(workspace)
    again = cli("advance")
    assert again.returncode == 0
    assert "nothing new" in again.stdout
    assert snapshot(workspace) == before


SWEEP = """
[phases.sweep]
condition = "worse"
seeds = "100-101"
grid = { handicap = [0.2, 0.1, 0.3] }

[phases.confirm]
of = "sweep"
seeds = "200-202"
metric = "test_loss"
"""


def test_a_selected_setting_is_confirmed_and_then_nothing_changes(
    workspace: Workspace, cli: Cli
) -> None:
    """The confirmation's runs appear once the sweep is in; one more advance writes no byte."""
    with workspace.study_file.open("a", encoding="utf-8") as file:
        file.write(SWEEP)
    assert "planned once sweep has selected" in cli("plan").stdout

    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "sweep: selected worse [handicap=0.1]" in done.stdout
    runs = state_of(workspace).runs_of("confirm")
    assert {run.arm for run in runs.values()} == {"baseline", "worse [handicap=0.1]"}
    assert {run.status for run in runs.values()} == {RunStatus.DONE}
    report = workspace.report_file.read_text(encoding="utf-8")
    assert "Selected: Handicapped, handicap = 0.1, by the declared rule" in report
    wait_for(lambda: cli("advance").returncode == 0 and not state_of(workspace).live_jobs())
    before = snapshot(workspace)
    assert "nothing new" in cli("advance").stdout
    assert snapshot(workspace) == before


def test_status_json_keeps_its_contract(cli: Cli) -> None:
    """The keys that scripts rely on are there before and after the first step."""
    for _ in range(2):
        view: dict[str, Any] = json.loads(cli("status", "--json").stdout)
        assert set(view) >= {"study", "workspace", "phases", "next", "attention"}
        for phase in view["phases"]:
            assert set(phase) == {"id", "status", "runs", "jobs"}
            assert set(phase["runs"]) == {"total", "done", "running", "pending", "failed"}
            for job in phase["jobs"]:
                assert set(job) == {"job_id", "state", "tasks"}
        assert [phase["id"] for phase in view["phases"]] == ["pilot", "multiseed"]
        cli("advance")
    assert view["phases"][0]["jobs"]


def test_status_and_dry_run_write_nothing(workspace: Workspace, cli: Cli) -> None:
    """Looking leaves no trace, not even a folder."""
    before = snapshot(workspace)

    assert cli("status").returncode == 0
    assert cli("plan").returncode == 0
    dry = cli("advance", "--dry-run")

    assert "would submit 2 runs of pilot in 1 task " in dry.stdout
    assert snapshot(workspace) == before
    assert not workspace.state_dir.exists()


def test_two_advances_at_once_submit_once(workspace: Workspace) -> None:
    """However many start together, every run is submitted exactly once."""
    command = [sys.executable, "-m", "pipeline", "advance"]
    started = [
        subprocess.Popen(command, cwd=workspace.root, stdout=subprocess.DEVNULL) for _ in range(4)
    ]

    assert [process.wait(WAIT_S) for process in started] == [0, 0, 0, 0]

    state = state_of(workspace)
    assert {run.tries for run in state.runs_of("pilot").values()} == {1}
    assert len({job.job_id for job in state.jobs.values()}) == len(state.jobs)


def test_a_watch_follows_an_edit_of_the_study(workspace: Workspace, cli: Cli) -> None:
    """Editing study.toml under a running watch changes what it submits next, not later."""
    hold = workspace.root / "hold"  # what the toy waits for
    hold.touch()
    watch = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "advance", "--watch"],
        cwd=workspace.root,
        stdout=subprocess.DEVNULL,
    )
    store = StateStore(workspace.state_dir)
    wait_for(lambda: store.path.exists() and state_of(workspace).jobs)
    edit(workspace, 'seeds = "0-5"', 'seeds = "10-15"')
    hold.unlink()

    assert watch.wait(WAIT_S) == 0
    assert {run.seed for run in state_of(workspace).runs_of("multiseed").values()} == set(
        range(10, 16)
    )
    assert cli("advance").stdout.startswith("- nothing new")


@pytest.mark.parametrize(
    "command", [["status"], ["advance"], ["plan"], ["report"], ["cancel", "-y"]]
)
def test_a_broken_state_file_stops_every_command_with_exit_2(
    workspace: Workspace, cli: Cli, command: list[str]
) -> None:
    """One line names file, line and column and the way back; the file is left as it is."""
    cli("advance")
    path: Path = workspace.state_dir / "pipeline.json"
    broken = path.read_text().replace('"phases": {', '"phases": {,')
    path.write_text(broken)

    done = cli(*command)

    assert done.returncode == 2
    assert "pipeline.json:" in done.stderr
    assert "`pipeline doctor --repair`" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_text() == broken
