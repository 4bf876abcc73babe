"""A full, read-only or broken disk at every write of a study: said, survived, made good."""

from __future__ import annotations

import errno
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.failures.kinds import FailureClass
from pipeline.state import RunStatus
from pipeline.store import StateStore
from tests.faults import faulty
from tests.inprocess import Cluster, Stage, installed, make_workspace, pipeline
from tests.pipeline.conftest import state_of
from tests.profiles import NIGHTLY

ERRORS = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EIO)
STAGES = ("submits the pilot", "analyses the pilot and submits the rest", "analyses the rest")
LOCKED = "rename .state/lease"
"""The lock is there by then, whether or not a power cut would spare it."""
TOLERATED = re.compile(
    r"(open|write|mkdir|chmod|symlink) \.state/(lock|code/[0-9a-f]{64}\.diff)"  # who holds it
    r"|link \.state/pipeline\.json\.bak\.new"  # then it is copied
    r"|unlink |rmdir "  # of what may well stay
)
"""Calls that may fail without a word: what they are for has another way."""


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stage]]:
    """The toy study just before each of its steps."""
    folder = tmp_path_factory.mktemp("disk")
    workspace, found = make_workspace(folder / "ws"), {}
    with installed(Cluster(), brief=True) as cluster:
        for number, name in enumerate(STAGES):
            found[name] = Stage.of(workspace, cluster, folder / f"stage-{number}")
            assert pipeline("advance", "-w", str(workspace.root)).code == 0
            cluster.run()
        yield found


def points(calls: list[str]) -> list[int]:
    """Which calls are to fail: all of them nightly, else one of each kind."""
    if NIGHTLY:
        return list(range(len(calls)))
    kinds: dict[str, int] = {}
    for number, call in enumerate(calls):
        kind = re.sub(r"\.state/code/.*", "code", call)
        kind = re.sub(r"(-s\d+)?(-|\.|\.new-)[0-9a-f]{8,}|\d+", "", kind)
        kinds.setdefault(re.sub(r"(baseline|worse)", "run", kind), number)
    return list(kinds.values())


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
    assert len(chosen) > 15
    for turn, number in enumerate(chosen):
        for lasts in (False, True) if NIGHTLY else (turn % 2 == 0,):
            stage.put_back()
            error = ERRORS[turn % len(ERRORS)]
            with faulty(root, number, error, lasts=lasts) as failing:
                ended = pipeline("advance", "-w", str(root))
            call = f"{failing.calls[number]} ({errno.errorcode[error]}, lasts: {lasts})"
            silent = ended.code == 0 and all(tolerated(failing.calls, n) for n in failing.failed)
            assert ended.code == 2 or silent, (call, ended.text)
            if ended.code == 2:
                assert_said(ended.err, call)
            assert_nothing_lost(stage, call)
            again = pipeline("advance", "-w", str(root))
            assert again.code == 0, (call, again.text)
            assert standing(stage) == wanted, call
        if turn == 0:
            assert_ends_well(stage, call)


def tolerated(calls: list[str], number: int) -> bool:
    """Whether a call may fail without a word."""
    after_lock = number > 0 and calls[number - 1] == LOCKED
    return after_lock or TOLERATED.match(calls[number]) is not None


def standing(stage: Stage) -> dict[str, str]:
    """Where every run stands, and how often it was submitted."""
    files = [file.read_text() for job in stage.cluster.jobs.values() for file in job.task_files]
    return {
        key: f"{run.status} {sum(key.partition('/')[2] in text for text in files)}"
        for key, run in state_of(stage.workspace).runs.items()
    }


def assert_said(words: str, call: str) -> None:
    """One line: an error of ours, with what the system said."""
    lines = [line for line in words.splitlines() if not line.startswith(("waiting", "took over"))]
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


# -- in the job -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "matching",
    [
        r"(open|write|fsync) runs/.*/\.result\.json",
        r"(open|write) runs/.*/\.(result|failure)\.json",
        r"(open|write|mkdir|replace) runs/",
    ],
)
def test_a_run_without_room_for_its_result_fails_as_disk_full(
    tmp_path: Path, matching: str
) -> None:
    """Also when nothing but the log could say so; nothing is half accepted; a retry does it."""
    workspace = make_workspace(tmp_path / "ws")
    root = str(workspace.root)
    with installed(Cluster()) as cluster:
        pipeline("advance", "-w", root)
        with faulty(workspace.root, matching=matching, error=errno.ENOSPC):
            cluster.run()
        ended = pipeline("advance", "-w", root)
        assert ended.code == 3
        assert "disk full or over quota" in ended.out
        runs = state_of(workspace).runs_of("pilot")
        assert {run.failure for run in runs.values()} == {FailureClass.DISK_QUOTA}
        assert not list(workspace.runs_dir.glob("pilot/**/result.json"))
        assert pipeline("retry", "-w", root).code == 0
        for _ in range(3):
            assert pipeline("advance", "-w", root).code == 0
            cluster.run()
        state = state_of(workspace)
    assert {run.status for run in state.runs.values()} == {RunStatus.DONE}
    assert {run.tries for run in state.runs_of("pilot").values()} == {2}


# -- a disk that is really full ---------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for little more than one study."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all room that is left."""
    filler = place / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    return filler


def test_a_really_full_disk_stops_every_step_and_loses_nothing(small_disk: Path) -> None:
    """Full before each step and while tasks run: said, mended, and every run done in the end."""
    workspace = make_workspace(small_disk / "ws")
    root = str(workspace.root)
    with installed(Cluster()) as cluster:
        for turn in range(3):
            filler = fill(small_disk)
            ended = pipeline("advance", "-w", root)
            assert ended.code == 2, ended.text
            assert_said(ended.err, f"step {turn}")
            assert_nothing_lost(Stage(workspace, cluster, workspace.root, cluster), f"step {turn}")
            filler.unlink()
            assert pipeline("advance", "-w", root).code == 0
            if turn == 0:
                filler = fill(small_disk)
                cluster.run()
                filler.unlink()
                assert pipeline("advance", "-w", root).code == 3
                assert not list(workspace.runs_dir.glob("**/result.json"))
                assert pipeline("retry", "-w", root).code == 0
                assert pipeline("advance", "-w", root).code == 0
            cluster.run()
        assert pipeline("report", "--check", "-w", root).code == 0
    assert {run.status for run in state_of(workspace).runs.values()} == {RunStatus.DONE}
