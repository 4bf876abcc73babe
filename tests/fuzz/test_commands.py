"""Whole commands on a workspace of which one file is damaged: an exit code, words, no traceback."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.conftest import TRIED
from tests.fuzz.damage import damaged
from tests.fuzz.specimens import Specimens
from tests.inprocess import Cluster, Ended, Stage, installed, pipeline
from tests.profiles import share

FILES = {
    "study.toml": 10,
    "slurm/profiles.toml": 10,
    ".state/pipeline.json": 5,
    ".state/pipeline.json.bak": 20,
    ".state/pipeline.json.sha256": 20,
    ".state/journal.jsonl": 20,
    ".state/changes.jsonl": 20,
    "runs/multiseed/*/result.json": 5,
    "runs/multiseed/**/metrics.jsonl": 10,
    "runs/multiseed/*/attempt.json": 20,
    "RESULTS.md": 20,
    "slurm/logs/*/task-0000.json": 20,
}
"""What is damaged, and how many times fewer examples that gets than a parser."""
COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("advance", "--dry-run"),
    ("plan",),
    ("report", "--check"),
)
CODES = {0, 2, 3, 4}


def assert_ended(ended: Ended, what: str) -> None:
    """A code of the contract, and no more lines of an error than there are problems."""
    assert ended.code in CODES, (what, ended)
    assert "Traceback" not in ended.text, (what, ended)
    assert "\x1b" not in ended.text, (what, ended)


@pytest.mark.parametrize("pattern", FILES)
def test_commands_survive_one_damaged_file(
    pattern: str, specimens: Specimens, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each reading command, whichever file it is."""
    workspace, root = specimens.workspace, str(specimens.workspace.root)
    stage = Stage.of(workspace, Cluster(), tmp_path_factory.mktemp("kept") / "ws")
    path = specimens.file(pattern)
    content = path.read_bytes()
    report = workspace.report_file.read_bytes()

    @share(FILES[pattern])
    @given(st.data())
    def every(data: st.DataObject) -> None:
        bad = data.draw(damaged(content))
        path.write_bytes(bad)
        TRIED[f"commands: {pattern}"] += 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for command in COMMANDS:
                ended = pipeline(*command, "-w", root)
                assert_ended(ended, " ".join(command))
                if command[0] == "report" and path.name == "result.json" and bad != content:
                    assert ended.code == 2
                    assert str(path) in ended.err
        assert workspace.report_file.read_bytes() in (report, bad)

    try:
        with installed(Cluster()):
            every()
    finally:
        stage.put_back()


@pytest.mark.parametrize("pattern", [name for name in FILES if "bak" not in name])
def test_what_is_no_file_is_named_by_every_command(
    pattern: str, specimens: Specimens, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A folder, a pipe, a link to itself or to nothing, and a device in the place of a file."""
    workspace, root = specimens.workspace, str(specimens.workspace.root)
    stage = Stage.of(workspace, Cluster(), tmp_path_factory.mktemp("kept") / "ws")
    path = specimens.file(pattern)
    try:
        with installed(Cluster()):
            for make in (folder, pipe, loop, nowhere, device):
                path.unlink()
                make(path)
                for command in COMMANDS:
                    ended = pipeline(*command, "-w", root)
                    assert_ended(ended, f"{make.__name__}: {' '.join(command)}")
                    if path.name in ("study.toml", "profiles.toml") and command[0] == "plan":
                        assert ended.code == 2
                        assert path.name in ended.err
                stage.put_back()
    finally:
        stage.put_back()


def folder(path: Path) -> None:
    """A folder of that name."""
    path.mkdir()


def pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def loop(path: Path) -> None:
    """A link to itself."""
    path.symlink_to(path)


def nowhere(path: Path) -> None:
    """A link to nothing."""
    path.symlink_to("gone")


def device(path: Path) -> None:
    """A file without end."""
    path.symlink_to("/dev/zero")
