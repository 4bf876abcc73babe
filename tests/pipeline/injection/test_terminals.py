"""Texts order a terminal nothing, whatever screen, log or error they stand in."""

from __future__ import annotations

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given

from pipeline import display
from pipeline.site import Site, open_site
from pipeline.state import RunStatus, TaskState
from pipeline.store import StateStore
from pipeline.view import view_of
from pipeline.words import harmless
from pipeline.workspace import Workspace
from tests.inprocess import Cluster, installed, make_workspace, pipeline
from tests.pipeline.conftest import TOY_STUDY, Cli, state_of
from tests.pipeline.injection.odd import few, odd_texts


def obeyed(text: str) -> list[str]:
    """What a terminal would obey in a text, our own colours apart."""
    plain = re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", text)
    return [c for c in plain if not c.isprintable() and c not in "\n\t" and ord(c) < 0x2100]


@given(odd_texts)
def test_nothing_in_a_text_is_obeyed_by_a_terminal(text: str) -> None:
    """Escape sequences go as a whole, other control characters by themselves."""
    plain = harmless(text)
    assert not [c for c in plain if ord(c) < 32 and c not in "\n\t"]
    assert not set(plain) & {"\x7f", "\x9b", "\u202e", "\ud800"}
    assert harmless(plain) == plain
    assert not text.isprintable() or plain == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;owned\x07title", "title"),
        ("\x1b]8;;http://e\x1b\\link", "link"),
        ("\x1bPq#0\x1b\\six", "six"),
        ("a\x1b", "a"),
        ("50%\r100%\r\n", "50%\n100%\n"),
        ("a\tb\u202ec", "a\tbc"),
        ("\x1b]unended\nnext", "\nnext"),
    ],
)
def test_sequences_are_taken_out_whole(text: str, left: str) -> None:
    """Colours, titles, links, pictures; a sequence without an end takes its line alone."""
    assert harmless(text) == left


@few
@given(text=odd_texts)
def test_screens_show_hostile_names_as_text(slurm_screen: Site, text: str) -> None:
    """Nodes, reasons, gates and phases on the screen of status."""
    state = StateStore(slurm_screen.workspace.state_dir).load()
    assert state is not None
    (token,) = state.jobs
    task = replace(
        state.jobs[token].tasks[0], state=TaskState.RUNNING, node=text, scheduler_state=text
    )
    state = state.with_task(token, 0, task)
    key = next(iter(state.runs))
    failed = replace(state.runs[key], status=RunStatus.FAILED, reason=text, settled=True)
    view = view_of(slurm_screen.workspace, replace(state, runs={**state.runs, key: failed}), [text])
    shown = StringIO()
    out = display._HarmlessConsole(force_terminal=True, width=100, file=shown)
    out.print(display.status_screen(view, 100))
    assert obeyed(shown.getvalue()) == []


@pytest.fixture(scope="module")
def slurm_screen(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A study of which the pilot is queued."""
    place = make_workspace(tmp_path_factory.mktemp("screen") / "ws")
    with installed(Cluster()):
        pipeline("advance", "-w", str(place.root))
    return open_site(place, None)


def test_logs_and_reasons_are_shown_without_what_they_order(tmp_path: Path) -> None:
    """A task that prints escape sequences and fails orders nothing by `logs` or `why`."""
    place = make_workspace(tmp_path / "ws")
    root = str(place.root)
    evil = "\x1b]0;owned\x07\x1b[2J RuntimeError: \x9b31m\u202e boo"
    with installed(Cluster()) as cluster:
        pipeline("advance", "-w", root)
        (folder,) = place.logs_dir.iterdir()
        (folder / "100_0_log.out").write_text(f"Traceback (most recent call last):\n{evil}\n")
        cluster.jobs["100"].states[:] = [TaskState.ENDED]
        pipeline("advance", "-w", root)
        key = next(iter(state_of(place).runs_of("pilot")))
        for command in ("logs", "why"):
            ended = pipeline(command, key, "-w", root)
            assert "boo" in ended.out
            assert obeyed(ended.text) == []
        assert obeyed(pipeline("status", "-w", root).text) == []


def test_errors_show_hostile_keys_as_text(workspace: Workspace, cli: Cli) -> None:
    """A key of study.toml may hold anything; its complaint is one line of plain text."""
    text = TOY_STUDY + '\n["a\\u001b[31m\\nb"]\nx = 1\n'
    workspace.study_file.write_text(text, encoding="utf-8")
    done = cli("plan")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert obeyed(done.stderr) == []
