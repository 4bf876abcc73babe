"""The fake srun: runs a step of the job that it is called in, and passes on how it ended."""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

from . import node
from .model import ClientError, Job, Reply, Step
from .options import Options
from .store import Cluster
from .text import expand

OPTIONS = Options(
    "srun",
    "chdir=D cpu-bind= cpus-per-task=c error=e exact. exclusive. export= gpus=G gpus-per-node="
    " gpus-per-task= gres= input=i job-name=J kill-on-bad-exit. label.l mem= mpi= nodelist=w"
    " nodes=N ntasks=n ntasks-per-node= open-mode= output=o overlap. quiet.Q signal= time=t"
    " unbuffered.u verbose.v version.V wait=W",
)


def main(cluster: Cluster, argv: list[str]) -> Reply:
    """Runs a job step and waits for it."""
    given, command = OPTIONS.parse(argv)
    if "version" in given:
        return Reply("slurm-wlm 22.05.8\n")
    key = os.environ.get(node.MARK, "")
    tasks = int(given.get("ntasks", os.environ.get("SLURM_NTASKS", "1")))
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        signal.signal(number, _stay)
    with cluster.transaction():
        job = next(
            (j for j in cluster.jobs(everything=True) if node.mark(cluster.directory, j) == key),
            None,
        )
        if job is None or job.state != "RUNNING":
            name = os.environ.get("SLURM_JOB_ID", "0")
            raise ClientError(
                f"srun: error: Unable to confirm allocation for job {name}:"
                " Job/step already completing or completed\n"
                "srun: Check SLURM_JOB_ID environment variable."
                f" Expired or invalid job {name}\n"
            )
        name = str(sum(step.step != "batch" for step in cluster.steps(job)))
        line = " ".join(["srun", *argv])
        step = Step(job.key, name, command[0].rsplit("/", 1)[-1], time.time(), line, tasks)
        error = given.get("error", given.get("output", ""))
        step.stderr = _path(error, job, 0, name) if error else str(node.output_paths(job)[1])
        pids = [_start(given, command, job, step, task) for task in range(tasks)]
        step.pid = pids[0]
        cluster.save_step(step)
    statuses = [os.waitpid(pid, 0)[1] if pid else 2 << 8 for pid in pids]
    return _report(cluster, job, step, statuses)


def _stay(number: int, _frame: object) -> None:
    if number == signal.SIGTERM:
        sys.stderr.write(
            "srun: Job step aborted: Waiting up to 5 seconds for job step to finish.\n"
        )
        sys.stderr.flush()


def _path(pattern: str, job: Job, task: int, step: str) -> str:
    return os.path.join(os.getcwd(), expand(pattern, job, task, step))  # noqa: PTH109, PTH118


def _start(given: dict[str, str], command: list[str], job: Job, step: Step, task: int) -> int:
    """Starts one task in a session of its own; 0 when there is no such program."""
    values = {
        **{"SLURM_PROCID": task, "SLURM_LOCALID": task, "SLURM_NTASKS": step.tasks},
        **{"SLURM_NPROCS": step.tasks, "SLURM_STEP_ID": step.step, "SLURM_STEPID": step.step},
        **{"SLURM_STEP_NODELIST": job.node, "SLURM_STEP_NUM_TASKS": step.tasks},
    }
    actions: list[tuple[int, int, int] | tuple[int, int, str, int, int]] = []
    append = job.spec.append or given.get("open-mode", "") in ("append", "a")
    opened: dict[str, int] = {}
    for option, descriptor in (("output", 1), ("error", 2)):
        pattern = given.get(option, given.get("output", "") if option == "error" else "")
        if pattern:
            path = _path(pattern, job, task, step.step)
            if path not in opened:
                opened[path] = node.open_output(path, append)
            actions.append((os.POSIX_SPAWN_DUP2, opened[path], descriptor))
    environment = dict(os.environ) | {name: str(value) for name, value in values.items()}
    try:
        return os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=actions,
            setsid=True,
            setsigdef=node.RESET_SIGNALS,
        )
    except FileNotFoundError:
        text = f"slurmstepd: error: execve(): {command[0]}: No such file or directory\n"
        sys.stderr.write(text)
        return 0


def _report(cluster: Cluster, job: Job, step: Step, statuses: list[int]) -> Reply:
    """Records the end of the step; srun returns the worst exit code, 128+N for signal N."""
    errors = ""
    worst = 0
    step.state = "COMPLETED"
    with cluster.transaction():
        stored = [s for s in cluster.steps(job) if s.step == step.step]
        step.oom = bool(stored and stored[0].oom)
        for task, status in enumerate(statuses):
            number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
            code = 0 if number else os.WEXITSTATUS(status)
            prefix = f"srun: error: {job.node}: task {task}:"
            if step.oom:
                step.state, step.exit_signal, worst = "OUT_OF_MEMORY", 125, 1
                errors += (
                    f"slurmstepd: error: Detected 1 oom_kill event in StepId={job.raw}."
                    f"{step.step}. Some of the step tasks have been OOM Killed.\n"
                    f"{prefix} Out Of Memory\n"
                )
            elif number:
                step.state, step.exit_signal = "CANCELLED", number
                errors += f"{prefix} {signal.strsignal(number)}\n"
                if number == signal.SIGKILL:
                    errors += f"srun: Force Terminated StepId={job.raw}.{step.step}\n"
                worst = max(worst, 128 + number)
            elif code:
                step.state = "FAILED" if step.state == "COMPLETED" else step.state
                step.exit_code = max(step.exit_code, code)
                errors += f"{prefix} Exited with exit code {code}\n"
                worst = max(worst, code)
        step.end_time = time.time()
        cluster.save_step(step)
    with suppress(OSError):
        cluster.wake_scheduler()
    return Reply(err=errors, code=worst)
