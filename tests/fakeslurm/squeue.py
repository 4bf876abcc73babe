"""The fake squeue: live jobs (and, for -t all, those that ended within MinJobAge)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from .model import NOT_AN_ARRAY, ClientError, Job, Reply
from .options import Options
from .schedule import dependency_text
from .store import Cluster
from .text import clock, format_indices, parse_job_id, select, stamp, user_name

OPTIONS = Options(
    "squeue",
    "all.a array.r help. jobs=j me. name=n noheader.h format=o partition=p qos=q sort=S start."
    " states=t user=u account=A long.l version.V",
)
DEFAULT_FORMAT = "%.18i %.9P %.8j %.8u %.2t %.10M %.6D %R"
START_FORMAT = "%.18i %.9P %.8j %.8u %.2t %.19S %.6D %20Y %R"
INVALID_ID = "slurm_load_jobs error: Invalid job id specified\n"
STATES = """
PENDING=PD RUNNING=R SUSPENDED=S COMPLETED=CD CANCELLED=CA FAILED=F TIMEOUT=TO NODE_FAIL=NF
PREEMPTED=PR BOOT_FAIL=BF DEADLINE=DL OUT_OF_MEMORY=OOM COMPLETING=CG CONFIGURING=CF RESIZING=RS
RESV_DEL_HOLD=RD REQUEUED=RQ REQUEUE_FED=RF REQUEUE_HOLD=RH REVOKED=RV SIGNALING=SI
SPECIAL_EXIT=SE STAGE_OUT=SO STOPPED=ST
"""
CODES = dict(pair.split("=") for pair in STATES.split())
LISTED = {"PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING"}


@dataclass
class Entry:
    """A line of squeue: one job, or elements that wait together under their array's id."""

    job: Job
    indices: list[int]
    dependency: str = "(null)"

    @property
    def state(self) -> str:
        """The state squeue shows."""
        return "COMPLETING" if self.job.completing else self.job.state

    @property
    def array_text(self) -> str:
        """``2-9%2`` for elements that wait together, ``3`` for one that does not."""
        if self.job.raw_id or self.job.index == NOT_AN_ARRAY:
            return "N/A" if self.job.index == NOT_AN_ARRAY else str(self.job.index)
        limit = self.job.spec.throttle
        return format_indices(self.indices) + (f"%{limit}" if limit else "")

    @property
    def id(self) -> str:
        """``12``, ``12_3`` or ``12_[3-9%2]``."""
        if self.job.raw_id or self.job.index == NOT_AN_ARRAY:
            return self.job.id
        return f"{self.job.array_id}_[{self.array_text}]"

    def elapsed(self, now: float) -> float:
        """How long it has run."""
        return (self.job.end_time or now) - self.job.start_time if self.job.start_time else 0.0

    @property
    def limit(self) -> float:
        """The time limit, in seconds."""
        return self.job.spec.minutes * 60

    @property
    def end(self) -> float:
        """When it ended, or will at the latest; 0 before it starts."""
        return self.job.end_time or (self.job.start_time and self.job.start_time + self.limit)

    @property
    def place(self) -> str:
        """Where it runs, or why it does not."""
        waits = self.state in ("PENDING", "FAILED", "TIMEOUT", "OUT_OF_MEMORY")
        return f"({self.job.reason})" if waits else self.job.node

    @property
    def gres(self) -> str:
        """What it asked for on each node, as Slurm writes it; empty for nothing."""
        name = self.job.spec.gres.removeprefix("gres:")
        return f"gres:{name}" if name else ""


COLUMNS: dict[str, tuple[str, Callable[[Entry, float], str]]] = {
    "i": ("JOBID", lambda e, _: e.id),
    "A": ("JOBID", lambda e, _: str(e.job.raw)),
    "F": ("ARRAY_JOB_ID", lambda e, _: str(e.job.array_id)),
    "K": ("ARRAY_TASK_ID", lambda e, _: e.array_text),
    "j": ("NAME", lambda e, _: e.job.spec.name),
    "T": ("STATE", lambda e, _: e.state),
    "t": ("ST", lambda e, _: CODES[e.state]),
    "r": ("REASON", lambda e, _: e.job.reason),
    "R": ("NODELIST(REASON)", lambda e, _: e.place),
    "N": ("NODELIST", lambda e, _: e.job.node),
    "B": ("EXEC_HOST", lambda e, _: e.job.node or "n/a"),
    "M": ("TIME", lambda e, now: clock(e.elapsed(now))),
    "l": ("TIME_LIMIT", lambda e, _: clock(e.limit)),
    "L": ("TIME_LEFT", lambda e, now: clock(e.limit - e.elapsed(now))),
    "S": ("START_TIME", lambda e, _: stamp(e.job.start_time, "N/A")),
    "V": ("SUBMIT_TIME", lambda e, _: stamp(e.job.submit_time)),
    "e": ("END_TIME", lambda e, _: stamp(e.end, "N/A")),
    "u": ("USER", lambda e, _: e.job.spec.user),
    "U": ("UID", lambda e, _: str(e.job.spec.uid)),
    "P": ("PARTITION", lambda e, _: e.job.spec.partition),
    "a": ("ACCOUNT", lambda e, _: e.job.spec.account),
    "q": ("QOS", lambda e, _: e.job.spec.qos),
    "Q": ("PRIORITY", lambda e, _: str(e.job.priority)),
    "D": ("NODES", lambda e, _: str(e.job.spec.node_count)),
    "C": ("CPUS", lambda e, _: str(e.job.spec.cpu_count)),
    "m": ("MIN_MEMORY", lambda e, _: e.job.spec.memory()),
    "b": ("TRES_PER_NODE", lambda e, _: e.gres or "N/A"),
    "k": ("COMMENT", lambda e, _: e.job.spec.comment or "(null)"),
    "E": ("DEPENDENCY", lambda e, _: e.dependency),
    "o": ("COMMAND", lambda e, _: e.job.spec.command),
    "Z": ("WORK_DIR", lambda e, _: e.job.spec.workdir),
    "w": ("WCKEY", lambda e, _: e.job.spec.wckey or "(null)"),
    "f": ("FEATURES", lambda _e, _: "(null)"),
    "Y": ("SCHEDNODES", lambda _e, _: "(null)"),
}


def entries(chosen: list[Job], jobs: list[Job], one_by_one: bool = False) -> list[Entry]:
    """Groups elements that wait together; `one_by_one` (-r) keeps each on its own line."""
    found: list[Entry] = []
    shared: dict[tuple[int, str], Entry] = {}
    for job in chosen:
        entry = Entry(job, [job.index], dependency_text(job, jobs))
        if one_by_one and not job.raw_id:
            entry.job = Job(**{**vars(job), "raw_id": job.array_id})
        elif not job.raw_id and job.index != NOT_AN_ARRAY:
            first = shared.setdefault((job.array_id, job.state), entry)
            if first is not entry:
                first.indices.append(job.index)
                continue
        found.append(entry)
    return found


def main(cluster: Cluster, argv: list[str]) -> Reply:
    """Lists jobs."""
    given, _ = OPTIONS.parse(argv)
    if "version" in given:
        return Reply("slurm-wlm 22.05.8\n")
    wanted = _states(given.get("states", ""))
    now = time.time()
    config = cluster.config()
    jobs = [j for j in cluster.jobs() if j.live or now - j.end_time < config.min_job_age]
    chosen = jobs
    ids = [name for name in given.get("jobs", "").split(",") if name]
    if ids:
        chosen = _named(jobs, ids)
    chosen = [job for job in chosen if _matches(job, given)]
    one_by_one = "array" in given or any("_" in name for name in ids)
    shown = entries(chosen, jobs, one_by_one)
    shown = [entry for entry in shown if not wanted or entry.state in wanted]
    if "start" in given:
        shown = [entry for entry in shown if entry.state == "PENDING"]
    # Slurm's own order: partition, state, then highest priority (oldest) first.
    shown.sort(key=lambda e: (e.job.spec.partition, e.state, e.job.array_id, e.job.index))
    form = given.get("format", START_FORMAT if "start" in given else DEFAULT_FORMAT)
    lines = [] if "noheader" in given else [render(form, lambda x: COLUMNS[x][0])]
    lines += [render(form, _reader(entry, now)) for entry in shown]
    return Reply("".join(f"{line}\n" for line in lines))


def _states(text: str) -> set[str]:
    if not text:
        return LISTED
    if text.lower() == "all":
        return set()
    names = {code: name for name, code in CODES.items()} | {name: name for name in CODES}
    chosen = set()
    for word in text.split(","):
        if word.upper() not in names:
            raise ClientError(
                f"squeue: error: Invalid job state specified: {word}\n"
                f"squeue: error: Valid job states include: {','.join(CODES)}\n\n"
            )
        chosen.add(names[word.upper()])
    return chosen


def _named(jobs: list[Job], ids: list[str]) -> list[Job]:
    found: list[Job] = []
    for name in ids:
        try:
            parse_job_id(name)
        except ValueError:
            raise ClientError(f"squeue: error: Invalid job id: {name}\n") from None
        found += [job for job in select(jobs, name) if job not in found]
    # Slurm asks for one id by number, and is told; for several it filters, and is silent.
    if not found and len(ids) == 1:
        raise ClientError(INVALID_ID)
    return found


def _matches(job: Job, given: dict[str, str]) -> bool:
    user = user_name() if "me" in given else given.get("user")
    wishes = [
        (given.get("name"), job.spec.name),
        (given.get("partition"), job.spec.partition),
        (given.get("qos"), job.spec.qos),
        (given.get("account"), job.spec.account),
        (user, job.spec.user),
    ]
    return all(wish is None or value in wish.split(",") for wish, value in wishes)


def _reader(entry: Entry, now: float) -> Callable[[str], str]:
    return lambda letter: COLUMNS[letter][1](entry, now)


def render(form: str, value: Callable[[str], str]) -> str:
    """Fills a format such as ``%.18i|%T``: a dot means flush right, a width truncates."""

    def fill(match: re.Match[str]) -> str:
        text = value(match[3])
        width = int(match[2] or 0)
        if not width:
            return text
        return text[:width].rjust(width) if match[1] else text[:width].ljust(width)

    return re.sub(r"%(\.?)(\d*)([a-zA-Z])", fill, form)
