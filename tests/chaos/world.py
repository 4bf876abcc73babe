"""A workspace beside a fake Slurm: saved and put back as a whole, and what its cluster does.

The cluster starts nothing by itself. A deed of it is told in a scene and is over when it returns,
so that two tellings of one story differ in times and tokens alone.
"""

import json
import os
import re
import shlex
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.workspace import Workspace
from tests.chaos.nursery import Ended, Nursery
from tests.fakeslurm import node
from tests.fakeslurm.control import FakeSlurm
from tests.fakeslurm.model import Job
from tests.pipeline.chained import aged
from tests.pipeline.conftest import TOY_STUDY, make_toy, state_of

STUDY = TOY_STUDY.replace('name = "toy"', 'name = "chaos"', 1).replace(
    'direction = "minimize" }\n', 'direction = "minimize" }\nprofile = "cluster"\n', 1
)

PROFILES = """
[profiles.cluster]
backend = "slurm"
partition = "main"
gres = "gpu:a100:1"
cpus_per_task = 1
mem_gb = 1
walltime_min = 30
stack_size = 6

[profiles.cluster.auto]
walltime_min = 50
mem_gb = 1
"""


@dataclass(frozen=True)
class Saved:
    """A world at one moment."""

    files: Path
    cluster: sqlite3.Connection


class World:
    """One study, its workspace and its cluster."""

    def __init__(
        self, folder: Path, slurm: FakeSlurm, nursery: Nursery, study: str, profiles: str
    ) -> None:
        self.place: Workspace = make_toy(folder / "ws", study)
        self.profiles_file = self.place.root / "slurm" / "profiles.toml"
        self.profiles_file.parent.mkdir()
        self.profiles_file.write_text(profiles)
        self.slurm = slurm
        self._folder = folder
        self._nursery = nursery
        self._saved = 0

    def save(self) -> Saved:
        """Remember files and cluster as they are."""
        self._saved += 1
        files = self._folder / f"saved-{self._saved}"
        shutil.copytree(self.place.root, files, symlinks=True)
        return Saved(files, self.slurm.saved())

    def put_back(self, saved: Saved) -> None:
        """Make files and cluster what they were."""
        shutil.rmtree(self.place.root)
        shutil.copytree(saved.files, self.place.root, symlinks=True)
        self.slurm.put_back(saved.cluster)

    def command(self, *arguments: str, dies_at: int | None = None, job: Job | None = None) -> Ended:
        """Run `pipeline ARGUMENTS`, on the login node or in a job."""
        environment = self.environment() | (node.batch_environment(job) if job else {})
        return self._nursery.command(arguments, self.place.root, environment, dies_at)

    def follow_up(self, dies_at: int | None = None) -> Ended | None:
        """Start the follow-up job that the study waits for, until it ends; None without one."""
        record = state_of(self.place).follow_up
        if record is None or record.ended is not None:
            return None
        (job,) = [j for j in self.slurm.jobs() if j.spec.name.endswith(record.token)]
        self.slurm.start(job.id)
        arguments = job.spec.script.splitlines()[-1].partition("-m pipeline ")[2]
        done = self.command(*shlex.split(arguments), dies_at=dies_at, job=self.slurm.job(job.id))
        self.slurm.finish(job.id, abs(done.code))
        return done

    def train(self) -> None:
        """Every task in the queue starts, trains and ends."""
        for job in self._waiting():
            self.slurm.start(job.id)
            started = self.slurm.job(job.id)
            environment = node.batch_environment(started) | {"PYTHONPATH": _code_of(started)}
            pickle = _folder_of(job) / f"task-{max(job.index, 0)}.pkl"
            done = self._nursery.task(pickle, self.place.root, environment)
            self.slurm.finish(job.id, abs(done.code))

    def start_tasks(self) -> None:
        """Every task in the queue is given a node."""
        for job in self._waiting():
            self.slurm.start(job.id)

    def lose_nodes(self) -> None:
        """Every task in the queue starts, and dies with its node before it has done anything."""
        for job in self._waiting():
            self.slurm.start(job.id)
            self.slurm.kill(job.id, "NODE_FAIL", requeue=False)
            self.slurm.wait(job.id)

    def pass_time(self) -> bool:
        """Two minutes pass in which a job may show up late; False when none is awaited."""
        state = state_of(self.place)
        jobs = [*state.jobs.values(), *([state.follow_up.job] if state.follow_up else [])]
        untold = any(job.job_id is None for job in jobs)
        if untold:
            aged(self.place)
        return untold

    def starts(self) -> Counter[str]:
        """How often each run was started, by the cluster's own record."""
        counted: Counter[str] = Counter()
        for job in self.slurm.jobs(everything=True):
            if job.start_time and job.node and not _is_follow_up(job):
                counted.update(_runs_of(job))
        return counted

    def doubled(self) -> list[str]:
        """Runs that are queued or running in two tasks at a time, and a chain that is two."""
        live = [job for job in self.slurm.jobs() if job.live]
        counted = Counter(run for job in live if not _is_follow_up(job) for run in _runs_of(job))
        counted["follow-up"] = sum(map(_is_follow_up, live))
        return [f"{number} of {what} at once" for what, number in counted.items() if number > 1]

    def submissions(self) -> int:
        """How many jobs with tasks were ever submitted."""
        jobs = self.slurm.jobs(everything=True)
        return len({job.array_id for job in jobs if not _is_follow_up(job)})

    def _waiting(self) -> list[Job]:
        jobs = [job for job in self.slurm.jobs() if job.state == "PENDING"]
        return [job for job in jobs if not _is_follow_up(job)]

    def environment(self) -> dict[str, str]:
        """What a process on the login node finds around it."""
        inherited = {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR"}
        mine = {name: value for name, value in os.environ.items() if name in inherited}
        return mine | self.slurm.environment() | {"COLUMNS": "200", "OMP_NUM_THREADS": "1"}


@contextmanager
def world(
    study: str = STUDY, profiles: str = PROFILES, disk: Path | None = None
) -> Iterator[World]:
    """A fresh world, its workspace on `disk` if one is given; it ends with all that it started."""
    with (
        TemporaryDirectory(prefix="chaos-") as folder,
        Nursery() as nursery,
        FakeSlurm(Path(folder) / "slurm", slots=0) as slurm,
    ):
        yield World(disk or Path(folder), slurm, nursery, study, profiles)


def _is_follow_up(job: Job) -> bool:
    return "-auto-" in job.spec.name


def _folder_of(job: Job) -> Path:
    return Path(job.spec.command).parent


def _runs_of(job: Job) -> list[str]:
    task = json.loads((_folder_of(job) / f"task-{max(job.index, 0):04d}.json").read_text())
    return [f"{task['phase']}/{run['run_id']}" for run in task["runs"]]


def _code_of(job: Job) -> str:
    """The code snapshot that the job's script imports from."""
    match = re.search(r"^export PYTHONPATH=(.*?)\"\$", job.spec.script, re.MULTILINE)
    assert match is not None
    return shlex.split(match[1])[0]
