"""This machine as a scheduler: one submitit controller process per task.

The controllers are started by a short-lived helper in a session of its own, so that neither
ctrl-C nor a closed terminal reaches them, and none stays behind as a zombie of ours.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from pipeline.errors import PipelineError
from pipeline.scheduler.base import Submission, Submitted, TaskStatus
from pipeline.state import JobRecord, TaskState

if TYPE_CHECKING:
    from pipeline.profiles import Profile

PROCESS_FILE = "process.json"
_CLOCK_SLACK_S = 2.0
_STOP_GRACE_S = 5.0


class LocalScheduler:
    """Tasks as processes of this machine; a job id is the pid of the task's controller."""

    def submit(self, submission: Submission, profile: "Profile") -> Submitted:
        """Start the task (one a job: `max_running` counts them) and return at once."""
        (task_file,) = submission.task_files
        order = {
            "folder": str(submission.folder),
            "workspace": str(submission.workspace),
            "task_file": str(task_file),
            "timeout_min": profile.walltime_min,
            "signal_lead_s": profile.signal_lead_s,
            "gpus": profile.gpus,
        }
        submission.folder.mkdir(parents=True, exist_ok=True)
        console = submission.folder / "controller.log"
        with console.open("ab") as output:  # a pipe would stay open as long as the task runs
            done = subprocess.run(
                [sys.executable, "-m", "pipeline.scheduler.launch_local", json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                check=False,
            )
        started = self.find(submission.token, submission.folder)
        if done.returncode != 0 or started is None:
            raise PipelineError(f"the task could not be started; see {console}")
        return started

    def query(self, jobs: Mapping[str, JobRecord]) -> dict[str, Sequence[TaskStatus]]:
        """A task runs as long as its very process does."""
        return {
            token: [_status(_process(job) is not None)] * len(job.tasks)
            for token, job in jobs.items()
        }

    def find(self, token: str, folder: Path) -> Submitted | None:
        """Read what the launch wrote down of the controller it started."""
        del token
        try:
            answer = json.loads((folder / PROCESS_FILE).read_bytes())
        except FileNotFoundError:
            return None
        return Submitted(str(answer["pid"]), answer["started"])

    def cancel(self, jobs: Mapping[str, JobRecord]) -> None:
        """Ask the processes to stop (SIGTERM), then end what is left."""
        families = [_family(process) for job in jobs.values() if (process := _process(job))]
        processes = [process for family in families for process in family]
        _send(processes, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_GRACE_S
        while any(_alive(process) for process in processes) and time.monotonic() < deadline:
            time.sleep(0.05)
        _send([process for process in processes if _alive(process)], signal.SIGKILL)


def _status(running: bool) -> TaskStatus:
    node = os.uname().nodename
    if running:
        return TaskStatus(TaskState.RUNNING, "RUNNING", node=node)
    return TaskStatus(TaskState.ENDED, "ENDED", node=node)


def _process(job: JobRecord) -> psutil.Process | None:
    """The controller, if that pid is still the process we started."""
    if job.job_id is None or job.process_started is None:
        return None
    process = _live(int(job.job_id))
    if process is None or abs(process.create_time() - job.process_started) > _CLOCK_SLACK_S:
        return None
    return process


def _live(pid: int) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None
    return process if _alive(process) else None


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [*process.children(recursive=True), process]
    except psutil.NoSuchProcess:
        return []


def _send(processes: Iterable[psutil.Process], number: int) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
