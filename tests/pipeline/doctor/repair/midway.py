"""A study in the middle of its phase, whose state tests break and repair."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.advance import advance
from pipeline.doctor.repair import repair
from pipeline.site import open_site
from pipeline.state import RunStatus, State
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import TOY_STUDY, make_toy, on_cluster, state_of, wait_for
from tests.pipeline.doctor.conftest import PROFILES

OLD = time.time() - 7200
"""When what was left behind is no longer taken for the work of a command under way."""
STUDY = TOY_STUDY.replace("[phases.pilot]\nseeds = [1000]\n", "")


@dataclass(frozen=True)
class Midway:
    """A study in the middle of its phase, on a cluster where nothing moves."""

    workspace: Workspace
    cluster: FakeSlurm
    state: State
    files: dict[Path, bytes]

    @property
    def store(self) -> StateStore:
        """The store as a new command opens it."""
        return StateStore(self.workspace.state_dir)

    def restore(self) -> StateStore:
        """Put all files back as they were."""
        for path in files_of(self.workspace).keys() - self.files.keys():
            path.unlink(missing_ok=True)
        for path in self.workspace.state_dir.glob("before-repair-*"):
            shutil.rmtree(path)
        for path, content in self.files.items():
            if not path.exists() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return self.store

    def lose_state(self) -> None:
        """Remove every file of `.state/`; the copy of the code that jobs run from stays."""
        for path in self.workspace.state_dir.iterdir():
            if path.is_file():
                path.unlink()

    def assert_nothing_is_lost(self, state: State) -> None:
        """Every submission is known, every result kept, nothing that lives would go in again."""
        ids = {str(job.array_id) for job in self.cluster.jobs()}
        assert {job.job_id for job in state.jobs.values()} == ids
        assert state.runs.keys() == self.state.runs.keys()
        for key, run in state.runs.items():
            before = self.state.runs[key]
            assert (run.status, run.job, run.task) == (before.status, before.job, before.task)
            assert (run.result_digest, run.tries) == (before.result_digest, 1)

    def assert_it_ends_with_what_was_submitted(self) -> None:
        """Let the cluster go on, and the study to its end: no run goes in twice."""
        arrays = {job.array_id for job in self.cluster.jobs()}
        (self.workspace.root / "hold").unlink()
        self.cluster.configure(slots=4)
        site = open_site(self.workspace, None)
        wait_for(lambda: not any(job.live for job in self.cluster.jobs()))
        state = advance(site).state
        assert {run.status for run in state.runs.values()} == {RunStatus.DONE}
        assert {run.tries for run in state.runs.values()} == {1}
        assert {job.array_id for job in self.cluster.jobs()} == arrays
        for key, before in self.state.runs.items():
            assert before.result_digest in (None, state.runs[key].result_digest)


def files_of(workspace: Workspace) -> dict[Path, bytes]:
    """Every file of a workspace, but what its jobs may be writing."""
    folders = (workspace.state_dir, workspace.runs_dir, workspace.logs_dir)
    paths = (path for folder in folders for path in folder.rglob("*"))
    return {path: path.read_bytes() for path in paths if path.is_file()}


@contextmanager
def gone_midway(folder: Path) -> Iterator[Midway]:
    """One task is done, one runs and never ends, one waits."""
    place = make_toy(folder / "ws", STUDY)
    on_cluster(place, f"{PROFILES}stack_size = 4\ncanary = false\n")
    forget_trainer()
    with pytest.MonkeyPatch.context() as patch, FakeSlurm(folder / "slurm", slots=1) as cluster:
        for name, value in cluster.environment().items():
            patch.setenv(name, value)
        hold = place.root / "hold"
        hold.write_text("no such node", encoding="utf-8")
        site = open_site(place, None)
        advance(site)
        wait_for(lambda: len(list(place.runs_dir.glob("*/*/result.json"))) == 4)
        hold.write_text("", encoding="utf-8")
        wait_for(lambda: [j.state for j in cluster.jobs()] == ["COMPLETED", "RUNNING", "PENDING"])
        wait_for(lambda: advance(site).state == advance(site).state)
        yield Midway(place, cluster, state_of(place), files_of(place))
        hold.unlink(missing_ok=True)
    forget_trainer()


def forget_trainer() -> None:
    """The next workspace has a trainer of its own."""
    sys.modules.pop("toy", None)
    sys.path[:] = [entry for entry in sys.path if not Path(entry, "toy.py").exists()]


def mended(workspace: Workspace) -> State:
    """The state after a repair."""
    repair(workspace, None, lambda _: None)
    return state_of(workspace)
