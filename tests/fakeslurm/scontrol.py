"""The fake scontrol: show job, show config, ping, requeue, hold, release, update."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import fields, replace

from . import accounting
from .lifecycle import requeue, split
from .model import FINISHED, NOT_AN_ARRAY, ClientError, Config, Job, Reply, Submission
from .node import output_paths
from .options import Options
from .squeue import INVALID_ID, Entry, entries
from .store import Cluster
from .text import clock, format_indices, parse_indices, parse_when, select, stamp

OPTIONS = Options(
    "scontrol", "all.a details.d future.F hide. oneliner.o quiet.Q verbose.v version.V"
)
UNKNOWN = "Invalid job id specified"
ALIVE = "Slurmctld(primary) at localhost is UP\n"


def main(cluster: Cluster, argv: list[str]) -> Reply:
    """Runs one scontrol command."""
    given, words = OPTIONS.parse(argv)
    if "version" in given:
        return Reply("slurm-wlm 22.05.8\n")
    verbs: dict[str, Callable[[], Reply]] = {
        "ping": lambda: Reply(ALIVE),
        "show": lambda: _show(cluster, words[1:], "oneliner" in given),
        "requeue": lambda: _each(cluster, words[1:], _requeue),
        "hold": lambda: _each(cluster, words[1:], _hold, "slurm_suspend error: "),
        "release": lambda: _each(cluster, words[1:], _release, "slurm_suspend error: "),
        "update": lambda: _update(cluster, words[1:]),
        "write": lambda: _write(cluster, words[1:]),
    }
    if not words or words[0] not in verbs:
        raise ClientError(f"invalid keyword: {words[0] if words else ''}\n")
    return verbs[words[0]]()


def _show(cluster: Cluster, words: list[str], one_line: bool) -> Reply:
    if not words:
        raise ClientError("too few arguments for keyword:show\n")
    kind, *names = words
    if kind.startswith("conf"):
        return Reply(_config_text(cluster))
    if kind.startswith("job"):
        now = time.time()
        young = cluster.config().min_job_age
        jobs = [job for job in cluster.jobs() if job.live or now - job.end_time < young]
        chosen = jobs
        if names:
            chosen = _named(jobs, names[0])
            if not chosen and _named(jobs, names[0].split("_")[0]):
                return Reply(f"Job {names[0]} not found\n", code=1)
            if not chosen:
                raise ClientError(INVALID_ID)
        found = entries(chosen, jobs, one_by_one=bool(names and "_" in names[0]))
        # Slurm lists the array's own record first, then the latest JobId first.
        found.sort(key=lambda e: (e.job.array_id, e.job.raw != e.job.array_id, -e.job.raw))
        return Reply("".join(_job_text(entry, now, one_line) for entry in found))
    if kind.startswith("hostname"):
        match = re.fullmatch(r"(\w*?)\[(.+)\]", names[0])
        found_names = [f"{match[1]}{n}" for n in parse_indices(match[2])[0]] if match else names
        return Reply("".join(f"{name}\n" for name in found_names))
    if kind.startswith("part"):
        return _partitions(cluster, names, one_line)
    raise ClientError(f"invalid entity:{kind} for keyword:show \n")


def _named(jobs: list[Job], name: str) -> list[Job]:
    try:
        return select(jobs, name)
    except ValueError:
        raise ClientError("scontrol_print_job error: Invalid job id specified\n") from None


def _job_text(entry: Entry, now: float, one_line: bool) -> str:
    job, spec = entry.job, entry.job.spec
    code = f"{job.exit_code}:{job.exit_signal}"
    array = ""
    if job.index != NOT_AN_ARRAY:
        index = str(job.index) if job.raw_id else entry.array_text
        limit = f"ArrayTaskThrottle={spec.throttle} " if spec.throttle else ""
        array = f"ArrayJobId={job.array_id} ArrayTaskId={index} {limit}"
    waits = not job.raw_id and job.index != NOT_AN_ARRAY
    output, error = output_paths(replace(job, index=NOT_AN_ARRAY) if waits else job)
    memory = f"MinMemoryNode={spec.memory()}" if spec.memory_mb else "MinMemoryCPU=64M"
    owner = f"{spec.user}({spec.uid})"
    size = f"cpu={spec.cpu_count},mem={spec.memory(spec.cpu_count)},node={spec.node_count}"
    gpus = f",gres/gpu={spec.gpus}" if spec.gpus else ""
    text = f"""\
JobId={job.raw} {array}JobName={spec.name}
UserId={owner} GroupId={owner} MCS_label=N/A
Priority={job.priority} Nice=0 Account={spec.account} QOS={spec.qos}
JobState={entry.state} Reason={job.reason} Dependency={entry.dependency}
Requeue={spec.requeue:d} Restarts={job.restart} BatchFlag=1 Reboot=0 ExitCode={code}
RunTime={clock(entry.elapsed(now), full=True)} TimeLimit={clock(entry.limit, full=True)} TimeMin=N/A
SubmitTime={stamp(job.submit_time)} EligibleTime={stamp(accounting.eligible(job))}
AccrueTime=Unknown
StartTime={stamp(job.start_time)} EndTime={stamp(entry.end)} Deadline=N/A
SuspendTime=None SecsPreSuspend=0 LastSchedEval={stamp(job.submit_time)} Scheduler=Main
Partition={spec.partition} AllocNode:Sid=localhost:1
ReqNodeList=(null) ExcNodeList={",".join(spec.exclude) or "(null)"}
NodeList={job.node}
BatchHost={job.node}
NumNodes={spec.node_count} NumCPUs={spec.cpu_count} NumTasks={max(1, spec.tasks)} \
CPUs/Task={spec.cpus} ReqB:S:C:T=0:0:*:*
TRES={size},billing={spec.cpu_count}{gpus}
Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*
MinCPUsNode={spec.cpus} {memory} MinTmpDiskNode=0
Features=(null) DelayBoot=00:00:00
OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null)
Command={spec.command}
WorkDir={spec.workdir}
Comment={spec.comment}{" "}
StdErr={error}
StdIn=/dev/null
StdOut={output}
Power=
TresPerNode={entry.gres}"""
    unset = {"BatchHost=", "Comment= ", "TresPerNode="}  # Slurm leaves these lines out
    lines = [line for line in text.split("\n") if line not in unset]
    return " ".join(lines) + " \n" if one_line else "\n   ".join([*lines, "\n\n"])


def _config_text(cluster: Cluster) -> str:
    config = cluster.config()
    storage = "none" if config.sacct == "disabled" else "slurmdbd"
    most = config.max_array_tasks
    settings = {
        "AccountingStorageEnforce": config.enforced if storage != "none" else "none",
        "AccountingStorageType": f"accounting_storage/{storage}",
        "ClusterName": "lab",
        "EnforcePartLimits": "ALL" if config.enforce_part_limits else "NO",
        "KillWait": f"{max(1, round(config.kill_wait))} sec",
        "MaxArraySize": str(config.max_array_size),
        "MaxJobCount": "10000",
        "MessageTimeout": "5 sec",
        "MinJobAge": f"{round(config.min_job_age)} sec",
        "PreemptMode": "REQUEUE",
        "SchedulerParameters": f"bf_continue,max_array_tasks={most}" if most else "(null)",
        "SLURM_VERSION": "22.05.8",
    }
    lines = [f"{name:<24}= {value}\n" for name, value in settings.items()]
    title = f"Configuration data as of {stamp(time.time() + config.clock_skew_s)}\n"
    return title + "".join(lines) + "\n" + ALIVE


def _partitions(cluster: Cluster, names: list[str], one_line: bool) -> Reply:
    config = cluster.config()
    shown = [name for name in config.partitions if not names or name in names]
    if not shown:
        return Reply(f"Partition {names[0]} not found\n", code=1)
    return Reply("".join(_partition_text(config, name, one_line) for name in shown))


def _partition_text(config: Config, name: str, one_line: bool) -> str:
    default = "YES" if name == next(iter(config.partitions)) else "NO"
    longest = clock(config.partitions[name] * 60, full=True)
    cpus, memory = config.cpus * config.nodes, config.memory_mb * config.nodes
    gpus = f",gres/gpu={config.gpus * config.nodes}" if config.gpus else ""
    text = f"""\
PartitionName={name}
AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL
AllocNodes=ALL Default={default} QoS=N/A
DefaultTime={clock(config.default_minutes * 60, full=True)} DisableRootJobs=NO ExclusiveUser=NO \
GraceTime=0 Hidden=NO
MaxNodes=UNLIMITED MaxTime={longest} MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED
Nodes=node[1-{config.nodes}]
PriorityJobFactor=1 PriorityTier=10 RootOnly=NO ReqResv=NO OverSubscribe=NO
OverTimeLimit=NONE PreemptMode=OFF
State=UP TotalCPUs={cpus} TotalNodes={config.nodes} SelectTypeParameters=NONE
JobDefaults=(null)
DefMemPerNode=UNLIMITED MaxMemPerNode=UNLIMITED
TRES=cpu={cpus},mem={memory}M,node={config.nodes},billing={cpus}{gpus}"""
    for key, value in config.partition_settings.get(name, {}).items():
        text = re.sub(rf"\b{key}=\S*", f"{key}={value}", text)
    lines = text.split("\n")
    return " ".join(lines) + "\n" if one_line else "\n   ".join(lines) + "\n\n"


Verb = Callable[[Cluster, list[Job], Job], str]


def _each(cluster: Cluster, words: list[str], verb: Verb, prefix: str = "") -> Reply:
    """Applies a command to each job named; it returns what is wrong, or nothing."""
    errors = ""
    with cluster.transaction():
        jobs = cluster.jobs()
        for name in ",".join(words).split(","):
            problems: dict[str, list[Job]] = {}
            chosen = _named(jobs, name)
            for job in chosen:
                problems.setdefault(verb(cluster, jobs, job), []).append(job)
            for problem, whose in (problems if chosen else {UNKNOWN: []}).items():
                if problem:
                    errors += _complaint(name, problem, whose, jobs)
                    errors += f"{prefix}{problem}\n" if prefix and "_" not in name else ""
    cluster.wake_scheduler()
    return Reply(err=errors, code=int(bool(errors)))


def _complaint(name: str, problem: str, whose: list[Job], jobs: list[Job]) -> str:
    """Names the elements of an array by a range; those that wait together answer together."""
    if whose and whose[0].index != NOT_AN_ARRAY:
        mates = [j for j in jobs if j.array_id == whose[0].array_id and not j.raw_id]
        alone = [job for job in whose if job.raw_id]
        indices = [job.index for job in alone + (mates if len(alone) < len(whose) else [])]
        return f"{whose[0].array_id}_{format_indices(indices)}: {problem}\n"
    return f"{name}: {problem}\n" if "_" in name else f"{problem} for job {name}\n"


def _requeue(cluster: Cluster, _jobs: list[Job], job: Job) -> str:
    if job.state == "PENDING":
        return "Job is pending execution"
    if not job.spec.requeue:
        return "Requested operation is presently disabled"
    if not job.requeue_after:
        requeue(cluster, job, time.time())
    return ""


def _hold(cluster: Cluster, jobs: list[Job], job: Job) -> str:
    if job.state in FINISHED:
        return "Job has already finished"
    if job.state == "PENDING":
        split(cluster, job, jobs)
    job.held, job.reason = True, "JobHeldUser" if os.getuid() else "JobHeldAdmin"
    cluster.save(job)
    return ""


def _release(cluster: Cluster, _jobs: list[Job], job: Job) -> str:
    if job.state in FINISHED:
        return "Job has already finished"
    job.held, job.reason = False, "None"
    cluster.save(job)
    return ""


def _update(cluster: Cluster, words: list[str]) -> Reply:
    changes = {key.lower(): value for key, _, value in (word.partition("=") for word in words)}
    name = changes.pop("jobid", changes.pop("job", ""))

    def change(cluster: Cluster, jobs: list[Job], job: Job) -> str:
        if job.state in FINISHED:
            return "Job has already finished"
        if "endtime" in changes:
            job.deadline = parse_when(changes["endtime"], time.time())
        if "starttime" in changes:
            job.begin_time = parse_when(changes["starttime"], time.time())
        if "arraytaskthrottle" in changes:
            job.spec.throttle = int(changes["arraytaskthrottle"])
        known = {f.name for f in fields(Submission)} & changes.keys()
        for key in known:
            setattr(job.spec, key, changes[key])
        if job.index != NOT_AN_ARRAY and "_" in name:
            split(cluster, job, jobs)
        cluster.add_submission(job.spec)
        cluster.save(job)
        return ""

    return _each(cluster, [name], change)


def _write(cluster: Cluster, words: list[str]) -> Reply:
    if len(words) < 2 or words[0] != "batch_script":
        raise ClientError("invalid keyword: write\n")
    chosen = _named(cluster.jobs(), words[1])
    if not chosen:
        raise ClientError(INVALID_ID)
    return Reply(chosen[0].spec.script)
