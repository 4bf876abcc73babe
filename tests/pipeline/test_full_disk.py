"""A full, read-only or broken disk at every write of a study: said, survived, made good."""

from __future__ import annotations

import errno
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.state import RunStatus
from pipeline.store import StateStore
from tests.faults import faulty
from tests.inprocess import Cluster, Stage, installed, make_workspace, pipeline
from tests.pipeline.conftest import state_of
from tests.profiles import NIGHTLY

ERRORS = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EIO)
STAGES = ("submits the pilot", "analyses the pilot and submits the rest", "analyses the rest")
TOLERATED = re.compile(
    r"(open|write|mkdir|chmod|symlink) \.state/(lock|code/[0-9a-f]{64}\.diff)"  # who holds it
    r"|link \.state/pipeline\.json\.bak\.new"  # then it is copied
    r"|unlink "  # of what may well stay
)
"""Calls that may fail without a word: what they are for has another way."""


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stage]]:
    """The toy study just before each of its steps."""
    folder = tmp_path_factory.mktemp("disk")
    workspace, found = make_workspace(folder / "ws"), {}
    with installed(Cluster()) as cluster:
        for number, name in enumerate(STAGES):
            found[name] = Stage.of(workspace, cluster, folder / f"stage-{number}")
            assert pipeline("advance", "-w", str(workspace.root)).code == 0
            cluster.run()
        yield found


def points(calls: list[str]) -> list[int]:
    """Which calls are to fail: all of them nightly, else the first and last of each kind."""
    if NIGHTLY:
        return list(range(len(calls)))
    kinds: dict[str, list[int]] = {}
    for number, call in enumerate(calls):
        kind = re.sub(r"\.state/code/.*", "code", call)
        kind = re.sub(r"-s\d+-[0-9a-f]{8}|(-|\.|\.new-)[0-9a-f]{8,}|\d+", "", kind)
        kinds.setdefault(kind, []).append(number)
    return sorted({number for of in kinds.values() for number in (of[0], of[-1])})


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_a_write_that_fails_is_named_and_the_next_advance_goes_on(
    stages: dict[str, Stage], name: str
) -> None:
    """Exit 2 in one line; a state that loads and knows every job; then the same end as without."""
    stage = stages[name]
    root = stage.workspace.root
    stage.put_back()
    with faulty(root) as disk:
        assert pipeline("advance", "-w", str(root)).code == 0
    wanted = standing(stage)
    chosen = points(disk.calls)
    assert len(chosen) > 20
    for number in chosen:
        stage.put_back()
        with faulty(root, number, ERRORS[number % len(ERRORS)]) as failing:
            ended = pipeline("advance", "-w", str(root))
        call = failing.calls[number] if number < len(failing.calls) else "never came"
        assert ended.code == 2 or (ended.code == 0 and TOLERATED.match(call)), (call, ended.text)
        if ended.code == 2:
            assert_said(ended.err, call)
        assert_nothing_lost(stage, call)
        again = pipeline("advance", "-w", str(root))
        assert again.code == 0, (call, again.text)
        assert standing(stage) == wanted, call
        assert not list(root.glob("**/.*.new")), call
        if number % 40 == 0:
            assert_ends_well(stage, call)


def standing(stage: Stage) -> dict[str, str]:
    """Where every run stands, and how often it was submitted."""
    files = [file.read_text() for job in stage.cluster.jobs.values() for file in job.task_files]
    return {
        key: f"{run.status} {sum(key.partition('/')[2] in text for text in files)}"
        for key, run in state_of(stage.workspace).runs.items()
    }


def assert_said(words: str, call: str) -> None:
    """One line: an error of ours, with what the system said."""
    lines = [line for line in words.splitlines() if not line.startswith("waiting")]
    assert len(lines) == 1, (call, words)
    assert lines[0].startswith("error: "), (call, words)
    assert "None" not in lines[0], (call, words)
    assert str(Path("/")) in lines[0], (call, words)  # it says where
    assert re.search(r"No space|Read-only|quota|Permission denied|Input/output", lines[0]), (
        call,
        words,
    )


def assert_nothing_lost(stage: Stage, call: str) -> None:
    """The state loads, and has an intent for every job that the cluster was given."""
    state = StateStore(stage.workspace.state_dir).load()
    tokens = {job.token for job in stage.cluster.jobs.values()}
    assert tokens <= set(state.jobs if state else {}), call


def assert_ends_well(stage: Stage, call: str) -> None:
    """Every run is done, once."""
    for _ in STAGES:
        stage.cluster.run()
        ended = pipeline("advance", "-w", str(stage.workspace.root))
        assert ended.code == 0, (call, ended.text)
    state = state_of(stage.workspace)
    assert {run.status for run in state.runs.values()} == {RunStatus.DONE}, call
    assert {run.tries for run in state.runs.values()} == {1}, call
    files = [file.name for job in stage.cluster.jobs.values() for file in job.task_files]
    assert Counter(files)["task-0000.json"] == 2, call
    assert pipeline("report", "--check", "-w", str(stage.workspace.root)).code == 0, call
