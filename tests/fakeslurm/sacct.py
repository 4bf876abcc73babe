"""The fake sacct: which records are asked for, and how they are laid out."""

from __future__ import annotations

import time

from .accounting import NAMES, eligible, records, value
from .model import ClientError, Config, Job, Reply, Step
from .options import Options
from .store import Cluster
from .text import midnight, parse_when, select

OPTIONS = Options(
    "sacct",
    "accounts=A allocations.X allusers.a array. duplicates.D endtime=E format=o jobs=j name="
    " noheader.n parsable.p parsable2.P partition=r qos=q starttime=S state=s truncate.T user=u"
    " units= version.V",
)
DEFAULT_FORMAT = "JobID,JobName,Partition,Account,AllocCPUS,State,ExitCode"
DISABLED = "Slurm accounting storage is disabled\n"
DATABASE_DOWN = (
    "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection to"
    " host:127.0.0.1:6819: Connection refused\n"
    "sacct: error: Sending PersistInit msg: Connection refused\n"
    "sacct: error: Problem talking to the database: Connection refused\n"
)
Given = dict[str, str]


def main(cluster: Cluster, argv: list[str]) -> Reply:
    """Lists accounting records."""
    given = _parse(argv)
    if "version" in given:
        return Reply("slurm-wlm 22.05.8\n")
    config = cluster.config()
    if config.sacct == "disabled":
        raise ClientError(DISABLED)
    if config.sacct == "down":
        raise ClientError(DATABASE_DOWN)
    columns = [part.partition("%") for part in given.get("format", DEFAULT_FORMAT).split(",")]
    for name, _, _ in columns:
        if name.lower() not in NAMES:
            raise ClientError(f'sacct: error: Invalid field requested: "{name}"\n')
    now = time.time()
    jobs = _visible(_chosen(cluster.jobs(everything=True), given, now), given, config, now)
    steps: dict[str, list[Step]] = {}
    for step in [] if "allocations" in given else cluster.steps():
        steps.setdefault(step.job_key, []).append(step)
    found = records(jobs, steps, config, now)
    if "state" in given:
        states = {word.upper() for word in given["state"].split(",")}
        found = [record for record in found if record.state.split()[0] in states]
    names = [NAMES[name.lower()] for name, _, _ in columns]
    rows = [[value(record, name, now) for name in names] for record in found]
    widths = [
        int(width or _width(name)) for name, (_, _, width) in zip(names, columns, strict=True)
    ]
    return Reply(_layout(given, names, widths, rows))


def _parse(argv: list[str]) -> Given:
    """As the others read their options, except that -j may be repeated (submitit does)."""
    jobs: list[str] = []
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word in ("-j", "--jobs") and words:
            jobs.append(words.pop(0))
        elif word.startswith(("--jobs=", "-j")):
            jobs.append(word.removeprefix("--jobs=").removeprefix("-j"))
        else:
            rest.append(word)
    try:
        given, _ = OPTIONS.parse(rest)
    except ClientError as error:
        error.text = error.text.splitlines()[0] + "\n"  # sacct gives no advice
        raise
    return given | ({"jobs": ",".join(jobs)} if jobs else {})


def _chosen(jobs: list[Job], given: Given, now: float) -> list[Job]:
    """Returns the attempts asked for: by id, or those of a period (today, unless told)."""
    if "jobs" in given:
        named: dict[str, Job] = {}
        for name in filter(None, given["jobs"].split(",")):
            try:
                named.update((job.key, job) for job in select(jobs, name))
            except ValueError:
                raise ClientError(f"sacct: fatal: Bad job/step specified: {name}\n") from None
        return [job for job in jobs if job.key in named]
    since = parse_when(given["starttime"], now) if "starttime" in given else midnight(now)
    until = parse_when(given["endtime"], now) if "endtime" in given else now
    jobs = [job for job in jobs if 0 < eligible(job) <= until]
    return [job for job in jobs if not job.end_time or job.end_time >= since]


def _visible(jobs: list[Job], given: Given, config: Config, now: float) -> list[Job]:
    """Drops what has not reached accounting yet, earlier attempts, and what is filtered out."""
    for option in ("name", "partition", "user", "qos"):
        if option in given:
            wishes = given[option].split(",")
            jobs = [job for job in jobs if getattr(job.spec, option) in wishes]
    seen = now - config.sacct_lag
    early = config.sacct_allocation_rows
    jobs = [job for job in jobs if job.submit_time <= seen or (early and job.start_time)]
    if "duplicates" in given or config.sacct == "empty":
        return jobs if config.sacct != "empty" else []
    return list({(job.array_id, job.index): job for job in jobs}.values())


def _layout(given: Given, names: list[str], widths: list[int], rows: list[list[str]]) -> str:
    if "parsable2" in given or "parsable" in given:
        end = "\n" if "parsable2" in given else "|\n"
        table = rows if "noheader" in given else [names, *rows]
        return "".join("|".join(row) + end for row in table)
    table = [[_cell(text, width) for text, width in zip(row, widths, strict=True)] for row in rows]
    if "noheader" not in given:
        titles = [_cell(name, width) for name, width in zip(names, widths, strict=True)]
        table = [titles, ["-" * abs(width) for width in widths], *table]
    return "".join("".join(f"{cell} " for cell in row) + "\n" for row in table)


def _cell(text: str, size: int) -> str:
    width = abs(size)
    cut = text if len(text) <= width else text[: width - 1] + "+"
    return cut.ljust(width) if size < 0 else cut.rjust(width)


def _width(name: str) -> int:
    return {"JobID": -12, "JobIDRaw": -12, "ExitCode": 8}.get(name, 10)
