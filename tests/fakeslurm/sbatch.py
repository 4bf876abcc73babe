"""The fake sbatch: reads options and script, refuses what Slurm would refuse, queues the rest."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from pathlib import Path

from .model import NOT_AN_ARRAY, ClientError, Config, Job, Reply, Submission, signal_number
from .options import Options
from .refusals import POLICY, Given, check, node_names, refuse
from .store import Cluster
from .text import parse_megabytes, parse_minutes, stamp, user_name

OPTIONS = Options(
    "sbatch",
    "array=a account=A begin=b chdir=D comment= constraint=C cpus-per-gpu= cpus-per-task=c"
    " dependency=d error=e exclude=x exclusive. export= gpus=G gpus-per-node= gpus-per-task= gres="
    " hold.H input=i job-name=J mail-type= mail-user= mem= mem-per-cpu= mem-per-gpu= nice="
    " no-requeue. nodelist=w nodes=N ntasks=n ntasks-per-node= open-mode= output=o parsable."
    " partition=p qos=q quiet.Q requeue. reservation= signal= test-only. time=t verbose.v"
    " version.V wckey= wrap=",
    code=255,
)
NOT_A_SCRIPT = (
    "sbatch: error: This does not look like a batch script.  The first\n"
    "sbatch: error: line must start with #! followed by the path to an interpreter.\n"
    "sbatch: error: For instance: #!/bin/sh\n"
)


def main(cluster: Cluster, argv: list[str]) -> Reply:
    """Submits a job."""
    given, rest = OPTIONS.parse(argv)
    if "version" in given:
        return Reply("slurm-wlm 22.05.8\n")
    script, command, given = _read_script(given, rest)
    config = cluster.config()
    spec = _specify(given, script, config)
    spec.command = " ".join([command, *rest[1:]]) if rest else "(null)"
    spec.arguments, spec.submit_line = rest[1:], " ".join(["sbatch", *argv])
    if cluster.take("reject_next"):
        text = config.reject
        raise refuse(POLICY, text) if text.startswith(("QOS", "Assoc")) else refuse(text)
    if config.queue_full:
        _sleep_and_retry()
    # A frozen slurmctld reads the request when it goes on, and the client is long gone.
    ghost = cluster.take("sbatch_ghosts") or config.frozen
    with cluster.transaction():
        problem = check(given, spec, config, cluster)
        if not problem and "test-only" in given:
            return Reply(err=_forecast(cluster.new_id(), spec))
        _register(cluster, given, spec, config, "FAILED" if problem else "PENDING")
    if problem:
        raise ClientError(problem)
    cluster.wake_scheduler()
    if ghost:
        raise refuse("Socket timed out on send/recv operation")
    time.sleep(config.sbatch_answer_s)
    number = spec.job_id
    return Reply(f"{number}\n" if "parsable" in given else f"Submitted batch job {number}\n")


def _sleep_and_retry() -> None:
    """Says so once, then sleeps 1, 2, ... 15 s between its tries."""
    message = "Slurm temporarily unable to accept job, sleeping and retrying"
    print(f"sbatch: error: {message}", file=sys.stderr, flush=True)  # noqa: T201
    time.sleep(sum(range(1, 16)))
    raise refuse("Resource temporarily unavailable")


def _read_script(given: Given, rest: list[str]) -> tuple[str, str, Given]:
    """Returns the script, its path, and the options with those of its #SBATCH lines beneath."""
    if "wrap" in given:
        if rest:
            message = "sbatch: error: Script arguments not permitted with --wrap option\n"
            raise ClientError(message)
        return (
            f"#!/bin/sh\n# This script was created by sbatch --wrap.\n\n{given['wrap']}\n",
            "",
            {
                **{"job-name": "wrap"},
                **given,
            },
        )
    path = Path(rest[0]).absolute() if rest else None
    try:
        script = path.read_text() if path else sys.stdin.read()
    except OSError:
        raise ClientError(f"sbatch: error: Unable to open file {rest[0]}\n") from None
    if not script.startswith("#!"):
        raise ClientError(NOT_A_SCRIPT)
    inside: Given = {"job-name": path.name if path else "sbatch"}
    for line in script.splitlines()[1:]:
        if line.startswith("#SBATCH"):
            inside.update(OPTIONS.parse(shlex.split(line[7:], comments=True))[0])
        elif line.strip() and not line.startswith("#"):
            break  # Slurm stops at the first command
    return script, str(path or ""), inside | given


def _specify(given: Given, script: str, config: Config) -> Submission:
    """Turns options into a submission; complains, as sbatch itself does, with status 255."""
    partition = given.get("partition", next(iter(config.partitions)))
    default = min(config.default_minutes, config.partitions.get(partition, config.default_minutes))
    spec = Submission(
        job_id=0,
        name=given["job-name"],
        script=script,
        submit_line="",
        workdir=str(Path(given.get("chdir", ".")).absolute()),
        user=user_name(),
        uid=os.getuid(),
        environment=_exported(given.get("export", "ALL")),
        comment=given.get("comment", ""),
        partition=partition,
        account=given.get("account", config.accounts[0]),
        qos=given.get("qos", config.qos[0]),
        wckey=given.get("wckey", ""),
        node_count=_number(given, "nodes", 1),
        tasks=_number(given, "ntasks", _number(given, "ntasks-per-node", 0)),
        cpus=_number(given, "cpus-per-task", 1),
        gres=given.get("gres", ""),
        output=given.get("output", ""),
        error=given.get("error", ""),
        append=given.get("open-mode", "") in ("append", "a"),
        dependency=given.get("dependency", ""),
        requeue="no-requeue" not in given,
        exclude=node_names(given.get("exclude", "")),
    )
    per_node = given.get("gpus-per-node", given.get("gpus", given.get("gpus-per-task", "")))
    if per_node:
        spec.gres = f"gpu:{per_node}"
    last = spec.gres.rsplit(":", 1)[-1]
    spec.gpus = int(last) if last.isdigit() else int(bool(spec.gres))
    spec.minutes = float(_read(given, "time", parse_minutes, default))
    spec.memory_mb = int(_read(given, "mem", parse_megabytes, 0))
    if given.get("open-mode", "a") not in ("append", "truncate", "a", "t"):
        raise _bad("open-mode")
    if "signal" in given:
        match = re.fullmatch(r"(?:R?(B)?:)?(\w+)(?:@(\d+))?", given["signal"])
        try:
            spec.signal_batch = bool(match and match[1])
            spec.signal = str(signal_number(match[2] if match else "?"))
        except KeyError:
            raise _bad("signal") from None
        spec.signal_lead_s = float(match[3] or 60) if match else 60.0
    return spec


def _bad(option: str) -> ClientError:
    return ClientError(f"sbatch: error: Invalid --{option} specification\n", 255)


def _read(given: Given, option: str, parse: object, default: float) -> float:
    assert callable(parse)
    try:
        return float(parse(given[option])) if option in given else default
    except ValueError:
        raise _bad(option) from None


def _number(given: Given, option: str, default: int) -> int:
    if not given.get(option, "0").split("-")[0].isdigit():
        raise _bad(option)
    return int(given[option].split("-")[0]) if option in given else default


def _exported(wish: str) -> dict[str, str]:
    """What --export lets through; Slurm also lets an outer job's SLURM_* variables leak."""
    here = dict(os.environ)
    if wish in ("ALL", ""):
        return here
    kept = {
        name: value
        for name, value in here.items()
        if name in ("PATH", "HOME", "USER", "LANG") or name.startswith(("SLURM_", "FAKESLURM_"))
    }
    for item in wish.split(","):
        name, given, value = item.partition("=")
        if name == "ALL":
            kept = here | kept
        elif given:
            kept[name] = value
        elif name in here:
            kept[name] = here[name]
    return kept


def _forecast(number: int, spec: Submission) -> str:
    return (
        f"sbatch: Job {number} to start at {stamp(time.time())} using {spec.cpu_count} processors"
        f" on nodes node1 in partition {spec.partition}\n"
    )


def _register(cluster: Cluster, given: Given, spec: Submission, config: Config, state: str) -> None:
    now = time.time()
    spec.job_id = cluster.new_id()
    cluster.add_submission(spec)
    jobs = [Job(spec.job_id, index) for index in spec.indices or [NOT_AN_ARRAY]]
    for job in jobs:
        job.submit_time, job.held, job.state = now, "hold" in given, state
        job.raw_id = spec.job_id if job.index == NOT_AN_ARRAY else 0
        job.reason = job.pending_reason = "JobHeldUser" if job.held else "None"
        match = re.fullmatch(r"now\+(\d+)(second|minute|hour|day)?s?", given.get("begin", ""))
        if match:
            minute = config.seconds_per_minute
            units = {"second": 1, "minute": minute, "hour": 60 * minute, "day": 1440 * minute}
            job.begin_time = now + int(match[1]) * units.get(match[2] or "second", 1)
            job.reason = job.pending_reason = "BeginTime"
        if state == "FAILED":
            job.reason, job.exit_code = "BadConstraints", 1
            job.start_time = job.end_time = now
    cluster.save(*jobs)
