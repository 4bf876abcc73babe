"""Chaos on a real Slurm: a study whose commands die at random, and one whose cluster falls apart.

What was started, and how it ended, is told by Slurm's accounting, never by our own records.
"""

import json
import os
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.state import RunStatus, State
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from slurm.testcluster.cluster import Cluster
from tests.chaos.killing import unreadable_files
from tests.chaos.nursery import Ended, Nursery
from tests.chaos.world import STUDY
from tests.pipeline.chained import aged
from tests.pipeline.conftest import make_toy
from tests.slurm.conftest import Value, set_profile

_LAG_S = 3.0
"""After which this cluster has shown every job to squeue and sacct: measured, it takes one."""
_DEATHS = 0.6
"""Share of the commands that are to die; some end before their moment."""
_ACCOUNTS_S = 60.0
_JOB = re.compile(r"(\d+)(?:_(\d+))?")
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Start:
    """One start of one task, as accounting has it."""

    job_id: str
    index: int
    state: str
    name: str


class Study:
    """A toy study on a real cluster, and its commands."""

    def __init__(self, place: Workspace, cluster: Cluster, nursery: Nursery) -> None:
        self.place = place
        self.cluster = cluster
        self._nursery = nursery
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "USER") if name in os.environ},
            **cluster.environment,
            "COLUMNS": "200",
        }

    def command(self, *arguments: str, dies_at: int | None = None) -> Ended:
        """Run `pipeline ARGUMENTS` on the submitting side."""
        return self._nursery.command(arguments, self.place.root, self._environment, dies_at)

    @property
    def state(self) -> State | None:
        """As it is stored."""
        return StateStore(self.place.state_dir).load()

    @property
    def is_done(self) -> bool:
        """Whether every run has its result and the report is written."""
        state = self.state
        if state is None or {run.status for run in state.runs.values()} != {RunStatus.DONE}:
            return False
        return all(phase.analysed is not None for phase in state.phases.values())

    def let_lag_pass(self) -> None:
        """The two minutes in which a job may show up late; here, what it takes this cluster."""
        state = self.state
        if state is not None and any(job.job_id is None for job in state.jobs.values()):
            time.sleep(_LAG_S)
            aged(self.place)

    def all_starts(self) -> dict[str, list[Start]]:
        """Every start of every run, once accounting knows of one of each: it lags behind."""
        state, deadline = self.state, time.monotonic() + _ACCOUNTS_S
        assert state is not None
        while not state.runs.keys() <= (starts := self._starts()).keys():
            if time.monotonic() > deadline:
                break
            time.sleep(1)
        return starts

    def _starts(self) -> dict[str, list[Start]]:
        text = self.cluster.run(
            "sacct", "--noheader", "--parsable2", "--allocations", "--duplicates",
            "--starttime=now-1day", "--format=JobID,State,Start,NodeList,JobName",
        )  # fmt: skip
        found = defaultdict(list)
        for line in text.splitlines():
            name, state, start, node, job = line.split("|")
            match = _JOB.fullmatch(name)
            ran = match and start not in ("", "None", "Unknown") and node != "None assigned"
            if match and ran:
                began = Start(match[1], int(match[2] or 0), state.split()[0], job)
                for run in self._runs_of(began):
                    found[run].append(began)
        return dict(found)

    def _runs_of(self, start: Start) -> list[str]:
        """Keys of the runs of a task; of another study's task none."""
        phase_and_token = start.name.removeprefix("chaos-")
        path = self.place.logs_dir / phase_and_token / f"task-{start.index:04d}.json"
        if not path.exists():
            return []
        task = json.loads(path.read_text())
        return [f"{task['phase']}/{run['run_id']}" for run in task["runs"]]


@contextmanager
def study_on(
    cluster: Cluster, seeds: str, *, pilot: bool = True, step_s: float = 0.0, **profile: Value
) -> Iterator[Study]:
    """A study with a profile for the cluster; its jobs are cancelled at the end."""
    text = STUDY.replace('seeds = "0-5"', f'seeds = "{seeds}"')
    text = text.replace("steps = 3", f"steps = 3\nstep_s = {step_s}")
    if not pilot:
        text = text.replace("[phases.pilot]\nseeds = [1000]\n", "")
    with TemporaryDirectory(prefix="chaos-") as folder, Nursery() as nursery:
        place = make_toy(Path(folder) / "ws", text)
        set_profile(place, **profile)
        try:
            yield Study(place, cluster, nursery)
        finally:
            cluster.cancel_all()


@dataclass(frozen=True)
class Killed:
    """What studies came to whose commands were killed at random."""

    studies: int = 0
    commands: int = 0
    kills: int = 0
    runs: int = 0
    starts: int = 0
    duplicates: int = 0
    losses: int = 0
    wrongs: tuple[str, ...] = ()


def killed_at_random(
    cluster: Cluster, kills: int, seed: int, seeds: int = 12, tell: Tell = lambda _: None
) -> Killed:
    """Carry studies to their ends while `advance` is killed at random calls, so often in all."""
    moments, total = random.Random(seed), Killed()
    while total.kills < kills:
        with study_on(cluster, f"0-{seeds - 1}", stack_size=2, max_submitted=4) as study:
            one = _carried(study, moments, kills - total.kills)
        total = Killed(
            *(getattr(total, name) + getattr(one, name) for name in Killed.__dataclass_fields__)
        )
        tell(f"{total.kills} kills in {total.studies} studies, {total.starts} starts")
    return total


def _carried(study: Study, moments: random.Random, kills: int) -> Killed:
    """One study from its first `advance` to its end."""
    commands = done = 0
    wrongs: list[str] = []
    while not study.is_done:
        calls = 800 if not study.place.state_dir.exists() else 260  # the first copies the code
        mortal = done < kills and moments.random() < _DEATHS
        dies_at = moments.randrange(calls) if mortal else None
        ended = study.command("advance", dies_at=dies_at)
        commands += 1
        done += ended.killed
        if not ended.killed and ended.code not in (0, 4):
            wrongs.append(f"advance ended with {ended.code}: {ended.output[-200:]}")
            break
        wrongs += unreadable_files(study.place, deaths=done)
        study.let_lag_pass()
        time.sleep(0.2)
    return _judged(study, commands, done, wrongs)


def _judged(study: Study, commands: int, kills: int, wrongs: list[str]) -> Killed:
    state, starts = study.state, study.all_starts()
    assert state is not None
    if study.command("report", "--check").code:
        wrongs.append("the report is not what the results give")
    undone = [key for key, run in state.runs.items() if run.status is not RunStatus.DONE]
    return Killed(
        studies=1,
        commands=commands,
        kills=kills,
        runs=len(state.runs),
        starts=sum(len(found) for found in starts.values()),
        duplicates=sum(len(found) - 1 for found in starts.values()),
        losses=len(undone) + len(state.runs.keys() - starts.keys()),
        wrongs=tuple(wrongs),
    )


@dataclass(frozen=True)
class Survived:
    """What a study came to whose cluster fell apart."""

    runs: int
    tasks_killed: int
    nodes_lost: int
    controller_restarts: int
    starts: int
    ended: dict[str, int]
    """Starts by the word that accounting has for their end."""
    completed_twice: int
    losses: int
    retries: int
    """How often a person had to say `pipeline retry`."""
    took_s: float
    wrongs: tuple[str, ...]


def count_by_end(starts: dict[str, list[Start]]) -> Counter[str]:
    """How starts ended."""
    return Counter(start.state for found in starts.values() for start in found)
