"""The fake slurmctld and slurmd in one small process: starts, watches, signals and ends jobs.

It belongs to the test that made the cluster: when that process ends, however it ends, the pipe
on stdin closes, and the daemon kills what it started and leaves.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from . import lifecycle, node
from .model import FINISHED, Config, Job, Step
from .scancel import send
from .schedule import plan
from .store import Cluster

POLL_S = 0.02  # while processes of an ended job linger
BECOME_REAPER = 36  # PR_SET_CHILD_SUBREAPER: orphans of jobs come to us, and leave no zombies


class Daemon:
    """Carries the jobs of one cluster from PENDING to their end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cluster = Cluster(directory)
        self.shells: dict[int, str] = {}  # pid of a batch shell -> key of its job
        self.ended: dict[str, int] = {}  # key -> wait status, until the job hears of it
        self.wake = os.open(directory / "wake", os.O_RDWR | os.O_NONBLOCK)
        children, children_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.children = children
        signal.set_wakeup_fd(children_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        ctypes.CDLL(None).prctl(BECOME_REAPER, 1, 0, 0, 0)

    def run(self) -> None:
        """Works until the owner closes our stdin."""
        while True:
            pause = self.tick()
            ready, _, _ = select.select([0, self.wake, self.children], [], [], pause)
            if 0 in ready:
                return
            for descriptor in ready:
                with suppress(BlockingIOError):
                    os.read(descriptor, 4096)

    def tick(self) -> float | None:
        """Does what is due; returns how long nothing will be."""
        self._reap()
        cluster, now = self.cluster, time.time()
        config = cluster.config()
        with cluster.transaction():
            jobs = cluster.jobs()
            for job in jobs:
                if job.state == "RUNNING":
                    self._check_running(job, config, now)
                if job.completing:
                    self._complete(job, config, now)
            self._drop_finished(jobs)
            jobs = cluster.jobs()
            self._start_pending(jobs, config, now)
        return self._until_next(jobs, config)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return
                if pid in self.shells:
                    self.ended[self.shells.pop(pid)] = status

    # -- a job runs ---------------------------------------------------------------------------

    def _start_pending(self, jobs: list[Job], config: Config, now: float) -> None:
        starts, reasons = plan(jobs, config, now)
        for job in starts:
            lifecycle.start(self.cluster, job, jobs, config, now)
            self._launch(job, now)
        for job in jobs:
            reason = reasons.get(job.key, job.reason)
            if job.state == "PENDING" and reason != job.reason:
                job.reason = job.pending_reason = reason
                self.cluster.save(job)

    def _launch(self, job: Job, now: float) -> None:
        batch = Step(job.key, "batch", "batch", now)
        try:
            job.pid = node.start_batch(job, self.directory)
            self.shells[job.pid] = job.key
            self.cluster.save(job)
        except OSError as error:
            sys.stderr.write(f"{job.id}: {error}\n")
            batch.state, batch.exit_signal, batch.end_time = "CANCELLED", 53, now
            lifecycle.finish(self.cluster, job, 0, 53, now)
        finally:
            os.chdir(self.directory)
        self.cluster.save_step(batch)

    def _check_running(self, job: Job, config: Config, now: float) -> None:
        if job.key in self.ended:
            self._finish(job, self.ended.pop(job.key), now)
        elif now >= job.deadline:
            again = job.deadline_state == "PREEMPTED" and job.spec.requeue
            lifecycle.end_early(self.cluster, job, job.deadline_state, now, requeue=again)
        elif job.spec.signal and not job.warned and now >= _warning_time(job, config):
            job.warned = True
            send(self.cluster, job, int(job.spec.signal), batch=job.spec.signal_batch)
            self.cluster.save(job)

    def _finish(self, job: Job, status: int, now: float) -> None:
        """The batch script ended: what it left running in the job is killed."""
        self._end_batch_step(job, status, now)
        node.kill_job(self.directory, job)
        self._close_steps(job, now)
        worst = max(
            ((s.exit_code, s.exit_signal) for s in self.cluster.steps(job) if s.step != "batch"),
            default=(0, 0),
        )
        job.derived_code, job.derived_signal = worst
        job.pid = 0
        code, number = _split_status(status)
        lifecycle.finish(self.cluster, job, code, number, now)

    def _end_batch_step(self, job: Job, status: int, now: float) -> None:
        code, number = _split_status(status)
        for step in self.cluster.steps(job):
            if step.step == "batch" and not step.end_time:
                oom = job.state == "OUT_OF_MEMORY"
                step.state = job.state if oom else _step_state(code, number)
                step.exit_code, step.exit_signal, step.end_time = code, 125 if oom else number, now
                self.cluster.save_step(step)

    # -- a job was ended from outside ---------------------------------------------------------

    def _complete(self, job: Job, config: Config, now: float) -> None:
        """TERM, after KillWait KILL, and when nothing is left the job is over."""
        steps = self.cluster.steps(job)
        if job.term_at and now >= job.term_at:
            node.write_end_notes(job, steps)
            gentle = job.state != "OUT_OF_MEMORY"
            node.signal_job(job, steps, *((signal.SIGCONT, signal.SIGTERM) if gentle else ()))
            job.term_at, job.termed_at = 0.0, now if gentle else 1.0  # long ago: KILL at once
            self.cluster.save(job)
        if job.termed_at and now >= job.termed_at + config.kill_wait:
            node.kill_job(self.directory, job)
        if job.key in self.ended:
            self._end_batch_step(job, self.ended.pop(job.key), now)
        groups = [job.pid, *(step.pid for step in steps if not step.end_time)]
        if job.term_at or any(pid and node.group_alive(pid) for pid in groups):
            return
        node.kill_job(self.directory, job)
        job.completing, job.pid = False, 0
        self._close_steps(job, now)
        self.cluster.save(job)
        if job.requeue_after:
            lifecycle.next_attempt(self.cluster, job, now)

    def _close_steps(self, job: Job, now: float) -> None:
        """Ends the steps whose srun was killed before it could report."""
        for step in self.cluster.steps(job):
            if not step.end_time:
                step.state, step.exit_signal, step.end_time = "CANCELLED", signal.SIGKILL, now
                self.cluster.save_step(step)

    def _drop_finished(self, jobs: list[Job]) -> None:
        """Kills what a test declared finished by hand, unless it was left behind on purpose."""
        over = {job.key: job for job in jobs if job.state in FINISHED and not job.completing}
        for pid, key in list(self.shells.items()):
            job = over.get(key)
            if job and job.pid == pid:
                node.kill_job(self.directory, job)
                self._end_batch_step(job, job.exit_code << 8, time.time())
                job.pid = 0
                self.cluster.save(job)
                del self.shells[pid]

    def _until_next(self, jobs: list[Job], config: Config) -> float | None:
        now = time.time()
        moments = [now + POLL_S for job in jobs if job.completing]
        for job in jobs:
            if job.state == "RUNNING":
                moments.append(job.deadline)
                if job.spec.signal and not job.warned:
                    moments.append(_warning_time(job, config))
            elif job.state == "PENDING" and job.begin_time > now:
                moments.append(job.begin_time)
        return max(0.0, min(moments) - now) if moments else None


def _warning_time(job: Job, config: Config) -> float:
    return job.deadline - job.spec.signal_lead_s * config.seconds_per_minute / 60


def _split_status(status: int) -> tuple[int, int]:
    if os.WIFSIGNALED(status):
        return 0, os.WTERMSIG(status)
    return os.WEXITSTATUS(status), 0


def _step_state(code: int, number: int) -> str:
    return "CANCELLED" if number else "FAILED" if code else "COMPLETED"


def main() -> None:
    """Serves the cluster in the folder named on the command line."""
    directory = Path(sys.argv[1])
    try:
        Daemon(directory).run()
    finally:
        node.kill_cluster(directory)
