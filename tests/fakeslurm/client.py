"""What every client program of the fake does first: log the call, suffer the faults, dispatch."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from pathlib import Path

from .model import ClientError, Config, Reply
from .store import Cluster, log_call

PROGRAMS = ("sbatch", "squeue", "sacct", "scancel", "srun", "scontrol", "sinfo", "sacctmgr")
NO_CONTACT = "Unable to contact slurm controller (connect failure)"
TIMED_OUT = "Socket timed out on send/recv operation"
DOWN = (
    "Slurmctld(primary) at localhost is DOWN\n"
    "*****************************************\n"
    "** RESTORE SLURMCTLD DAEMON TO SERVICE **\n"
    "*****************************************\n"
)


def main(directory: str) -> None:
    """Runs the program that the executable is named after, and exits as it would."""
    reply = call(Path(directory), [Path(sys.argv[0]).name, *sys.argv[1:]])
    sys.stdout.write(reply.out)
    sys.stderr.write(reply.err)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(reply.code)  # at once: a requeued job's client may be signalled soon


def call(directory: Path, argv: list[str]) -> Reply:
    """Answers one call."""
    log_call(directory, argv)
    cluster = Cluster(directory)
    config = cluster.config()
    if argv[0] in config.hang:
        time.sleep(config.hang[argv[0]])
        config = cluster.config()
    out_of_order = _out_of_order(config, argv)
    if out_of_order:
        return out_of_order
    try:
        run = import_module(f".{argv[0]}", __package__).main
        reply: Reply = run(cluster, argv[1:])
    except ClientError as error:
        return Reply(err=error.text, code=error.code)
    return reply


def _out_of_order(config: Config, argv: list[str]) -> Reply | None:
    """Returns what a client says when slurmctld is dead or frozen; accounting does without it."""
    program, *words = argv
    if not (config.unreachable or config.frozen) or "--version" in words:
        return None
    if program in ("sacct", "sacctmgr"):
        return None
    text = NO_CONTACT if config.unreachable else TIMED_OUT
    if program == "sbatch":
        # A frozen slurmctld reads the request later: the job will exist.
        return _sbatch(text) if config.unreachable else None
    if program == "scontrol" and words[:1] == ["ping"]:
        return Reply(DOWN, code=1)
    return Reply(err=_complaint(program, words, text), code=_status(program, words, config))


def _sbatch(text: str) -> Reply:
    return Reply(err=f"sbatch: error: Batch job submission failed: {text}\n", code=1)


def _ids(words: list[str]) -> list[str]:
    return [word for word in words if word[:1].isdigit()]


def _complaint(program: str, words: list[str], text: str) -> str:
    ids = _ids(words)
    if program == "scancel" and ids:
        return "".join(f"scancel: error: Kill job error on job id {i}: {text}\n" for i in ids)
    if program == "scontrol" and words[:1] == ["requeue"]:
        return "".join(f"Unexpected message received for job {i}\n" for i in ids)
    if program == "scontrol" and "config" in words:
        return f"slurm_load_ctl_conf error: {text}\n"
    if program == "sinfo":
        return f"slurm_load_partitions: {text}\n"
    if program == "srun":
        return (
            f"srun: error: Unable to create step for job {os.environ.get('SLURM_JOB_ID')}: {text}\n"
        )
    return f"slurm_load_jobs error: {text}\n"


def _status(program: str, words: list[str], config: Config) -> int:
    if program == "scancel" and _ids(words):
        return 8 if config.unreachable else 140
    return 1
