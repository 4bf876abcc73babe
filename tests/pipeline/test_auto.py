"""`advance --auto`: the study walks on by itself, in one chain, whatever dies on the way."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from pipeline import auto, chain
from pipeline.advance import Step
from pipeline.decisions import Decisions
from pipeline.errors import SchedulerUnreachableError
from pipeline.scheduler.environment import outside_any_job
from pipeline.site import open_site
from pipeline.state import (
    FollowUpRecord,
    JobRecord,
    PhaseRecord,
    RunRecord,
    State,
    TaskRecord,
    TaskState,
)
from pipeline.store import StateStore, decode, encode
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.fakeslurm.model import Job
from tests.pipeline.conftest import Cli, edit

PROFILES = """
[profiles.cluster]
backend = "slurm"
partition = "main"
gres = "gpu:a100:1"
cpus_per_task = 1
mem_gb = 1
walltime_min = 30
stack_size = 2
poll_interval_s = 0.2

[profiles.cluster.auto]
walltime_min = 20
mem_gb = 1
retry_s = 0.2
poll_min = 1
"""
WAIT_S = 90
MARKS = {"complete", "attention"}


@pytest.fixture
def cluster(workspace: Workspace, fake_slurm: FakeSlurm) -> FakeSlurm:
    """A cluster beside a workspace with a profile for it; a minute lasts half a second in it."""
    profiles(workspace, PROFILES)
    edit(workspace, 'name = "toy"', 'name = "toy"\nprofile = "cluster"')
    fake_slurm.configure(seconds_per_minute=0.5, slots=4)
    return fake_slurm


def profiles(workspace: Workspace, text: str) -> None:
    """Write the workspace's profiles."""
    path = workspace.root / "slurm" / "profiles.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def state_of(workspace: Workspace) -> State:
    """The state as it is stored now."""
    state = StateStore(workspace.state_dir).load()
    assert state is not None
    return state


def follow_ups(cluster: FakeSlurm, *, live: bool = False) -> list[Job]:
    """Follow-up jobs, all there ever were or those in the queue."""
    return [j for j in cluster.jobs() if "-auto-" in j.spec.name and (j.live or not live)]


def wait_for(condition: Callable[[], object], what: str = "") -> None:
    """Poll until something holds; it must within the time of a test."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what or "waited too long"
        time.sleep(0.05)


def wait_for_end(workspace: Workspace, cluster: FakeSlurm) -> FollowUpRecord:
    """Wait until the chain has ended by itself; never were two of its jobs waiting at once."""

    def over() -> bool:
        waiting = [job for job in follow_ups(cluster, live=True) if job.state == "PENDING"]
        assert len(waiting) <= 1, "two chains"
        record = state_of(workspace).follow_up
        return record is not None and record.ended is not None

    wait_for(over, "the chain did not end")
    wait_for(lambda: not follow_ups(cluster, live=True))
    record = state_of(workspace).follow_up
    assert record is not None
    return record


def journal(workspace: Workspace, event: str) -> list[dict[str, object]]:
    """The journal's events of a kind."""
    lines = (workspace.state_dir / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for line in lines if (entry := json.loads(line))["event"] == event]


def test_one_command_walks_the_study_to_its_end(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Through all phases with nothing of ours on the submitting side; then the chain ends."""
    started = cli("advance", "--auto")

    assert started.returncode == 0, started.stderr
    assert re.search(r"auto: follow-up job \d+ waits for job \d+", started.stdout)
    record = wait_for_end(workspace, cluster)
    assert record.ended == "the study is complete"
    state = state_of(workspace)
    assert {run.tries for run in state.runs.values()} == {1}
    assert "| 1 Multi-seed validation | complete | 12 of 12 |" in workspace.report_file.read_text()
    done = cli("status")
    assert done.returncode == 0
    assert "the study is complete" in done.stdout
    assert "auto:" not in done.stdout
    assert {job.state for job in follow_ups(cluster)} == {"COMPLETED"}
    assert len(follow_ups(cluster)) == len(journal(workspace, "follow-up"))


def test_a_follow_up_asks_for_little_and_waits_for_the_live_jobs(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """No GPU, one CPU, the profile's own small request, afterany on what is in the queue."""
    cluster.configure(slots=0)
    partition = 'partition = "low"\nsetup = ["echo made ready"]\n'
    profiles(workspace, PROFILES + partition)

    cli("advance", "--auto")

    (task,) = [job for job in cluster.jobs() if job not in follow_ups(cluster)]
    (job,) = follow_ups(cluster)
    spec = job.spec
    assert (spec.gpus, spec.cpus, spec.memory_mb, spec.minutes) == (0, 1, 1024, 20)
    assert (spec.partition, spec.dependency) == ("low", f"afterany:{task.array_id}")
    assert spec.name.startswith("toy-auto-")
    assert "echo made ready" in spec.script
    assert (
        f"{sys.executable} -P -m pipeline advance --auto --workspace {workspace.root}"
        in spec.script
    )
    assert str(workspace.logs_dir) in spec.output
    record = state_of(workspace).follow_up
    assert record is not None
    assert record.waits_for == (str(task.array_id),)
    assert (
        f"auto: follow-up job {job.array_id} waits for job {task.array_id}" in cli("status").stdout
    )


def test_a_second_command_adds_no_second_chain(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """By hand again, and several at once: one follow-up; the study still ends."""
    cluster.configure(slots=0)
    command = [sys.executable, "-m", "pipeline", "advance", "--auto"]
    racing = [
        subprocess.Popen(command, cwd=workspace.root, stdout=subprocess.DEVNULL) for _ in range(3)
    ]
    assert [process.wait(WAIT_S) for process in racing] == [0, 0, 0]
    assert len(journal(workspace, "follow-up")) == 1
    assert cli("advance", "--auto").returncode == 0
    assert cli("advance").returncode == 0
    assert len(follow_ups(cluster)) == 1

    cluster.configure(slots=4)
    assert wait_for_end(workspace, cluster).ended == "the study is complete"
    assert {run.tries for run in state_of(workspace).runs.values()} == {1}


def test_a_failed_phase_ends_the_chain_with_exit_3(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """The last follow-up fails with code 3 and the record says what a person has to look at."""
    edit(workspace, "config.handicap = 0.5", "config.crash = true")
    cli("advance", "--auto")

    record = wait_for_end(workspace, cluster)

    assert "the study needs a person: pilot/" in (record.ended or "")
    (last,) = follow_ups(cluster)
    assert (last.state, last.exit_code) == ("FAILED", 3)
    status = cli("status")
    assert status.returncode == 3
    assert "auto: ended: the study needs a person" in status.stdout
    assert "`pipeline advance --auto` begins anew" in status.stdout


def test_a_closed_gate_ends_the_chain_and_an_override_begins_another(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """The chain stops at the gate; the decision and --auto in one command go on to the end."""
    gate = "clears-reference:zero"
    edit(workspace, "seeds = [1000]", f'seeds = [1000]\ngates = ["{gate}"]')
    edit(workspace, "config.handicap = 0.5", "config.handicap = 0.9")
    cli("advance", "--auto")
    assert f"gate {gate} is closed" in (wait_for_end(workspace, cluster).ended or "")

    done = cli("advance", "--auto", "--override", gate, "--reason", "known")

    assert done.returncode == 0, done.stderr
    assert wait_for_end(workspace, cluster).ended == "the study is complete"


def test_cancel_ends_the_chain(workspace: Workspace, cluster: FakeSlurm, cli: Cli) -> None:
    """Afterwards the queue is empty, and a follow-up that started all the same does nothing."""
    cluster.configure(slots=0)
    cli("advance", "--auto")
    record = state_of(workspace).follow_up
    assert record is not None

    done = cli("cancel", "--yes")

    assert done.returncode == 0
    assert "no follow-up goes on" in done.stdout
    assert not [job for job in cluster.jobs() if job.live]
    before = (workspace.state_dir / "pipeline.json").read_bytes()
    late = cli("advance", "--auto", "--follow-up", record.token)
    assert late.returncode == 0
    assert "nothing was done" in late.stdout
    assert (workspace.state_dir / "pipeline.json").read_bytes() == before


def test_a_broken_study_ends_the_chain_with_exit_2(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """A mistake made while jobs run is recorded as the reason, and no follow-up is left."""
    edit(workspace, "steps = 3", "steps = 3\nstep_s = 0.3")
    cli("advance", "--auto")
    edit(workspace, "[hypotheses", "[hypotheseis")

    record = wait_for_end(workspace, cluster)

    assert "hypotheseis: unknown key" in (record.ended or "")
    assert follow_ups(cluster)[-1].exit_code == 2


def test_tasks_that_are_refused_leave_no_follow_up(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """A mistake in the profile ends with exit 2, and the follow-up's place is given back."""
    profiles(workspace, PROFILES.replace("gpu:a100:1", "tpu:1"))

    done = cli("advance", "--auto")

    assert done.returncode == 2
    assert not [job for job in cluster.jobs() if job.live]
    assert "generic resource" in cli("status").stdout


def test_a_follow_up_that_is_refused_says_what_to_change(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """The profile's own table is named, and no task went in without a follow-up."""
    profiles(workspace, PROFILES + 'partition = "nosuch"\n')

    done = cli("advance", "--auto")

    assert done.returncode == 2
    assert "invalid partition" in done.stderr
    assert "[profiles.cluster.auto]" in done.stderr
    assert cluster.jobs() == []
    assert state_of(workspace).follow_up is None


def test_the_follow_up_has_its_place_before_tasks_fill_a_limit(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """With a limit far below the number of tasks the study ends all the same."""
    edit(workspace, 'seeds = "0-5"', 'seeds = "0-9"')
    cluster.configure(max_submit=4, slots=4)

    assert cli("advance", "--auto").returncode == 0

    assert wait_for_end(workspace, cluster).ended == "the study is complete"


def test_no_place_for_the_follow_up_submits_nothing(cluster: FakeSlurm, cli: Cli) -> None:
    """A full queue is no mistake: exit 3 with what to do, and nothing is half done."""
    cluster.configure(max_submit=0)

    done = cli("advance", "--auto")

    assert done.returncode == 3
    assert "takes no follow-up job now" in done.stderr
    assert "QOSMaxSubmitJobPerUserLimit" in done.stderr
    assert cluster.jobs() == []
    cluster.configure(max_submit=100)
    assert cli("advance", "--auto").returncode == 0


@pytest.mark.parametrize(("limit", "code"), [(2, 2), (3, 0)])
def test_a_profile_s_own_limit_counts_the_chain(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli, limit: int, code: int
) -> None:
    """max_submitted has room for a follow-up, its successor and a task, or --auto is refused."""
    cluster.configure(slots=0)
    profiles(
        workspace, PROFILES.replace("stack_size = 2", f"stack_size = 1\nmax_submitted = {limit}")
    )
    done = cli("advance", "--auto")

    assert done.returncode == code
    assert len(cluster.jobs()) == (0 if code else limit)


def test_this_machine_alone_has_no_queue(cli: Cli) -> None:
    """The local profile is refused with the way that does work."""
    done = cli("advance", "--auto", "--profile", "local")

    assert done.returncode == 2
    assert "pipeline advance --watch" in done.stderr
    both = cli("advance", "--auto", "--watch")
    assert both.returncode == 2
    assert "choose one" in both.stderr


def test_a_silent_scheduler_is_waited_out_by_the_follow_up(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """The follow-up tries again, writes that down, and the study still ends."""
    cluster.configure(seconds_per_minute=5.0)
    edit(workspace, "steps = 3", "steps = 3\nstep_s = 0.3")
    cli("advance", "--auto")
    cluster.configure(unreachable=True)
    wait_for(lambda: journal(workspace, "follow-up waits"))
    cluster.configure(unreachable=False)

    assert wait_for_end(workspace, cluster).ended == "the study is complete"
    assert "Unable to contact" in str(journal(workspace, "follow-up waits")[0]["why"])


@pytest.mark.parametrize("silent", [0, 12])
def test_a_long_silence_is_handed_over_so_many_times(
    workspace: Workspace, cluster: FakeSlurm, monkeypatch: pytest.MonkeyPatch, silent: int
) -> None:
    """Near its time limit a follow-up leaves the waiting to another, recorded, up to a bound."""
    cluster.configure(slots=0)
    auto.begin(open_site(workspace, None), print, Decisions())
    state = state_of(workspace)
    assert state.follow_up is not None
    waited = dataclasses.replace(state.follow_up, silent=silent)
    StateStore(workspace.state_dir).save(dataclasses.replace(state, follow_up=waited))

    def no_answer(*args: object, **options: object) -> Step:
        del args, options
        raise SchedulerUnreachableError("squeue gave no answer")

    hours = iter(range(0, 1_000_000, 3600))
    monkeypatch.setattr(auto, "advance", no_answer)
    monkeypatch.setattr(auto, "monotonic", lambda: next(hours))
    if silent:
        with pytest.raises(SchedulerUnreachableError, match="no answer"):
            auto.follow(workspace, waited.token, print)
        record = state_of(workspace).follow_up
        assert record is not None
        assert "12 follow-ups have waited" in (record.ended or "")
        return
    assert auto.follow(workspace, waited.token, print) is None
    record = state_of(workspace).follow_up
    assert record is not None
    assert (record.silent, record.submitter, record.ended) == (1, waited.token, None)
    assert cluster.job(record.job.job_id or "").reason == "BeginTime"


def test_a_follow_up_that_was_killed_is_called_broken_and_taken_up_again(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Nothing is lost in silence: status names job, log and command; --auto goes on."""
    edit(workspace, "steps = 3", "steps = 3\nstep_s = 0.3")
    cli("advance", "--auto")
    (job,) = follow_ups(cluster)
    cluster.finish(job.array_id, exit_code=9)
    cluster.wait(job.array_id)

    status = cli("status")

    assert f"the chain is broken: follow-up job {job.array_id} ended (FAILED)" in status.stdout
    assert "follow-up.log" in status.stdout
    assert "next: `pipeline advance --auto` takes up the broken chain" in status.stdout
    assert cli("advance", "--auto").returncode == 0
    assert wait_for_end(workspace, cluster).ended == "the study is complete"


def test_a_requeued_follow_up_that_has_a_successor_does_nothing(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Slurm may run a job's script twice; the second time its turn is over."""
    edit(workspace, "steps = 3", "steps = 3\nstep_s = 0.3")
    cli("advance", "--auto")
    record = state_of(workspace).follow_up
    assert record is not None
    wait_for_end(workspace, cluster)
    made = len(follow_ups(cluster))

    again = cli("advance", "--auto", "--follow-up", record.token)

    assert "nothing was done" in again.stdout
    assert len(follow_ups(cluster)) == made


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


def aged(workspace: Workspace) -> None:
    """Let the lag pass in which a job may still show up."""
    store = StateStore(workspace.state_dir)
    state = store.load()
    if state is None:
        return
    old = "2026-01-01T00:00:00+00:00"
    jobs = {
        token: dataclasses.replace(job, submitted_at=old) if job.job_id is None else job
        for token, job in state.jobs.items()
    }
    record = state.follow_up
    if record is not None and record.job.job_id is None:
        record = dataclasses.replace(record, job=dataclasses.replace(record.job, submitted_at=old))
    store.save(dataclasses.replace(state, jobs=jobs, follow_up=record))


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


def test_a_follow_up_behind_a_timed_out_sbatch_is_adopted(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """sbatch gives no answer but the job exists: no second one, and the study ends."""
    cluster.configure(sbatch_ghosts=1)

    assert cli("advance", "--auto").returncode == 4
    status = cli("status").stdout
    assert "its id is not known yet" in status
    assert "next: a follow-up job may be missing" in status

    assert wait_for_end(workspace, cluster).ended == "the study is complete"


def test_before_the_fate_of_a_follow_up_is_known_no_other_is_submitted(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """It may still show up: exit 4 and nothing changed; after the lag it counts as never made."""
    cluster.configure(slots=0)
    cli("advance", "--auto")
    store, state = StateStore(workspace.state_dir), state_of(workspace)
    assert state.follow_up is not None
    cluster.forget(state.follow_up.job.job_id or "")
    job = dataclasses.replace(state.follow_up.job, job_id=None)
    lost = dataclasses.replace(state.follow_up, token="0lost0", job=job)
    store.save(dataclasses.replace(state, follow_up=lost))

    early = cli("advance", "--auto")
    assert early.returncode == 4
    assert "no other is submitted before its fate is known" in early.stderr
    aged(workspace)
    assert cli("advance").returncode == 0
    assert "its next follow-up was never submitted" in cli("status").stdout
    assert cli("advance", "--auto").returncode == 0
    assert len(follow_ups(cluster)) == 1


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


def test_jobs_that_a_follow_up_submits_know_nothing_of_it(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Neither the next phase's array nor the next follow-up inherits the job's variables."""
    cli("advance", "--auto")
    wait_for_end(workspace, cluster)

    later = [job for job in cluster.jobs() if job.array_id > 2]
    assert len(later) > 1
    for job in later:
        assert [name for name in job.spec.environment if name.startswith("SLURM_")] == []


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
