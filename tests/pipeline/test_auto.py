"""`advance --auto`: the study walks on by itself, and the chain ends where it has to."""

import dataclasses
import re
import subprocess
import sys

import pytest

from pipeline import auto
from pipeline.decisions import Decisions
from pipeline.errors import SchedulerUnreachableError
from pipeline.site import open_site
from pipeline.step import Step
from pipeline.store import StateStore
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.chained import (
    PROFILES,
    aged,
    follow_ups,
    journal,
    prepare,
    wait_for_end,
)
from tests.pipeline.conftest import (
    WAIT_S,
    Cli,
    edit,
    only_pilot,
    state_of,
    wait_for,
    write_profiles,
)


@pytest.fixture
def cluster(workspace: Workspace, fake_slurm: FakeSlurm) -> FakeSlurm:
    """A cluster beside a workspace with a profile for it."""
    return prepare(workspace, fake_slurm)


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
    write_profiles(workspace, PROFILES + partition)

    cli("advance", "--auto")

    (task,) = [job for job in cluster.jobs() if job not in follow_ups(cluster)]
    (job,) = follow_ups(cluster)
    spec = job.spec
    assert (spec.gpus, spec.cpus, spec.memory_mb, spec.minutes) == (0, 1, 1024, 50)
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
    only_pilot(workspace)
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
    write_profiles(workspace, PROFILES.replace("gpu:a100:1", "tpu:1"))

    done = cli("advance", "--auto")

    assert done.returncode == 2
    assert not [job for job in cluster.jobs() if job.live]
    assert "generic resource" in cli("status").stdout


def test_a_follow_up_that_is_refused_says_what_to_change(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """The profile's own table is named, and no task went in without a follow-up."""
    write_profiles(workspace, PROFILES + 'partition = "nosuch"\n')

    done = cli("advance", "--auto")

    assert done.returncode == 2
    assert "invalid partition" in done.stderr
    assert "[profiles.cluster.auto]" in done.stderr
    assert cluster.jobs() == []
    assert state_of(workspace).follow_up is None


def test_the_follow_up_has_its_place_before_tasks_fill_a_limit(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """With a limit below the number of tasks the study ends all the same."""
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
    write_profiles(
        workspace,
        PROFILES.replace(
            "stack_size = 2", f"stack_size = 1\ncanary = false\nmax_submitted = {limit}"
        ),
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
    only_pilot(workspace)
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
    only_pilot(workspace)
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


def test_a_follow_up_behind_a_timed_out_sbatch_is_adopted(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """sbatch gives no answer but the job exists: no second one, and the study ends."""
    only_pilot(workspace)
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
