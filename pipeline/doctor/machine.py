"""This machine: Python, torch, and whether the local profile fits it."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.doctor.finding import Finding, ok, problem, warning
from pipeline.doctor.torch_probe import TorchFacts, ask_torch
from pipeline.profiles import LocalProfile
from pipeline.provenance import versions
from pipeline.words import count

PROFILES = "slurm/profiles.toml"
_GB = 1024**3
_LOW_GB_PER_TASK = 1.0


@dataclass(frozen=True)
class MachineFacts:
    """What this machine has for tasks."""

    cores: int
    """That this process may use."""
    free_gb: float
    torch: TorchFacts


def look_at_machine() -> MachineFacts:
    """Count cores, memory and GPUs; imports torch in another process."""
    return MachineFacts(
        cores=len(os.sched_getaffinity(0)),
        free_gb=psutil.virtual_memory().available / _GB,
        torch=ask_torch(),
    )


def judge_python() -> Finding:
    """The Python and the packages that run here, without importing them."""
    found = versions()
    place = Path(sys.executable)
    shown = ", ".join(f"{name} {version}" for name, version in found.items() if name != "python")
    text = f"{found['python']} at {place}; {shown}"
    if "torch" not in found:
        return warning("python", f"{text}; no torch", "install it, unless your trainer needs none")
    return ok("python", text)


def judge_local(profile: LocalProfile, facts: MachineFacts) -> Iterator[Finding]:
    """Cores, memory, GPUs and time of the local profile."""
    tasks = profile.max_running
    cores = tasks * profile.cpus_per_task
    if cores > facts.cores:
        yield warning(
            "cores",
            f"{count(tasks, 'task')} of {count(profile.cpus_per_task, 'core')} want {cores}; "
            f"there are {facts.cores}",
            f"lower max_running or cpus_per_task in {PROFILES}; more tasks only slow each other",
        )
    else:
        yield ok("cores", f"{cores} of {facts.cores} for {count(tasks, 'task')} at a time")
    share = facts.free_gb / tasks
    if share < _LOW_GB_PER_TASK:
        yield warning(
            "memory",
            f"{facts.free_gb:.1f} GB free, {share:.1f} GB a task",
            f"end other programs, or lower max_running in {PROFILES}",
        )
    else:
        yield ok("memory", f"{facts.free_gb:.1f} GB free, {share:.1f} GB a task")
    yield _judge_gpus(profile, facts.torch)
    yield ok("walltime", f"{count(profile.walltime_min, 'minute')} a task; then it checkpoints")


def _judge_gpus(profile: LocalProfile, torch: TorchFacts) -> Finding:
    wanted, found = profile.gpus_per_task, len(torch.devices)
    if torch.error:
        remedy = "mend the installation of torch or the GPU's driver"
        broken = torch.version is None or wanted > found
        return (problem if broken else warning)("torch", torch.error, remedy)
    shown = f"torch {torch.version}, {count(found, 'GPU')}"
    if wanted > found:
        return problem(
            "torch",
            f"{shown}; the profile wants {wanted} a task",
            f"set gpus_per_task = {found} in {PROFILES}, or use a machine with GPUs",
        )
    if wanted and wanted * profile.max_running > found:
        return warning(
            "torch",
            f"{shown}; {count(profile.max_running, 'task')} of {wanted} will share them",
            f"set max_running = {found // wanted} in {PROFILES}",
        )
    return ok("torch", f"{shown}{': ' + ', '.join(torch.devices) if found else ', tasks use CPUs'}")
