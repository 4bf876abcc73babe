"""What a compute node does for a job: its environment, its output files, its processes."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from .lifecycle import END_NOTES
from .model import NOT_AN_ARRAY, Job, Step
from .text import expand, stamp

MARK = "FAKESLURM_JOB"  # in the environment of everything that a job runs
CLUSTER_MARK = "FAKESLURM_DIR"
RESET_SIGNALS = [signal.SIGPIPE, signal.SIGXFSZ]  # which Python ignores, and a shell must not


def output_paths(job: Job) -> tuple[Path, Path]:
    """Returns where the batch script's stdout and stderr go."""
    spec = job.spec
    output = expand(spec.output or ("slurm-%A_%a.out" if spec.indices else "slurm-%j.out"), job)
    error = expand(spec.error, job) if spec.error else output
    return Path(spec.workdir, output), Path(spec.workdir, error)


def open_output(path: str | Path, append: bool) -> int:
    """Opens a log as Slurm does."""
    mode = os.O_CREAT | os.O_WRONLY | os.O_APPEND | (0 if append else os.O_TRUNC)
    return os.open(path, mode, 0o644)


def mark(directory: Path, job: Job) -> str:
    """What tells the processes of one attempt from all others on this machine."""
    return f"{directory}#{job.key}"


def batch_environment(job: Job) -> dict[str, str]:
    """The variables of the batch script. What sbatch exported stays, an outer array's too."""
    spec, node = job.spec, job.node
    values = {
        **{"SLURM_JOB_ID": job.raw, "SLURM_JOBID": job.raw, "SLURM_JOB_NAME": spec.name},
        **{"SLURM_JOB_NODELIST": node, "SLURM_NODELIST": node, "SLURMD_NODENAME": node},
        **{"SLURM_JOB_NUM_NODES": spec.node_count, "SLURM_NNODES": spec.node_count},
        **{"SLURM_NODEID": 0, "SLURM_PROCID": 0, "SLURM_LOCALID": 0, "SLURM_GTIDS": 0},
        **{"SLURM_TASKS_PER_NODE": max(1, spec.tasks), "SLURM_CPUS_ON_NODE": spec.cpu_count},
        **{"SLURM_JOB_PARTITION": spec.partition, "SLURM_JOB_ACCOUNT": spec.account},
        **{"SLURM_JOB_QOS": spec.qos, "SLURM_JOB_USER": spec.user, "SLURM_JOB_UID": spec.uid},
        **{"SLURM_CLUSTER_NAME": "lab", "SLURM_SUBMIT_DIR": spec.workdir, "ENVIRONMENT": "BATCH"},
        **{"SLURM_SUBMIT_HOST": "localhost", "HOSTNAME": node},
    }
    if spec.cpus > 1:
        values["SLURM_CPUS_PER_TASK"] = spec.cpus
    if spec.tasks:
        values |= {"SLURM_NTASKS": spec.tasks, "SLURM_NPROCS": spec.tasks}
    if spec.memory_mb:
        values["SLURM_MEM_PER_NODE"] = spec.memory_mb
    if job.restart:
        values["SLURM_RESTART_COUNT"] = job.restart
    if job.index != NOT_AN_ARRAY:
        values |= {
            **{"SLURM_ARRAY_JOB_ID": job.array_id, "SLURM_ARRAY_TASK_ID": job.index},
            **{"SLURM_ARRAY_TASK_COUNT": len(spec.indices), "SLURM_ARRAY_TASK_STEP": 1},
            **{"SLURM_ARRAY_TASK_MIN": spec.indices[0], "SLURM_ARRAY_TASK_MAX": spec.indices[-1]},
        }
    if job.gpu_indices:
        values |= dict.fromkeys(("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS"), job.gpu_indices)
        values["SLURM_GPUS_ON_NODE"] = spec.gpus
    return spec.environment | {name: str(value) for name, value in values.items()}


def start_batch(job: Job, directory: Path) -> int:
    """Starts the batch script in a session of its own; raises OSError where it has no log."""
    script = directory / "spool" / f"job{job.raw:05}.{job.restart}" / "slurm_script"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(job.spec.script)
    script.chmod(0o755)
    os.chdir(job.spec.workdir)
    output, error = output_paths(job)
    out = open_output(output, job.spec.append)
    err = out if error == output else open_output(error, job.spec.append)
    try:
        return os.posix_spawn(
            script,
            [str(script), *job.spec.arguments],
            batch_environment(job) | {MARK: mark(directory, job), CLUSTER_MARK: str(directory)},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out, 1),
                (os.POSIX_SPAWN_DUP2, err, 2),
            ],
            setsid=True,
            setsigdef=RESET_SIGNALS,
        )
    finally:
        for descriptor in {out, err}:
            os.close(descriptor)


def write_end_notes(job: Job, steps: list[Step]) -> None:
    """Leaves slurmstepd's last words in the logs of a job that was ended from outside."""
    if job.state not in END_NOTES:
        return
    at = f"ON {job.node} CANCELLED AT {stamp(time.time())}{END_NOTES[job.state]} ***\n"
    notes = [(step.stderr, f"STEP {job.raw}.{step.step}") for step in steps if step.stderr]
    for path, what in [(str(output_paths(job)[1]), f"JOB {job.raw}"), *notes]:
        with suppress(OSError), Path(path).open("a") as log:
            log.write(f"slurmstepd: error: *** {what} {at}")


def signal_job(job: Job, steps: list[Step], *signals: int) -> None:
    """Signals the groups of the batch shell and of the steps still running."""
    for pid in [job.pid, *(step.pid for step in steps if not step.end_time)]:
        for number in signals:
            if pid:
                with suppress(ProcessLookupError):
                    os.killpg(pid, number)


def kill_job(directory: Path, job: Job) -> None:
    """Kills every process of an attempt, as a cgroup would."""
    _kill_where(f"{MARK}={mark(directory, job)}")


def kill_cluster(directory: Path) -> None:
    """Kills every job of a cluster, and every client that still hangs."""
    _kill_where(f"{CLUSTER_MARK}={directory}", str(directory / "bin"))


def _kill_where(variable: str, folder: str = "") -> None:
    """Kills by an exact entry of the environment, or by a program of a folder."""
    while found := _find_where(variable.encode(), f"{folder}/".encode() if folder else b""):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)  # look again: one may have forked meanwhile


def _find_where(variable: bytes, folder: bytes) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # gone, or not ours to read
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ours = bool(folder) and any(word.startswith(folder) for word in words)
            if ours or variable in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def group_alive(pid: int) -> bool:
    """Is anything left of a process group?"""
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    return True
