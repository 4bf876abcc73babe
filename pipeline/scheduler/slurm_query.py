"""What Slurm knows of tasks: one squeue, at most one sacct and one scontrol, whatever their number.

squeue is right about what lives. sacct has exit codes, times and earlier starts, but lags, may be
off, and may call a task live that the controller has lost. scontrol knows what ended within
MinJobAge. A row counts only when the job's name holds our token: Slurm reuses ids after a crash.
"""

import getpass
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipeline.scheduler.base import ACCOUNTING_LAG_S, TaskStatus
from pipeline.scheduler.commands import attempt, run
from pipeline.state import Incarnation, JobRecord, TaskState

CONTRADICTED_S = 1800.0
"""Silence of squeue and scontrol that outweighs an accounting which calls the task live."""

_RUNNING = {"RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED", "SUSPENDED"}
_WAITING = {
    *("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "CONFIGURING", "RESIZING"),
    *("SPECIAL_EXIT", "RESV_DEL_HOLD"),
}

TaskId = tuple[str, int | None]
"""Job id and array index; None for a job that is no array."""
_REST = -1
"""In place of an index: all elements of the array that are not told of one by one."""


@dataclass(frozen=True)
class Row:
    """What one program says of one task."""

    name: str
    status: TaskStatus


def query(jobs: Mapping[str, JobRecord]) -> dict[str, Sequence[TaskStatus]]:
    """Status of every task of every job (by token).

    Raises:
        SchedulerUnreachableError: the controller does not answer; nothing may be concluded.
    """
    ids = {(token, i): _ids(job, i) for token, job in jobs.items() for i in range(len(job.tasks))}
    found = _ours(ids, parse_squeue(_squeue()))
    missing = {token: jobs[token].job_id or "" for token, _ in ids.keys() - found.keys()}
    if missing:
        accounted = _ours(ids, parse_sacct(_sacct(sorted(set(missing.values()))), missing))
        ended = {k: s for k, s in accounted.items() if s.state is TaskState.ENDED}
        found = ended | found
        if ids.keys() - found.keys():
            remembered = _ours(ids, parse_scontrol(_scontrol()))
            found = {k: _completed(s, accounted.get(k)) for k, s in remembered.items()} | found
        for key in ids.keys() - found.keys():
            found[key] = _silence(jobs[key[0]], key[1], accounted.get(key))
    return {
        token: [found[token, index] for index in range(len(job.tasks))]
        for token, job in jobs.items()
    }


def parse_squeue(text: str) -> dict[TaskId, Row]:
    """Every live task of the user, arrays expanded."""
    known: dict[TaskId, Row] = {}
    for line in text.splitlines():
        fields = line.strip().split("|", 6)
        if len(fields) != 7 or _state(fields[2]) is TaskState.ENDED:
            continue
        job_id, index, word, node, elapsed, name, reason = fields
        status = TaskStatus(
            _state(word), word, node=node or None, elapsed_s=seconds(elapsed), reason=_named(reason)
        )
        known[job_id, _index(index)] = Row(name, status)
    return known


def parse_sacct(text: str, ours: Iterable[str]) -> dict[TaskId, Row]:
    """Tasks as accounting has them, with their earlier starts and the state of their steps.

    Args:
        text: rows of jobs, each followed by its steps', the oldest start first.
        ours: tokens; rows of other jobs that had the same id are left out.
    """
    tokens = tuple(ours)
    known: dict[TaskId, Row] = {}
    ranges: dict[TaskId, Row] = {}
    current: TaskId | None = None
    for line in text.splitlines():
        fields = line.strip().split("|", 6)
        if len(fields) != 7:
            continue
        name, step = fields[0].partition(".")[::2]
        if step:
            if current is not None and fields[1].startswith("OUT_OF_MEMORY"):
                row = known[current]
                known[current] = replace(row, status=replace(row.status, step_state=fields[1]))
            continue
        current = None
        job_id, _, index = name.partition("_")
        if not any(token in fields[6] for token in tokens):
            continue
        status = _accounted(fields)
        if index.startswith("["):
            if (job_id, _REST) not in ranges or status.state is TaskState.ENDED:
                ranges[job_id, _REST] = Row(fields[6], status)
            continue
        current = (job_id, _index(index))
        known[current] = Row(fields[6], _after(known.get(current), status))
    # A range speaks of elements that wait, or were cancelled while they did. It may be out of
    # date, so that an element's own row comes first; and long ones are cut short
    # ("12_[1,3,...]"), so that it stands for all elements without a row.
    return ranges | known


def parse_scontrol(text: str) -> dict[TaskId, Row]:
    """Tasks that the controller remembers, ended ones included (one line a job)."""
    known: dict[TaskId, Row] = {}
    for line in text.splitlines():
        facts = dict(re.findall(r"(?:^| )(\w+)=(\S*)", line))
        word = facts.get("JobState", "")
        if _state(word) is not TaskState.ENDED or not facts.get("JobId"):
            continue
        status = TaskStatus(
            TaskState.ENDED,
            word,
            exit_code=facts.get("ExitCode"),
            node=_node(facts.get("NodeList", "")),
            elapsed_s=seconds(facts.get("RunTime", "")),
            reason=_named(facts.get("Reason", "")),
        )
        job_id = str(facts.get("ArrayJobId", facts["JobId"]))
        elements: Iterable[int | None] = [None]
        if "ArrayTaskId" in facts:
            elements = indices(facts["ArrayTaskId"])
        known |= {(job_id, index): Row(facts.get("JobName", ""), status) for index in elements}
    return known


def indices(text: str) -> Iterator[int]:
    """Elements that a range such as "[0,3-9:2%4]" names."""
    for part in text.strip("[]").partition("%")[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match is not None:
            first, last = int(match[1]), int(match[2] or match[1])
            yield from range(first, last + 1, int(match[3] or 1) or 1)


def seconds(clock: str) -> float | None:
    """Slurm's "days-hours:minutes:seconds" (its front may be missing) in seconds."""
    match = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", clock)
    if match is None:
        return None
    days, hours, minutes, rest = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)


def _squeue() -> str:
    return run(
        "squeue", "--noheader", "--array", f"--user={getpass.getuser()}",
        "--format=%F|%K|%T|%N|%M|%j|%r",
    )  # fmt: skip


def _sacct(job_ids: Sequence[str]) -> str:
    """Rows of these jobs, steps and earlier starts included; "" where there is no accounting."""
    text = attempt(
        "sacct", "--noheader", "--parsable2", "--duplicates", f"--jobs={','.join(job_ids)}",
        "--format=JobID,State,ExitCode,ElapsedRaw,NodeList,AllocTRES,JobName",
    )  # fmt: skip
    return text or ""


def _scontrol() -> str:
    """All jobs at once: one call, where asking by id would take one for each."""
    return run("scontrol", "--oneliner", "show", "job")


def _ours(
    ids: Mapping[tuple[str, int], Sequence[TaskId]], rows: Mapping[TaskId, Row]
) -> dict[tuple[str, int], TaskStatus]:
    """Rows by token and task, those left out whose job has our id but not our token."""
    found: dict[tuple[str, int], TaskStatus] = {}
    for key, names in ids.items():
        for task_id in (*names, (names[0][0], _REST)):
            if task_id in rows and key[0] in rows[task_id].name:
                found[key] = rows[task_id].status
                break
    return found


def _accounted(fields: Sequence[str]) -> TaskStatus:
    _, words, exit_code, elapsed, node, tres, _ = fields
    word, *by = words.split() or ["UNKNOWN"]
    gpus = re.search(r"(?:^|,)gres/gpu=(\d+)", tres)
    return TaskStatus(
        _state(word),
        word,
        exit_code or None,
        _node(node),
        float(elapsed) if elapsed.isdigit() else None,
        reason=f"by uid {by[1]}" if len(by) == 2 and by[0] == "by" else None,
        gpus=int(gpus[1]) if gpus else None,
        earlier=(),
    )


def _after(before: Row | None, status: TaskStatus) -> TaskStatus:
    """A later start of the same task."""
    if before is None:
        return status
    old = before.status
    start = Incarnation(
        scheduler_state=old.scheduler_state,
        exit_code=old.exit_code,
        node=old.node,
        elapsed_s=old.elapsed_s,
    )
    return replace(status, earlier=(*(old.earlier or ()), start))


def _completed(status: TaskStatus, accounted: TaskStatus | None) -> TaskStatus:
    """What the controller remembers, with what only accounting knows."""
    if accounted is None:
        return status
    return replace(
        status,
        gpus=accounted.gpus,
        step_state=accounted.step_state,
        earlier=accounted.earlier or None,
    )


def _silence(job: JobRecord, index: int, accounted: TaskStatus | None) -> TaskStatus:
    task = job.tasks[index]
    if accounted is None:
        return TaskStatus(task.state, task.scheduler_state, silent_s=ACCOUNTING_LAG_S)
    return replace(accounted, silent_s=CONTRADICTED_S, earlier=accounted.earlier or None)


def _state(word: str) -> TaskState:
    """What one of Slurm's words for a job means for us."""
    if word in _RUNNING:
        return TaskState.RUNNING
    return TaskState.QUEUED if word in _WAITING else TaskState.ENDED


def _ids(job: JobRecord, index: int) -> tuple[TaskId, ...]:
    """What Slurm may call a task; the only one of a job may or may not be an array's element."""
    job_id = job.job_id or ""
    return ((job_id, index),) if len(job.tasks) > 1 else ((job_id, None), (job_id, 0))


def _index(text: str) -> int | None:
    return int(text) if text.isdigit() else None


def _named(reason: str) -> str | None:
    return reason if reason not in {"", "None", "(null)", "N/A"} else None


def _node(text: str) -> str | None:
    return text if text not in {"", "None assigned", "(null)", "Unknown"} else None
