"""A whole study in this process: the command line called as a function, and a cluster that obeys.

What tests need that look at hundreds of steps of a study, each a little different: a step costs
milliseconds, and where the study stands can be put back.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from pipeline import cli, worker
from pipeline.scheduler import Submission, Submitted, TaskStatus
from pipeline.state import JobRecord, TaskState
from pipeline.workspace import Workspace
from tests.pipeline.conftest import PROFILES, make_toy, on_cluster

Drawings = dict[str, bytes]
_PICTURE = (
    b'<svg xmlns="http://www.w3.org/2000/svg" width="10pt" height="10pt"><title>a</title></svg>'
)


@dataclass
class Ended:
    """What a call of the command line came to."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that was printed."""
        return self.out + self.err


def pipeline(*arguments: str) -> Ended:
    """Call the command line as a user would; a bug of ours is raised, not turned into a code."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with (
        patch.object(sys, "argv", ["pipeline", *arguments]),
        patch.dict(os.environ, {"COLUMNS": "200"}),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
    return Ended(code, out.getvalue(), err.getvalue())


@dataclass
class Job:
    """One submission as the cluster has it."""

    token: str
    task_files: tuple[Path, ...]
    states: list[TaskState]


@dataclass
class Cluster:
    """Takes what is submitted, and runs it when told to, here, one task after the other."""

    jobs: dict[str, Job] = field(default_factory=dict)
    next_id: int = 100

    def submit(self, submission: Submission, profile: object) -> Submitted:
        """Take the tasks as one job."""
        del profile
        job_id = str(self.next_id)
        self.next_id += 1
        states = [TaskState.QUEUED] * len(submission.task_files)
        self.jobs[job_id] = Job(submission.token, submission.task_files, states)
        return Submitted(job_id)

    def find(self, token: str, folder: Path) -> Submitted | None:
        """The job of a token."""
        del folder
        return next((Submitted(i) for i, job in self.jobs.items() if job.token == token), None)

    def query(self, jobs: Mapping[str, JobRecord]) -> dict[str, Sequence[TaskStatus]]:
        """Where every task stands."""
        words = {TaskState.QUEUED: "PENDING", TaskState.ENDED: "COMPLETED"}
        found: dict[str, Sequence[TaskStatus]] = {}
        for token, record in jobs.items():
            states = self.jobs[record.job_id or ""].states
            found[token] = [
                TaskStatus(state, words[state], "0:0", "n1", 1.0, earlier=()) for state in states
            ]
        return found

    def cancel(
        self, jobs: Mapping[str, JobRecord], tasks: Mapping[str, Collection[int]] | None = None
    ) -> None:
        """Nothing here runs by itself."""

    def run(self) -> None:
        """Run all that waits; a task that fails says so in its runs' folders."""
        for job_id, job in self.jobs.items():
            for index, file in enumerate(job.task_files):
                if job.states[index] is TaskState.QUEUED:
                    element = f"{job_id}_{index}" if len(job.task_files) > 1 else job_id
                    _work(file, job_id, index, file.parent / f"{element}_0_log.out")
                    job.states[index] = TaskState.ENDED


def _work(file: Path, job_id: str, index: int, log_path: Path) -> None:
    """Run one task; its log takes what fits on the disk."""
    root, log = file.parents[3], io.StringIO()
    before = {number: signal.getsignal(number) for number in (signal.SIGUSR2, signal.SIGTERM)}
    here = {"SLURM_ARRAY_JOB_ID": job_id, "SLURM_ARRAY_TASK_ID": str(index)}
    try:
        with (
            patch.dict(os.environ, here),
            redirect_stderr(log),
            # The trainer was imported from the workspace by the step that submitted it.
            patch.object(worker, "_refuse_other_code", lambda _: None),
        ):
            worker.run_task(str(root), str(file))
    except Exception:  # as submitit prints it
        log.write(traceback.format_exc())
    finally:
        with suppress(OSError):
            log_path.write_text(log.getvalue())
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def installed(cluster: Cluster, *, brief: bool = False) -> Iterator[Cluster]:
    """Let every command submit to this cluster; figures are one small picture.

    A brief report is its title alone: where it is written counts, not what it says.
    """
    from pipeline import submit
    from pipeline.scheduler import slurm

    def reach(name: str) -> Any:
        return lambda _, *args: getattr(cluster, name)(*args)

    fates = {name: reach(name) for name in ("submit", "find", "query", "cancel")}
    with (
        patch.multiple(
            slurm.SlurmScheduler, check=lambda _: None, most_tasks=lambda _: 1000, **fates
        ),
        patch.dict(submit._SETTLE_S, {"slurm": 0}),
        ExitStack() as patches,
    ):
        patches.enter_context(patch("pipeline.figures.figures_of", _one_picture))
        if brief:
            title = patch("pipeline.report.render_report", lambda report, _: report.study)
            page = patch("pipeline.report_html.render_html", lambda *given: str(given[2]))
            patches.enter_context(title)
            patches.enter_context(page)
        yield cluster


def _one_picture(analysis: Any, *_rest: object, **_named: object) -> Drawings:
    phase = getattr(analysis, "phase", None)
    return {f"{phase}-strip.svg": _PICTURE} if phase else {}


def make_workspace(folder: Path) -> Workspace:
    """The toy study on the profile "cluster"."""
    place = make_toy(folder)
    on_cluster(place, PROFILES)
    return place


@dataclass
class Study:
    """The toy study on a cluster that runs its tasks here."""

    workspace: Workspace
    cluster: Cluster

    def call(self, *arguments: str) -> Ended:
        """A command of the study's."""
        return pipeline(*arguments, "-w", str(self.workspace.root))

    def walk(self) -> Ended:
        """Advance while there are tasks to run, as `advance --watch` would; the last step."""
        while True:
            ended = self.call("advance")
            if not any(TaskState.QUEUED in job.states for job in self.cluster.jobs.values()):
                return ended
            self.cluster.run()


@contextmanager
def study_in(folder: Path) -> Iterator[Study]:
    """A new study, with everything it submits run in this process."""
    with installed(Cluster()) as cluster:
        yield Study(make_workspace(folder), cluster)


@dataclass
class Stage:
    """A study at one point, put back as often as one likes."""

    workspace: Workspace
    cluster: Cluster
    copy: Path
    kept: Cluster

    @classmethod
    def of(cls, workspace: Workspace, cluster: Cluster, copy: Path) -> Stage:
        """Keep the study as it is now."""
        shutil.copytree(workspace.root, copy, symlinks=True)
        return cls(workspace, cluster, copy, deepcopy(cluster))

    def put_back(self) -> None:
        """Let the study be what it was."""
        shutil.rmtree(self.workspace.root)
        shutil.copytree(self.copy, self.workspace.root, symlinks=True)
        self.cluster.jobs = deepcopy(self.kept.jobs)
        self.cluster.next_id = self.kept.next_id
