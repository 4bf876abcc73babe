"""What accounting knows, and when: attempts and steps as sacct records them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .model import FINISHED, NOT_AN_ARRAY, Config, Job, Step
from .text import clock, format_indices, stamp


@dataclass
class Record:
    """A line of sacct: an attempt (a range of them, when pending), or one of its steps."""

    job: Job
    id: str
    state: str
    code: str
    start: float = 0.0
    end: float = 0.0
    derived: str = "0:0"
    step: Step | None = None
    early: bool = False  # only a step has been recorded yet, not its job

    def seconds(self, now: float) -> float:
        """How long it has run."""
        return (self.end or now) - self.start if self.start else 0.0

    @property
    def raw(self) -> str:
        """JobIDRaw."""
        return f"{self.job.raw}.{self.step.step}" if self.step else f"{self.job.raw}"


def records(
    jobs: list[Job], steps: dict[str, list[Step]], config: Config, now: float
) -> list[Record]:
    """Writes attempts as accounting saw them `sacct_lag` ago, each followed by its steps."""
    seen = now - config.sacct_lag
    found: list[Record] = []
    ranges: dict[tuple[int, str], list[Record]] = {}
    for job in jobs:
        if job.hidden:
            continue
        record = _job_record(job, seen)
        apart = job.raw_id and not (job.start_time > seen and not job.restart)
        if not record.job.node and not apart and job.index != NOT_AN_ARRAY:
            ranges.setdefault((job.array_id, record.state), []).append(record)
            continue
        found.append(record)
        if record.start:
            found += [_step_record(record, step) for step in steps.get(job.key, [])]
    for (number, state), waiting in ranges.items():
        indices = [record.job.index for record in waiting]
        late = (waiting[0].end or now) - config.sacct_stale_s
        mates = [job for job in jobs if job.array_id == number and config.sacct_stale_s]
        if state.startswith("CANCELLED"):
            indices += [job.index for job in mates if job.node and job.start_time > late]
        indices += [job.index for job in mates if job.hidden and job.end_time > late]
        limit = waiting[0].job.spec.throttle
        shown = format_indices(indices) + (f"%{limit}" if limit else "")
        found.append(replace(waiting[0], id=f"{number}_[{shown}]"))
    found.sort(key=lambda record: record.job.array_id)
    return found


def _job_record(job: Job, seen: float) -> Record:
    if job.submit_time > seen:
        return Record(job, str(job.raw), "PENDING", "0:0", start=job.start_time, early=True)
    if not job.start_time or job.start_time > seen:
        return Record(replace(job, node=""), job.id, "PENDING", "0:0")
    if not job.end_time or job.end_time > seen:
        return Record(job, job.id, "RUNNING", "0:0", start=job.start_time)
    state = f"CANCELLED by {job.cancelled_by}" if job.state == "CANCELLED" else job.state
    code = _code(job.exit_code, job.exit_signal)
    derived = _code(job.derived_code, job.derived_signal)
    return Record(job, job.id, state, code, job.start_time, job.end_time, derived)


def _step_record(record: Record, step: Step) -> Record:
    """A step that has not reported its end takes its job's state."""
    name = f"{record.id}.{step.step}"
    start = step.start_time
    if step.state in FINISHED and record.state != "RUNNING":
        code = "" if record.state == "NODE_FAIL" else _code(step.exit_code, step.exit_signal)
        end = step.end_time
        return Record(record.job, name, step.state, code, start, end, step=step)
    state = "RUNNING" if record.early else record.state
    return Record(record.job, name, state, "0:0", start, record.end, step=step)


def _code(code: int, signal_number: int) -> str:
    """sacct takes a shell's 137 for what it is: signal 9 (but prints it on the left)."""
    return f"{code - 128 if code > 128 else code}:{signal_number}"


INELIGIBLE = (
    "JobHeldUser",
    "JobHeldAdmin",
    "JobArrayTaskLimit",
    "Dependency",
    "DependencyNeverSatisfied",
)


def eligible(job: Job) -> float:
    """Since when the job could have started; 0 for one that still cannot."""
    return 0.0 if job.held or job.reason in INELIGIBLE else job.begin_time or job.submit_time


def tres(job: Job, step: bool = False) -> str:
    """Writes trackable resources in sacct's order; a step is not billed."""
    spec = job.spec
    gpus = [f"gres/gpu={spec.gpus}"] if spec.gpus else []
    billing = [] if step else [f"billing={spec.cpu_count}"]
    parts = [f"cpu={spec.cpu_count}", *gpus, f"mem={spec.memory(spec.cpu_count)}"]
    return ",".join([*billing, *parts, f"node={spec.node_count}"])


Field = Callable[[Record, float], str]  # given the time now

SHARED_FIELDS: dict[str, Field] = {
    "JobID": lambda r, _: r.id,
    "JobIDRaw": lambda r, _: r.raw,
    "State": lambda r, _: r.state,
    "ExitCode": lambda r, _: r.code,
    "NodeList": lambda r, _: r.job.node or "None assigned",
    "Account": lambda r, _: r.job.spec.account,
    "Cluster": lambda _r, _: "lab",
    "NNodes": lambda r, _: str(r.job.spec.node_count),
    "AllocNodes": lambda r, _: str(r.job.spec.node_count) if r.start else "0",
    "NCPUS": lambda r, _: str(r.job.spec.cpu_count),
    "AllocCPUS": lambda r, _: str(r.job.spec.cpu_count),
    "ReqCPUS": lambda r, _: str(r.job.spec.cpu_count),
    "Elapsed": lambda r, now: clock(r.seconds(now), full=True),
    "ElapsedRaw": lambda r, now: str(int(r.seconds(now))),
    "CPUTimeRAW": lambda r, now: str(int(r.seconds(now)) * r.job.spec.cpu_count),
    "Start": lambda r, _: stamp(r.start),
    "End": lambda r, _: stamp(r.end),
}
JOB_FIELDS: dict[str, Field] = {
    "JobName": lambda r, _: "allocation" if r.early else r.job.spec.name,
    "Submit": lambda r, _: stamp(r.job.submit_time),
    "Eligible": lambda r, _: stamp(eligible(r.job)),
    "SubmitLine": lambda r, _: r.job.spec.submit_line,
    "AllocTRES": lambda r, _: tres(r.job) if r.start and r.job.node else "",
    "ReqTRES": lambda r, _: tres(r.job),
    "ReqMem": lambda r, _: r.job.spec.memory(r.job.spec.cpu_count),
    "DerivedExitCode": lambda r, _: r.derived,
    # slurmctld sends the comment with the end of the job, not with its start.
    "Comment": lambda r, _: r.job.spec.comment if r.end else "",
    "Partition": lambda r, _: r.job.spec.partition,
    "QOS": lambda r, _: r.job.spec.qos,
    "User": lambda r, _: r.job.spec.user,
    "UID": lambda r, _: str(r.job.spec.uid),
    "Group": lambda r, _: r.job.spec.user,
    "GID": lambda r, _: str(r.job.spec.uid),
    "Timelimit": lambda r, _: "" if r.early else clock(r.job.spec.minutes * 60, full=True),
    "TimelimitRaw": lambda r, _: "" if r.early else str(int(r.job.spec.minutes)),
    "Reason": lambda r, _: r.job.pending_reason,
    "Priority": lambda r, _: str(r.job.priority),
    "WCKey": lambda r, _: r.job.spec.wckey,
    "WorkDir": lambda r, _: r.job.spec.workdir,
}
STEP_FIELDS: dict[str, Field] = {
    "JobName": lambda r, _: r.step.name if r.step else "",
    "Submit": lambda r, _: stamp(r.start),
    "Eligible": lambda r, _: stamp(r.start),
    "SubmitLine": lambda r, _: r.step.submit_line if r.step else "",
    "AllocTRES": lambda r, _: tres(r.job, step=True),
    "NTasks": lambda r, _: str(r.step.tasks) if r.step else "",
}
# Real fields that the fake has nothing to say about.
EMPTY_FIELDS = """
AdminComment AveCPU AveRSS AveVMSize Constraints Container Flags MaxRSS MaxVMSize NTasks
MaxDiskRead MaxDiskWrite QOSRAW ReqCPUFreq Reservation SystemComment SystemCPU TotalCPU
UserCPU TRESUsageInMax TRESUsageInTot
"""
ALL_FIELDS = [*EMPTY_FIELDS.split(), *SHARED_FIELDS, *JOB_FIELDS, *STEP_FIELDS]
NAMES = {name.lower(): name for name in ALL_FIELDS}  # sacct reads them in any case


def value(record: Record, name: str, now: float) -> str:
    """Returns one field of a record."""
    fields = SHARED_FIELDS | (STEP_FIELDS if record.step else JOB_FIELDS)
    return fields[name](record, now) if name in fields else ""
