"""The cluster's memory: one SQLite file, safe for clients and scheduler at the same time."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from .model import Call, Config, Job, Step, Submission

Row = TypeVar("Row", Job, Step)

JOB_COLUMNS = [(f.name, f.type == "bool") for f in fields(Job) if f.name != "spec"]
STEP_COLUMNS = [(f.name, f.type == "bool") for f in fields(Step)]
JOB_KEY = ("array_id", "index", "restart")
STEP_KEY = ("job_key", "step")


def _table(name: str, columns: list[tuple[str, bool]], key: tuple[str, ...]) -> str:
    listed = ", ".join(f'"{column}"' for column, _ in columns)
    primary = ", ".join(f'"{column}"' for column in key)
    return f"CREATE TABLE IF NOT EXISTS {name} ({listed}, PRIMARY KEY ({primary}));"


SCHEMA = (
    "PRAGMA journal_mode=WAL;"
    "CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT);"
    "CREATE TABLE IF NOT EXISTS submissions (job_id INTEGER PRIMARY KEY, value TEXT);"
    + _table("jobs", JOB_COLUMNS, JOB_KEY)
    + _table("steps", STEP_COLUMNS, STEP_KEY)
)


class Cluster:
    """The state under one folder; every process opens its own."""

    def __init__(self, directory: Path, create: bool = False) -> None:
        self.directory = directory
        self.db = sqlite3.connect(directory / "cluster.db", timeout=30, isolation_level=None)
        self.db.execute("PRAGMA synchronous=OFF")
        if create:
            self.db.executescript(SCHEMA)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes what is read and written in between one step for everybody else."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def close(self) -> None:
        """Lets go of the file."""
        self.db.close()

    # -- settings -----------------------------------------------------------------------------

    def config(self) -> Config:
        """Returns the settings as they are now."""
        rows = self.db.execute("SELECT name, value FROM settings").fetchall()
        known = {f.name for f in fields(Config)}
        return Config(**{name: json.loads(value) for name, value in rows if name in known})

    def configure(self, changes: dict[str, Any]) -> None:
        """Changes settings; raises TypeError for a name that Config does not have."""
        Config(**{name: value for name, value in changes.items() if name != "next_job_id"})
        rows = [(name, json.dumps(value)) for name, value in changes.items()]
        self.db.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", rows)

    def take(self, counter: str) -> bool:
        """Uses up one of a fault that strikes the next few calls; False when none is left."""
        with self.transaction():
            left = int(getattr(self.config(), counter))
            if left > 0:
                self.configure({counter: left - 1})
        return left > 0

    def new_id(self) -> int:
        """Hands out the next JobId; call it inside a transaction."""
        row = self.db.execute("SELECT value FROM settings WHERE name='next_job_id'").fetchone()
        number = int(row[0]) if row else 1
        self.configure({"next_job_id": number + 1})
        return number

    # -- jobs ---------------------------------------------------------------------------------

    def submissions(self) -> dict[int, Submission]:
        """Returns every sbatch by its job id."""
        rows = self.db.execute("SELECT job_id, value FROM submissions")
        return {number: Submission(**json.loads(value)) for number, value in rows}

    def add_submission(self, spec: Submission) -> None:
        """Stores what the elements of an array share."""
        value = json.dumps(vars(spec))
        self.db.execute("INSERT OR REPLACE INTO submissions VALUES (?, ?)", (spec.job_id, value))

    def jobs(self, everything: bool = False) -> list[Job]:
        """Returns the current attempt at each element, or (`everything`) all attempts."""
        where = "" if everything else "WHERE current AND NOT forgotten"
        jobs = self._load(Job, JOB_COLUMNS, f"SELECT * FROM jobs {where} ORDER BY 1, 2, 3")
        specs = self.submissions()  # after the jobs: an sbatch between the reads is none of theirs
        for job in jobs:
            job.spec = specs[job.array_id]
        return jobs

    def save(self, *jobs: Job) -> None:
        """Writes attempts back."""
        self._save("jobs", JOB_COLUMNS, list(jobs))

    def steps(self, job: Job | None = None) -> list[Step]:
        """Returns all steps, or one attempt's, in the order they were started."""
        if job is None:
            return self._load(Step, STEP_COLUMNS, "SELECT * FROM steps ORDER BY rowid")
        query = "SELECT * FROM steps WHERE job_key=? ORDER BY rowid"
        return self._load(Step, STEP_COLUMNS, query, (job.key,))

    def save_step(self, *steps: Step) -> None:
        """Writes steps back, each in its old place."""
        names = [name for name, _ in STEP_COLUMNS]
        changes = ", ".join(f"{name}=excluded.{name}" for name in names)
        marks = ", ".join("?" * len(names))
        rows = [[getattr(step, name) for name in names] for step in steps]
        self.db.executemany(
            f"INSERT INTO steps VALUES ({marks}) ON CONFLICT DO UPDATE SET {changes}", rows
        )

    def _load(
        self, kind: type[Row], columns: list[tuple[str, bool]], query: str, values: Any = ()
    ) -> list[Row]:
        items = []
        for row in self.db.execute(query, values):
            cells = zip(columns, row, strict=True)
            named: dict[str, Any] = {n: bool(v) if flag else v for (n, flag), v in cells}
            items.append(kind(**named))
        return items

    def _save(self, table: str, columns: list[tuple[str, bool]], items: list[Row]) -> None:
        rows = [[getattr(item, name) for name, _ in columns] for item in items]
        marks = ", ".join("?" * len(columns))
        self.db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)

    # -- beside the database ------------------------------------------------------------------

    def wake_scheduler(self) -> None:
        """Tells the scheduler, where one runs, to look again."""
        with suppress(OSError):
            pipe = os.open(self.directory / "wake", os.O_WRONLY | os.O_NONBLOCK)
            os.write(pipe, b".")
            os.close(pipe)


def log_call(directory: Path, argv: list[str]) -> None:
    """Appends a client's call to the log; one short write, so that calls do not mix."""
    call = Call(
        program=argv[0],
        argv=argv[1:],
        time=time.time(),
        cwd=os.getcwd(),  # noqa: PTH109  the cheaper one: every client call pays for it
        in_job="FAKESLURM_JOB" in os.environ,
    )
    with (directory / "calls.jsonl").open("a") as log:
        log.write(json.dumps(vars(call)) + "\n")


def read_calls(directory: Path) -> list[Call]:
    """Returns the client calls so far."""
    path = directory / "calls.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [Call(**json.loads(line)) for line in lines]
