"""Slurm's small languages: array ranges, job ids, time limits, dates, file name patterns."""

from __future__ import annotations

import os
import pwd
import re
import time

from .model import NOT_AN_ARRAY, Job


def parse_indices(text: str) -> tuple[list[int], int]:
    """Reads ``0-9:2,12%4`` into indices and throttle; raises ValueError for what Slurm refuses."""
    body, _, throttle = text.partition("%")
    found: set[int] = set()
    for part in body.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part)
        if match is None:
            raise ValueError(text)
        first, last, step = (int(value) if value else None for value in match.groups())
        assert first is not None
        if (last is not None and last < first) or step == 0:
            raise ValueError(text)
        found.update(range(first, (first if last is None else last) + 1, step or 1))
    return sorted(found), int(throttle or 0)


def format_indices(indices: list[int]) -> str:
    """Writes ``0,3-5`` the way squeue and sacct do."""
    runs: list[list[int]] = []
    for index in sorted(indices):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs)


def parse_job_id(text: str) -> tuple[int, set[int] | None]:
    """Reads ``12``, ``12_3`` or ``12_[3-5]``; raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+)(?:_(\d+|\[[\d,:%-]+\]))?(?:\.\w+)?", text)
    if match is None:
        raise ValueError(text)
    indices = match[2]
    return int(match[1]), set(parse_indices(indices.strip("[]"))[0]) if indices else None


def select(jobs: list[Job], wanted: str) -> list[Job]:
    """Returns the jobs that an id names: a whole array, some elements, or one raw id."""
    number, indices = parse_job_id(wanted)
    found = [job for job in jobs if job.array_id == number]
    if indices is not None:
        return [job for job in found if job.index in indices]
    return found or [job for job in jobs if job.raw_id == number]


def parse_minutes(text: str) -> float:
    """Reads a time limit (``90``, ``1:30``, ``1:00:00``, ``2-12``, ``2-12:30``) into minutes."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if match is None:
        raise ValueError(text)
    days, first, second, third = (int(value or 0) for value in match.groups())
    if match[1] is not None:
        return days * 1440 + first * 60 + second + third / 60
    return first * 60 + second + third / 60 if match[4] else first + second / 60


def parse_megabytes(text: str) -> int:
    """Reads ``4G``, ``200M``, ``200MB`` or ``200``."""
    match = re.fullmatch(r"(\d+)([KMGT]?)B?", text, re.IGNORECASE)
    if match is None:
        raise ValueError(text)
    number, unit = int(match[1]), match[2].upper() or "M"
    return number // 1024 if unit == "K" else number * {"M": 1, "G": 1024, "T": 1024**2}[unit]


def parse_when(text: str, now: float) -> float:
    """Reads the dates of ``sacct -S``: ``now-2hours``, ``2026-01-31``, ``...T12:00[:00]``."""
    match = re.fullmatch(r"now(?:([+-]\d+)(\w*))?", text)
    if match:
        units = {"": 1, "seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
        return now + int(match[1] or 0) * units[match[2] or ""]
    for pattern in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d"):
        try:
            return time.mktime(time.strptime(text, pattern))
        except ValueError:
            continue
    if text in ("today", "midnight"):
        return midnight(now)
    raise ValueError(text)


def midnight(now: float) -> float:
    """Returns the start of the day."""
    day = time.localtime(now)
    return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, 0, 0, 0, 0, 0, -1))


def stamp(moment: float, unknown: str = "Unknown") -> str:
    """Writes a moment as Slurm does."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(moment)) if moment else unknown


def user_name() -> str:
    """Who calls."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def clock(seconds: float, full: bool = False) -> str:
    """Writes a duration: ``4:57`` as squeue does, ``00:04:57`` (`full`) as sacct does."""
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    prefix = f"{days}-" if days else ""
    if full or days:
        return f"{prefix}{hours:02}:{minutes:02}:{rest:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def expand(pattern: str, job: Job, task: int = 0, step: str = "batch") -> str:
    """Fills ``%j %A %a %t %N %x %u`` (and ``%4a``) of an output file name."""
    index = job.index if job.index != NOT_AN_ARRAY else 4294967294
    values: dict[str, int | str] = {
        **{"A": job.array_id, "a": index, "j": job.raw, "J": f"{job.raw}.{step}"},
        **{"N": job.node, "n": 0, "t": task, "s": step, "u": job.spec.user, "x": job.spec.name},
    }

    def fill(match: re.Match[str]) -> str:
        if match[2] == "%":
            return "%"
        value = values.get(match[2])
        return match[0] if value is None else str(value).rjust(int(match[1] or 0), "0")

    return re.sub(r"%(\d*)([AajJNntsux%])", fill, pattern)
