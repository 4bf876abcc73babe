"""What the fake cluster remembers: its settings, submissions, attempts at jobs, and their steps.

Plain values only. Nothing here knows about SQLite, processes or the texts that clients print.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, field

FINISHED = (
    *("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"),
    *("PREEMPTED", "OUT_OF_MEMORY", "REQUEUED"),
)
NOT_AN_ARRAY = -1


@dataclass
class Config:
    """The cluster's limits and its faults; a test changes them by ``FakeSlurm.configure``."""

    # How big the cluster is.
    slots: int = 2  # how many jobs run at once, whatever they ask for
    nodes: int = 4
    cpus: int = 4
    gpus: int = 2
    gpu_type: str = "a100"
    memory_mb: int = 4000
    partitions: dict[str, int] = field(  # name -> MaxTime in minutes; the first is the default
        default_factory=lambda: {"main": 60, "low": 60, "grace": 60, "short": 1}
    )
    partition_settings: dict[str, dict[str, str]] = field(default_factory=dict)  # as scontrol shows
    default_minutes: int = 10
    features: str = "(null)"
    drained: list[int] = field(
        default_factory=list
    )  # nodes by number; jobs start there all the same
    accounts: list[str] = field(default_factory=lambda: ["lab"])
    qos: list[str] = field(default_factory=lambda: ["normal"])
    # What sacctmgr shows of limits, by its column names; `max_submit` is what really holds.
    qos_limits: dict[str, dict[str, str]] = field(default_factory=dict)
    user_limits: dict[str, str] = field(default_factory=dict)
    account_limits: dict[str, dict[str, str]] = field(default_factory=dict)
    enforced: str = "associations,limits,qos"
    # What it refuses or holds back.
    max_array_size: int = 1001  # Slurm's default; the largest index is one less
    max_array_tasks: int | None = None  # of SchedulerParameters
    max_submit: int | None = None  # live jobs of the user, each array element counted
    max_submit_reason: str = "QOSMaxSubmitJobPerUserLimit"
    max_running: int | None = None
    enforce_part_limits: bool = True
    # Time. A test shortens a minute of time limit (and of --signal lead) to fit in a test.
    seconds_per_minute: float = 60.0
    kill_wait: float = 0.5
    requeue_delay: float = 0.2
    preempt_grace: float = 0.0  # with preempt_send_user_signal: the job's --signal, then TERM
    min_job_age: float = 300.0
    clock_skew_s: float = 0.0  # the controller's clock is ahead by this much
    # Accounting.
    sacct_lag: float = 0.0
    sacct: str = "up"  # or "disabled", "down", "empty"
    sacct_allocation_rows: bool = False  # a step's record arrives before its job's: row "37"
    sacct_stale_s: float = 0.0  # a range still names tasks that left it so lately
    # Faults. The three counters say how many of the next sbatch calls are struck.
    unreachable: bool = False  # slurmctld is dead: "connect failure" for every client
    frozen: bool = False  # slurmctld is stopped: "Socket timed out" for every client
    reject: str = ""  # sbatch refuses with this text ...
    reject_next: int = 0  # ... so many times
    sbatch_ghosts: int = 0  # sbatch says "Socket timed out", but the job exists
    hang: dict[str, float] = field(default_factory=dict)  # program -> seconds before it acts
    sbatch_answer_s: float = 0.0  # sbatch's answer comes so late; the job is there at once
    queue_full: bool = False  # MaxJobCount is reached: sbatch sleeps and tries again


@dataclass
class Submission:
    """One sbatch: what all elements of an array share."""

    job_id: int
    name: str
    script: str
    submit_line: str
    workdir: str
    user: str
    uid: int
    command: str = "(null)"
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    indices: list[int] = field(default_factory=list)  # empty: not an array
    throttle: int = 0
    comment: str = ""
    partition: str = "main"
    account: str = "lab"
    qos: str = "normal"
    wckey: str = ""
    minutes: float = 10
    tasks: int = 0  # 0: not asked for
    node_count: int = 1
    cpus: int = 1
    memory_mb: int = 0
    gres: str = ""
    gpus: int = 0
    output: str = ""
    error: str = ""
    append: bool = False
    dependency: str = ""
    signal: str = ""
    signal_lead_s: float = 60.0
    signal_batch: bool = False
    requeue: bool = True
    exclude: list[str] = field(default_factory=list)

    @property
    def cpu_count(self) -> int:
        """How many CPUs the job is given."""
        return self.cpus * max(1, self.tasks)

    def memory(self, cpus: int = 1) -> str:
        """The memory as Slurm writes it; the default (64 MB) is per CPU."""
        megabytes = self.memory_mb or 64 * cpus
        return f"{megabytes}M" if megabytes % 1024 else f"{megabytes // 1024}G"


@dataclass
class Job:
    """One attempt at one array element (or at a plain job, whose index is NOT_AN_ARRAY)."""

    array_id: int  # what sbatch printed
    index: int
    restart: int = 0
    raw_id: int = 0  # 0 while the element still shares the array's pending record
    state: str = "PENDING"
    reason: str = "None"
    pending_reason: str = "None"  # what accounting remembers
    current: bool = True  # False: an earlier attempt, or an element that left no record
    forgotten: bool = False  # slurmctld lost it, accounting did not
    hidden: bool = False  # cancelled while pending in an array: no record anywhere
    held: bool = False
    completing: bool = False
    requeue_after: bool = False
    exit_code: int = 0
    exit_signal: int = 0
    derived_code: int = 0
    derived_signal: int = 0
    cancelled_by: int = -1
    submit_time: float = 0.0
    begin_time: float = 0.0  # not before
    start_time: float = 0.0
    end_time: float = 0.0
    deadline: float = 0.0
    deadline_state: str = "TIMEOUT"
    warned: bool = False  # the job's --signal was sent
    term_at: float = 0.0
    termed_at: float = 0.0
    node: str = ""
    gpu_indices: str = ""
    pid: int = 0  # the batch shell, leader of its own session
    spec: Submission = field(default_factory=lambda: Submission(0, "", "", "", "", "", 0))

    @property
    def id(self) -> str:
        """The id that squeue shows for a started job: ``12`` or ``12_3``."""
        return f"{self.array_id}" if self.index == NOT_AN_ARRAY else f"{self.array_id}_{self.index}"

    @property
    def key(self) -> str:
        """Names the attempt in the environment of everything that it runs."""
        return f"{self.array_id}.{self.index}.{self.restart}"

    @property
    def raw(self) -> int:
        """The JobId; elements that wait together share the array's own."""
        return self.raw_id or self.array_id

    @property
    def priority(self) -> int:
        """Oldest first; a held job has none."""
        return 0 if self.held else 4294901760 - self.array_id

    @property
    def live(self) -> bool:
        """Is it still in squeue?"""
        return self.state not in FINISHED or self.completing


@dataclass
class Step:
    """A job step: ``batch``, or ``0``, ``1``, ... for each srun."""

    job_key: str
    step: str
    name: str
    start_time: float
    submit_line: str = ""
    tasks: int = 1
    state: str = "RUNNING"
    exit_code: int = 0
    exit_signal: int = 0
    end_time: float = 0.0
    pid: int = 0  # leads the process group of task 0
    stderr: str = ""
    oom: bool = False


@dataclass
class Call:
    """One call of a client program."""

    program: str
    argv: list[str]
    time: float
    cwd: str
    in_job: bool


@dataclass
class Reply:
    """What a client prints, and its exit status."""

    out: str = ""
    err: str = ""
    code: int = 0


class ClientError(Exception):
    """A client gives up with this text on stderr."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.text, self.code = text, code


def signal_number(name: str) -> int:
    """Reads ``USR2``, ``SIGUSR2`` or ``12``; raises KeyError for anything else."""
    if name.isdigit():
        return int(name)
    upper = name.upper()
    return int(signal.Signals[upper if upper.startswith("SIG") else f"SIG{upper}"])
