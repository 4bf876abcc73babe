"""The command line itself: weight, help, exit codes, init."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import app
from pipeline.workspace import Workspace, find_workspace
from tests.inprocess import study_in
from tests.pipeline.conftest import Cli

HEAVY = {"torch", "scipy", "numpy", "matplotlib", "submitit", "jinja2", "pydantic"}


def modules_after(arguments: list[str], folder: Path) -> set[str]:
    """Top-level modules that a command imports."""
    code = (
        "import sys, json, contextlib, io\n"
        "from pipeline.cli import app\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    app({arguments!r}, standalone_mode=False)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    """`pipeline --help` answers at once on a busy login node."""
    assert not modules_after(["--help"], tmp_path) & HEAVY


def test_status_imports_nothing_heavy(tmp_path: Path) -> None:
    """`pipeline status` of a finished study needs neither torch nor pydantic."""
    with study_in(tmp_path / "ws") as study:
        assert study.walk().code == 0
    assert not modules_after(["status"], study.workspace.root) & HEAVY


@pytest.mark.parametrize("command", sorted(app.commands))
def test_every_command_has_help_with_an_example(command: str, cli: Cli) -> None:
    """--help says what the command does and shows one real call."""
    done = cli(command, "--help")

    assert done.returncode == 0
    assert f"Example: pipeline {command}" in done.stdout


def test_init_makes_a_workspace_that_plans(tmp_path: Path, cli: Cli) -> None:
    """The miniature is written, valid, and never overwrites a study."""
    target = tmp_path / "new" / "study"

    assert cli("init", str(target)).returncode == 0
    assert cli("plan", "--workspace", str(target)).returncode == 0
    again = cli("init", str(target))
    assert again.returncode == 2
    assert "exists already" in again.stderr
    unknown = cli("init", str(tmp_path / "x"), "--template", "minature")
    assert unknown.returncode == 2
    assert 'did you mean "miniature"?' in unknown.stderr


def test_outside_a_workspace_the_way_in_is_shown(tmp_path: Path) -> None:
    """Without a study.toml every command says what to do, with exit code 2."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "status"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "pipeline init DIR" in done.stderr


def test_the_workspace_is_found_from_a_folder_inside_it(workspace: Workspace) -> None:
    """A command works from any folder of the workspace."""
    inner = workspace.root / "runs" / "deep"
    inner.mkdir(parents=True)

    assert find_workspace(inner).root == workspace.root.resolve()


def test_an_unknown_profile_names_the_nearest(cli: Cli) -> None:
    """A typo in --profile submits nothing."""
    done = cli("advance", "--profile", "locl")

    assert done.returncode == 2
    assert 'did you mean "local"?' in done.stderr


def test_without_slurm_the_slurm_profile_is_unreachable(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without Slurm commands a Slurm profile ends with exit code 4."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))

    done = cli("advance", "--profile", "a100")

    assert done.returncode == 4
    assert "--profile local" in done.stderr
    assert cli("advance", "--profile", "local").returncode == 0


def test_the_plan_fits_a_narrow_terminal(workspace: Workspace) -> None:
    """In 80 columns no column of numbers is cut."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "plan"],
        cwd=workspace.root,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "80"},  # a terminal, for rich
        capture_output=True,
        text=True,
        check=True,
    )
    printed = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)

    assert "phase     runs tasks forecast" in printed
    assert "…" not in printed
