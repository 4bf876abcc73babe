"""The chain of follow-ups: who may act, what it waits for, and kill -9 between any two steps."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import pytest

from pipeline import chain
from pipeline.scheduler.environment import outside_any_job
from pipeline.state import (
    FollowUpRecord,
    JobRecord,
    PhaseRecord,
    RunRecord,
    State,
    TaskRecord,
    TaskState,
)
from pipeline.store import decode, encode
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.chained import aged, follow_ups, prepare
from tests.pipeline.conftest import WAIT_S, Cli, state_of


@pytest.fixture
def cluster(workspace: Workspace, fake_slurm: FakeSlurm) -> FakeSlurm:
    """A cluster beside a workspace with a profile for it."""
    return prepare(workspace, fake_slurm)


KILLED = """
import os, signal, sys
from pipeline import follow_up, submit
from pipeline.scheduler.slurm import SlurmScheduler
from pipeline.store import StateStore, decode, encode
left = int(sys.argv.pop(1))

def mortal(owner, name):
    action = getattr(owner, name)
    def wrapped(*args, **kwargs):
        global left
        for moment in ("before", "after"):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
            if moment == "before":
                result = action(*args, **kwargs)
        return result
    setattr(owner, name, wrapped)

for name in ("save", "record"):
    mortal(StateStore, name)
for name in ("submit", "follow_up", "aim"):
    mortal(SlurmScheduler, name)
from pipeline.cli import main
main()
"""


def killed(workspace: Workspace, after: int) -> bool:
    """Kill -9 `advance --auto` after so many moments around its lasting steps."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(after), "advance", "--auto"],
        cwd=workspace.root,
        env=dict(os.environ),
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )
    return done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("after", range(0, 24, 2))
def test_killed_between_any_two_steps_there_is_one_chain_and_it_can_go_on(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli, after: int
) -> None:
    """Kill -9 wherever it hurts, then the same command: one follow-up, each run submitted once."""
    cluster.configure(slots=0, seconds_per_minute=60.0)
    assert killed(workspace, after) or after > 20
    assert len(follow_ups(cluster)) <= 1
    if not follow_ups(cluster):  # nothing is lost in silence
        assert "`pipeline advance" in cli("status").stdout.split("next:")[1]
    aged(workspace)

    assert cli("advance", "--auto").returncode == 0

    state = state_of(workspace)
    record = state.follow_up
    assert record is not None
    (job,) = follow_ups(cluster, live=True)
    assert record.job.job_id == str(job.array_id)
    assert job.spec.name.endswith(record.token)
    (tasks,) = [
        other for other in cluster.jobs() if other is not job and "-auto-" not in other.spec.name
    ]
    assert {run.tries for run in state.runs_of("pilot").values()} == {1}
    assert str(tasks.array_id) in {entry.job_id for entry in state.jobs.values()}


INSIDE = {
    "PATH": "/bin",
    "SLURM_JOB_ID": "7",
    "SLURM_CONF": "/etc/slurm.conf",
    "SLURM_ARRAY_TASK_ID": "3",
    "SLURM_MEM_PER_NODE": "4096",
    "SLURM_CPUS_PER_TASK": "2",
    "SLURM_EXPORT_ENV": "NONE",
    "SBATCH_CPU_BIND": "none",
    "SBATCH_ACCOUNT": "lab",
    "SUBMITIT_EXECUTOR": "slurm",
    "CUDA_VISIBLE_DEVICES": "1",
}


def test_nothing_of_a_surrounding_job_leaks_into_what_it_submits() -> None:
    """A job's variables stay behind; where the cluster is and who pays comes along."""
    assert outside_any_job(INSIDE) == {
        "PATH": "/bin", "SLURM_CONF": "/etc/slurm.conf", "SBATCH_ACCOUNT": "lab",
    }  # fmt: skip
    outside = {"SBATCH_GRES": "gpu:1", "CUDA_VISIBLE_DEVICES": "0", "SLURM_NTASKS": "4"}
    kept = {"SBATCH_GRES": "gpu:1", "CUDA_VISIBLE_DEVICES": "0"}
    assert outside_any_job(outside) == kept


RUN = RunRecord(phase="pilot", condition="a", seed=1, config_digest="")
LIVE = JobRecord(
    phase="pilot",
    profile="p",
    backend="slurm",
    tasks=(TaskRecord(runs=("pilot/a-s1",)),),
    submitted_at="2026-01-01T00:00:00+00:00",
    job_id="7",
)
NEXT = dataclasses.replace(LIVE, phase="auto", tasks=(TaskRecord(runs=()),), job_id="9")


def chained(
    record: FollowUpRecord | None, jobs: tuple[JobRecord, ...] = (), *runs: RunRecord
) -> State:
    """A state with a follow-up, some jobs and runs of one phase."""
    return State(
        study="s",
        study_digest="",
        profile="p",
        phases={"pilot": PhaseRecord(kind="pilot")},
        runs={f"pilot/{run.condition}-s{run.seed}": run for run in runs},
        jobs={f"t{number}": job for number, job in enumerate(jobs)},
        follow_up=record,
    )


@pytest.mark.parametrize(
    ("record", "token", "admitted"),
    [
        (None, "a", False),
        (FollowUpRecord(token="a", job=NEXT), "a", True),
        (FollowUpRecord(token="b", job=NEXT, submitter="a"), "a", False),
        (
            FollowUpRecord(token="b", job=dataclasses.replace(NEXT, job_id=None), submitter="a"),
            "a",
            True,
        ),
        (FollowUpRecord(token="a", job=NEXT, ended="cancelled"), "a", False),
    ],
)
def test_only_the_recorded_follow_up_is_admitted(
    record: FollowUpRecord | None, token: str, admitted: bool
) -> None:
    """And the one that submitted it, as long as nobody knows whether that came to anything."""
    assert chain.admits(chained(record), token) is admitted


@pytest.mark.parametrize(
    ("jobs", "runs", "awaited"),
    [
        ((), (), ()),
        ((LIVE,), (), ("7",)),
        ((dataclasses.replace(LIVE, job_id="12"), LIVE), (), ("7", "12")),
        ((LIVE,), (RUN,), ()),
        ((LIVE, dataclasses.replace(LIVE, job_id=None)), (), ()),
    ],
)
def test_a_follow_up_waits_for_jobs_only_when_their_end_tells_all(
    jobs: tuple[JobRecord, ...], runs: tuple[RunRecord, ...], awaited: tuple[str, ...]
) -> None:
    """Runs held back, or a job whose fate is not known, need a look before that."""
    assert chain.awaited(chained(None, jobs, *runs)) == awaited


def test_the_record_survives_the_state_file() -> None:
    """What was written is what is read."""
    state = chained(FollowUpRecord(token="a", job=NEXT, waits_for=("7",), silent=2), (LIVE,), RUN)

    assert decode(json.loads(encode(state))) == state


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (TaskRecord(runs=()), "waits for its time"),
        (TaskRecord(runs=(), state=TaskState.RUNNING), "carries the study on now"),
        (TaskRecord(runs=(), state=TaskState.ENDED, scheduler_state="TIMEOUT"), "(TIMEOUT) and"),
    ],
)
def test_status_says_where_the_chain_stands(task: TaskRecord, said: str) -> None:
    """Waiting, at work, or broken; nothing once the study is complete."""
    state = chained(FollowUpRecord(token="a", job=dataclasses.replace(NEXT, tasks=(task,))))

    (line,) = chain.words(state, finished=False)
    assert said in line
    assert "follow-up job 9" in line
    assert chain.words(state, finished=True) == []
