"""The test's hand on the fake cluster: FakeSlurm."""

from __future__ import annotations

import atexit
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import lifecycle, node
from .client import PROGRAMS
from .model import Call, Config, Job
from .store import Cluster, read_calls
from .text import select

ROOT = Path(__file__).parents[2]
STUB = """#!{python} -IS
import sys
sys.path.insert(0, {root!r})
from tests.fakeslurm.{module} import main
main({argument})
"""


class FakeSlurm:
    """A Slurm cluster in a folder: eight programs for PATH, and jobs that really run.

    Job ids are given as sbatch and squeue write them: ``12``, ``"12_3"``; an array's id means
    all of its elements. Everything that was started dies with `stop`, or with this process.
    """

    def __init__(self, directory: Path, **settings: Any) -> None:
        self.directory = directory.absolute()
        self.bin = self.directory / "bin"
        self.bin.mkdir(parents=True)
        os.mkfifo(self.directory / "wake")
        for program in PROGRAMS:
            self._write_program(program, "client", repr(str(self.directory)))
        self.cluster = Cluster(self.directory, create=True)
        self.cluster.configure(settings)
        self._daemon = self._start_daemon()
        atexit.register(self.stop)

    def _write_program(self, name: str, module: str, argument: str) -> None:
        python = Path(sys.executable).resolve()
        text = STUB.format(python=python, root=str(ROOT), module=module, argument=argument)
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def _start_daemon(self) -> subprocess.Popen[bytes]:
        python = Path(sys.executable).resolve()
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        code += "from tests.fakeslurm.daemon import main; main()"
        with (self.directory / "daemon.log").open("ab") as log:
            command = [str(python), "-IS", "-c", code, str(self.directory)]
            # Its stdin closes when we are gone: then it kills its jobs and ends.
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Kills everything that the cluster started; may be called twice."""
        atexit.unregister(self.stop)
        if self._daemon.poll() is None:
            self._daemon.kill()
        self._daemon.wait()
        if self._daemon.stdin:
            self._daemon.stdin.close()
        node.kill_cluster(self.directory)
        self.cluster.close()

    # -- the cluster as the test sees it ------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Returns what a process needs to find the fake: PATH with its programs first."""
        return {"PATH": f"{self.bin}{os.pathsep}{os.environ.get('PATH', '')}"}

    def configure(self, **changes: Any) -> None:
        """Changes limits and faults (see Config), and ``next_job_id``."""
        self.cluster.configure(changes)
        self.cluster.wake_scheduler()

    @property
    def config(self) -> Config:
        """The limits and faults now in force."""
        return self.cluster.config()

    def calls(self, program: str = "") -> list[Call]:
        """Returns the client calls so far, of one program or of all."""
        return [c for c in read_calls(self.directory) if program in ("", c.program)]

    def forget_calls(self) -> None:
        """Starts the log of calls anew."""
        (self.directory / "calls.jsonl").unlink(missing_ok=True)

    def jobs(self, everything: bool = False) -> list[Job]:
        """Returns the current attempt at each element, or (`everything`) all attempts."""
        return self.cluster.jobs(everything)

    def job(self, job_id: int | str) -> Job:
        """Returns the one job of an id."""
        (job,) = self._named(job_id)
        return job

    def wait(self, job_id: int | str, *states: str, timeout: float = 10.0) -> list[Job]:
        """Waits until all elements of a job are in one of the states (default: are over)."""
        end = time.monotonic() + timeout
        while True:
            jobs = self._named(job_id)
            if all((j.state in states) if states else not j.live for j in jobs):
                return jobs
            if self._daemon.poll() is not None:
                raise RuntimeError((self.directory / "daemon.log").read_text())
            if time.monotonic() > end:
                now = ", ".join(f"{job.id} {job.state} ({job.reason})" for job in jobs)
                raise TimeoutError(f"after {timeout} s: {now}")
            time.sleep(0.01)

    # -- fate ---------------------------------------------------------------------------------

    def start(self, job_id: int | str) -> None:
        """Gives pending jobs a node, as the scheduler does, but starts no process."""
        with self.cluster.transaction():
            jobs = self.cluster.jobs()
            for job in select(jobs, str(job_id)):
                lifecycle.start(self.cluster, job, jobs, self.config, time.time())

    def finish(self, job_id: int | str, exit_code: int = 0) -> None:
        """Ends jobs as if their scripts had exited now; pending ones are taken to have run."""
        with self.cluster.transaction():
            jobs = self.cluster.jobs()
            for job in select(jobs, str(job_id)):
                if job.state == "PENDING":
                    lifecycle.start(self.cluster, job, jobs, self.config, time.time())
                lifecycle.finish(self.cluster, job, exit_code, 0, time.time())
        self.cluster.wake_scheduler()

    def kill(
        self,
        job_id: int | str,
        state: str,
        *,
        requeue: bool | None = None,
        survive: bool = False,
    ) -> None:
        """Ends running jobs with NODE_FAIL, PREEMPTED, TIMEOUT, OUT_OF_MEMORY or CANCELLED.

        After NODE_FAIL and PREEMPTED Slurm queues a job again if its --requeue says so;
        `requeue` overrides that. With `survive` the processes go on, as on a node that lost
        its slurmd: a writer that the cluster no longer knows of.
        """
        with self.cluster.transaction():
            now, grace = time.time(), self.config.preempt_grace
            for job in select(self.cluster.jobs(), str(job_id)):
                again = state in ("NODE_FAIL", "PREEMPTED") and job.spec.requeue
                again = again if requeue is None else requeue
                if state == "PREEMPTED" and grace:
                    job.deadline, job.deadline_state, job.warned = now + grace, state, False
                    job.spec.signal_lead_s = 1e9
                    self.cluster.add_submission(job.spec)
                    self.cluster.save(job)
                    continue
                uid = os.getuid() if state == "CANCELLED" else -1
                lifecycle.end_early(self.cluster, job, state, now, requeue=again, uid=uid)
                if survive:
                    job.completing, job.pid = False, 0
                    self.cluster.save(job)
                    if again:
                        lifecycle.next_attempt(self.cluster, job, now)
        self.cluster.wake_scheduler()

    def kill_step(self, job_id: int | str) -> None:
        """The kernel's OOM killer strikes inside srun: the step knows, the job may not."""
        with self.cluster.transaction():
            for step in self.cluster.steps(self.job(job_id)):
                if step.step != "batch" and not step.end_time:
                    step.oom = True
                    self.cluster.save_step(step)
                    os.killpg(step.pid, signal.SIGKILL)

    def requeue(self, job_id: int | str) -> None:
        """Sends jobs back to the queue."""
        with self.cluster.transaction():
            for job in select(self.cluster.jobs(), str(job_id)):
                lifecycle.requeue(self.cluster, job, time.time())
        self.cluster.wake_scheduler()

    def forget(self, job_id: int | str) -> None:
        """Loses jobs, as slurmctld does in a crash; sacct still has them."""
        with self.cluster.transaction():
            for job in select(self.cluster.jobs(), str(job_id)):
                job.forgotten = True
                self.cluster.save(job)

    # -- the whole cluster, saved and put back ------------------------------------------------

    def saved(self) -> sqlite3.Connection:
        """Returns a copy of all that the cluster remembers; no job may be running."""
        copy = sqlite3.connect(":memory:")
        self.cluster.db.backup(copy)
        return copy

    def put_back(self, saved: sqlite3.Connection) -> None:
        """Makes the cluster what it was when it was saved."""
        saved.backup(self.cluster.db)
        self.cluster.wake_scheduler()

    def _named(self, job_id: int | str) -> list[Job]:
        jobs = select(self.cluster.jobs(), str(job_id))
        if not jobs:
            raise KeyError(f"no job {job_id}")
        return jobs
