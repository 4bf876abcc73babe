"""Looking at one run while it runs and after: `pipeline logs -f`, `pipeline why`."""

import os
import signal
import subprocess
import sys

import pytest

from pipeline.workspace import Workspace
from tests.pipeline.conftest import WAIT_S, Cli, edit, reports_of, state_of, wait_for


def first_run(workspace: Workspace) -> str:
    """The first run of the pilot."""
    return sorted(state_of(workspace).runs_of("pilot"))[0]


def talk(workspace: Workspace) -> None:
    """Have the toy trainer say something at every step."""
    toy = workspace.root / "toy.py"
    old = "                loss = 1.0 / (1 + step)\n"
    text = toy.read_text()
    assert old in text
    toy.write_text(text.replace(old, f'{old}                print("at step", step, flush=True)\n'))


def test_follow_prints_what_is_added_and_ends_with_the_task(workspace: Workspace, cli: Cli) -> None:
    """From before the first line to the last one, without a second look by hand."""
    talk(workspace)
    edit(workspace, "steps = 3", "steps = 12\nstep_s = 0.1")
    cli("advance")

    done = cli("logs", first_run(workspace), "--follow")

    assert done.returncode == 0, done.stderr
    assert "at step 0\n" in done.stdout
    assert done.stdout.count("at step 12\n") == 2  # of both runs of the stack
    short = cli("logs", first_run(workspace), "--lines", "1")
    assert len(short.stdout.splitlines()) == 2


def test_ctrl_c_ends_following_and_leaves_the_task_alone(workspace: Workspace, cli: Cli) -> None:
    """Exit 130, no traceback; what runs goes on."""
    talk(workspace)
    edit(workspace, "steps = 3", "steps = 300\nstep_s = 0.1")
    cli("advance")
    following = subprocess.Popen(
        [sys.executable, "-u", "-m", "pipeline", "logs", "-f", first_run(workspace)],
        cwd=workspace.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert following.stdout is not None
    while "at step 2" not in following.stdout.readline():
        assert following.poll() is None
    os.killpg(following.pid, signal.SIGINT)
    _, errors = following.communicate(timeout=WAIT_S)

    assert following.returncode == 130
    assert "Traceback" not in errors
    assert [job.ended for job in state_of(workspace).jobs.values()] == [False]


def test_why_speaks_of_runs_in_every_state(workspace: Workspace, cli: Cli) -> None:
    """Not submitted, running, done: each with what is known, and exit 0."""
    edit(workspace, "steps = 3", "steps = 40\nstep_s = 0.1")
    assert cli("why", "anything").returncode == 2  # nothing was submitted yet
    cli("advance")
    key = first_run(workspace)
    wait_for(lambda: reports_of(workspace, key) > 2)
    later = sorted(state_of(workspace).runs_of("multiseed"))[0]

    running = cli("why", first_run(workspace))
    planned = cli("why", later.partition("/")[2])

    assert running.returncode == planned.returncode == 0
    assert "running on" in running.stdout
    assert " of 40 at " in running.stdout
    assert "not submitted: waits for its phase" in planned.stdout
    edit(workspace, "step_s = 0.1", "step_s = 0.0")
    assert cli("advance", "--watch").returncode == 0
    done = cli("why", first_run(workspace))
    assert "done" in done.stdout
    assert "result accepted" in done.stdout


@pytest.mark.parametrize("command", ["why", "logs", "cancel", "retry"])
def test_help_has_an_example(cli: Cli, command: str) -> None:
    """Every command shows how it is typed."""
    assert f"Example: pipeline {command}" in cli(command, "--help").stdout
