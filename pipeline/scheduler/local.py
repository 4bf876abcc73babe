"""This machine as a scheduler: one submitit controller process per task.

The controllers are started by a short-lived helper in a session of its own, so that neither
ctrl-C nor a closed terminal reaches them, and none stays behind as a zombie of ours. A task is
known by its folder, whose name holds the token: it stands in the command line of the helper, the
controller and the worker, and lives as long as one of them does, whichever was killed.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from pipeline.errors import PipelineError, SchedulerUnreachableError
from pipeline.files import read_bytes
from pipeline.provenance import node_name
from pipeline.scheduler.base import FollowUp, Submission, Submitted, TaskStatus, python_path
from pipeline.state import JobRecord, TaskState, is_job_id

if TYPE_CHECKING:
    from pipeline.profiles import Profile

PROCESS_FILE = "process.json"
NO_QUEUE = (
    "--auto leaves a job in a cluster's queue, and this profile is this machine alone, where no "
    "job can wait for others; `pipeline advance --watch` stays and does the same"
)
_CONTROLLER = "submitit.local._local"
_STOP_GRACE_S = 5.0
_POLL_S = 0.05


class LocalScheduler:
    """Tasks as processes of this machine; a job id is the pid of the task's controller."""

    def check(self) -> None:
        """This machine is always there."""

    def most_tasks(self) -> int:
        """One: `max_running` counts them."""
        return 1

    def submit(self, submission: Submission, profile: "Profile") -> Submitted:
        """Start the task and return at once."""
        (task_file,) = submission.task_files
        order = {
            "folder": str(submission.folder),
            "workspace": str(submission.workspace),
            "task_file": str(task_file),
            "timeout_min": profile.walltime_min,
            "signal_lead_s": profile.signal_lead_s,
            "gpus": profile.gpus,
        }
        console = submission.folder / "controller.log"
        with console.open("ab") as output:  # a pipe would stay open as long as the task runs
            launch = subprocess.Popen(
                [sys.executable, "-P", "-m", "pipeline.scheduler.launch_local", json.dumps(order)],
                cwd=submission.workspace,
                env={**os.environ, "PYTHONPATH": python_path(submission)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        launch.wait()  # when ctrl-C comes now, the launch goes on, and `find` finds it
        started = self.find(submission.token, submission.folder)
        if started is None:
            raise PipelineError(f"the task could not be started; see {console}")
        return started

    def follow_up(self, request: FollowUp, profile: "Profile") -> Submitted:
        """There is no queue here in which a job could wait for others.

        Raises:
            PipelineError: always.
        """
        del request, profile
        raise PipelineError(NO_QUEUE)

    def aim(self, job_id: str, after: Sequence[str]) -> None:
        """There is no follow-up here.

        Raises:
            PipelineError: always.
        """
        del job_id, after
        raise PipelineError(NO_QUEUE)

    def query(self, jobs: Mapping[str, JobRecord]) -> dict[str, Sequence[TaskStatus]]:
        """A task runs as long as one of its processes does.

        Raises:
            SchedulerUnreachableError: the tasks were started on another machine.
        """
        _refuse_other_hosts(jobs.values())
        processes = _processes(jobs)
        return {token: [_status(processes[token])] * len(job.tasks) for token, job in jobs.items()}

    def find(self, token: str, folder: Path) -> Submitted | None:
        """Read what the launch wrote down, once no launch is under way any more."""
        while (pid := _written_pid(folder)) is None and (processes := _mentioning([token])[token]):
            for process in processes:
                if _CONTROLLER in process.info["cmdline"]:  # the launch died before it wrote
                    return Submitted(str(process.pid))
            time.sleep(_POLL_S)
        return None if pid is None else Submitted(pid)

    def cancel(
        self, jobs: Mapping[str, JobRecord], tasks: Mapping[str, Collection[int]] | None = None
    ) -> None:
        """Ask the processes to stop (SIGTERM); end what is left after the time that it may take.

        Raises:
            SchedulerUnreachableError: the tasks were started on another machine.
        """
        _refuse_other_hosts(jobs.values())
        chosen = {
            t: job for t, job in jobs.items() if tasks is None or tasks[t]
        }  # of one task each
        processes = [process for family in _processes(chosen).values() for process in family]
        _send(processes, signal.SIGTERM)
        grace_s = max([_STOP_GRACE_S, *(job.signal_lead_s for job in chosen.values())])
        deadline = time.monotonic() + grace_s
        while any(_alive(process) for process in processes) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        _send([process for process in processes if _alive(process)], signal.SIGKILL)


def _written_pid(folder: Path) -> str | None:
    """What the launch wrote down; None when there is nothing that can be a process id."""
    try:
        pid = str(json.loads(read_bytes(folder / PROCESS_FILE))["pid"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return pid if is_job_id(pid) else None


def _refuse_other_hosts(jobs: Iterable[JobRecord]) -> None:
    for job in jobs:
        if job.host not in (None, node_name()):
            raise SchedulerUnreachableError(
                f"job {job.job_id} runs on {job.host} and can only be seen from there; "
                "run the command on that machine; nothing was changed"
            )


def _status(processes: Sequence[psutil.Process]) -> TaskStatus:
    if processes:
        running_s = [s for process in processes if (s := _age_s(process)) is not None]
        elapsed_s = max(running_s, default=None)
        return TaskStatus(TaskState.RUNNING, "RUNNING", node=node_name(), elapsed_s=elapsed_s)
    return TaskStatus(TaskState.ENDED, "ENDED", node=node_name())


def _processes(jobs: Mapping[str, JobRecord]) -> dict[str, list[psutil.Process]]:
    """Live processes of each job (by token), with all that they started."""
    found = _mentioning(list(jobs))
    return {token: _with_children(processes) for token, processes in found.items()}


def _mentioning(tokens: Sequence[str]) -> dict[str, list[psutil.Process]]:
    """Live processes whose command line names the folder of a token."""
    found: dict[str, list[psutil.Process]] = {token: [] for token in tokens}
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or ())
        for token in tokens:
            if f"-{token}" in words and _alive(process):
                found[token].append(process)
    return found


def _with_children(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    family = {process.pid: process for process in processes}
    for process in processes:
        try:
            family |= {child.pid: child for child in process.children(recursive=True)}
        except psutil.NoSuchProcess:
            continue
    return list(family.values())


def _age_s(process: psutil.Process) -> float | None:
    try:
        return max(0.0, time.time() - process.create_time())
    except psutil.NoSuchProcess:
        return None


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _send(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
