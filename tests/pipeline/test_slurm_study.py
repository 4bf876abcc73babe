"""The same study through Slurm's commands: arrays, refusals, silence, crashes."""

import dataclasses
import json
import sys

import pytest

from pipeline.advance import advance
from pipeline.errors import SchedulerUnreachableError
from pipeline.scheduler import Submitted
from pipeline.scheduler.slurm import SlurmScheduler
from pipeline.site import Site, open_site
from pipeline.state import RunStatus
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import (
    PROFILES,
    Cli,
    add_policy,
    edit,
    state_of,
    statuses,
    write_profiles,
)


@pytest.mark.usefixtures("cluster")
def test_a_study_walks_through_slurm_to_its_report(workspace: Workspace, cli: Cli) -> None:
    """Plain job for one task, array for several, results with job id, element and GPU time."""
    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    state = state_of(workspace)
    assert {run.status for run in state.runs.values()} == {RunStatus.DONE}
    sizes = {job.phase: len(job.tasks) for job in state.jobs.values()}
    assert sizes == {"pilot": 1, "multiseed": 6}
    result = json.loads(next(workspace.runs_dir.glob("multiseed/*/result.json")).read_text())
    array = next(job for job in state.jobs.values() if job.phase == "multiseed")
    assert result["attempt"]["job_id"] == array.job_id
    assert result["attempt"]["array_index"] in range(6)
    assert result["gpu_s"] > 0
    assert "GPU-hours" in workspace.report_file.read_text()


@pytest.mark.usefixtures("cluster")
def test_a_watch_stays_until_the_last_task_has_ended(workspace: Workspace, cli: Cli) -> None:
    """Tasks outlive their results by seconds; the report's hours are all settled all the same."""
    late = (
        "import atexit, os, time\n"
        'if "SLURM_JOB_ID" in os.environ:\n'
        "    atexit.register(time.sleep, 2)\n"
    )
    toy = workspace.root / "toy.py"
    toy.write_text(toy.read_text() + late)

    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    assert not state_of(workspace).live_jobs()
    accounts = json.loads(cli("status", "--json").stdout)["ledger"]
    assert {(account["running"], account["useful"] > 0) for account in accounts} == {(0, True)}


def test_the_job_carries_study_phase_and_token(slurm_site: Site, cluster: FakeSlurm) -> None:
    """Name and comment tell a person and a later `advance` whose job it is."""
    cluster.configure(slots=0)
    state = advance(slurm_site).state

    (token,) = state.jobs
    (job,) = cluster.jobs()
    assert job.spec.name == f"toy-pilot-{token}"
    assert f"study=toy phase=pilot token={token}" in job.spec.comment


def test_one_look_costs_one_squeue_and_at_most_one_sacct(
    slurm_site: Site, cluster: FakeSlurm
) -> None:
    """However many jobs and elements there are, a look makes two calls at most."""
    cluster.configure(slots=0)
    edit(slurm_site.workspace, "seeds = [1000]", 'seeds = "1000-1020"')
    site = open_site(slurm_site.workspace, None)
    advance(site)
    cluster.forget_calls()

    advance(site)

    programs = [call.program for call in cluster.calls()]
    assert programs.count("squeue") == 1
    assert programs.count("sacct") <= 1
    assert set(programs) <= {"squeue", "sacct"}


def test_max_submitted_sends_what_fits_and_the_rest_later(
    workspace: Workspace, cluster: FakeSlurm
) -> None:
    """The profile's own limit is kept without asking Slurm to refuse."""
    write_profiles(workspace, PROFILES + "max_submitted = 2\n")
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1005"')
    cluster.configure(slots=0)
    site = open_site(workspace, None)

    assert "submitted 4 runs in 2 tasks" in " ".join(advance(site).did)
    assert len(cluster.jobs()) == 2
    assert advance(site).did == []


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ('partition = "nosuch"', "invalid partition"),
        ('account = "nobody"', "account"),
        ('gres = "tpu:1"', "generic resource"),
    ],
)
def test_a_mistake_in_the_profile_ends_with_exit_2_and_sbatch_s_words(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli, profile: str, words: str
) -> None:
    """A refusal that waiting cannot mend says what to mend, and leaves every run planned."""
    key = profile.partition(" =")[0]
    kept = [line for line in PROFILES.splitlines() if not line.startswith(key)]
    write_profiles(workspace, "\n".join([*kept, profile]) + "\n")

    done = cli("advance")

    assert done.returncode == 2
    assert words in done.stderr
    assert "slurm/profiles.toml" in done.stderr
    assert "Traceback" not in done.stderr
    assert statuses(workspace, "pilot") == {RunStatus.PLANNED}
    assert not [job for job in cluster.jobs() if job.live]


def test_a_silent_controller_changes_nothing_and_ends_with_exit_4(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """No answer is no news: not done, not lost; status shows what was last seen."""
    cluster.configure(slots=0)
    cli("advance")
    before = (workspace.state_dir / "pipeline.json").read_bytes()
    cluster.configure(unreachable=True)

    for command in (["advance"], ["status"], ["cancel", "--yes"]):
        done = cli(*command)
        assert done.returncode == 4
        assert "Unable to contact slurm controller" in done.stderr
    assert "last seen" in cli("status").stdout
    assert (workspace.state_dir / "pipeline.json").read_bytes() == before


def test_a_job_behind_a_timed_out_sbatch_is_adopted_not_submitted_again(
    slurm_site: Site, cluster: FakeSlurm
) -> None:
    """sbatch times out but the job exists: the next advance finds it by its token."""
    cluster.configure(slots=0, sbatch_ghosts=1)

    with pytest.raises(SchedulerUnreachableError, match="the job may exist"):
        advance(slurm_site)
    step = advance(slurm_site)

    assert any("found job" in line for line in step.did)
    assert len(cluster.jobs()) == 1
    (job,) = step.state.jobs.values()
    assert job.job_id is not None


def test_an_intent_without_a_job_waits_before_it_is_given_up(
    slurm_site: Site, cluster: FakeSlurm
) -> None:
    """Slurm may show a job late: only after the lag are the runs planned again."""
    cluster.configure(slots=0)
    state = advance(slurm_site).state
    (token,) = state.jobs
    lost = dataclasses.replace(state.jobs[token], job_id=None)
    slurm_site.store.save(dataclasses.replace(state, jobs={"0lost0": lost}, runs={
        key: dataclasses.replace(run, job="0lost0" if run.job else None)
        for key, run in state.runs.items()
    }))  # fmt: skip

    assert statuses(slurm_site.workspace, "pilot") == {RunStatus.QUEUED}
    assert len(advance(slurm_site).state.jobs) == 1

    old = dataclasses.replace(lost, submitted_at="2026-01-01T00:00:00+00:00")
    now = state_of(slurm_site.workspace)
    slurm_site.store.save(dataclasses.replace(now, jobs={"0lost0": old}))
    step = advance(slurm_site)
    assert set(step.state.jobs).isdisjoint({"0lost0"})
    assert "submitted 2 runs" in " ".join(step.did)


@pytest.mark.parametrize(
    ("word", "kind"), [("NODE_FAIL", "node failure"), ("OUT_OF_MEMORY", "host out of memory")]
)
def test_a_task_that_slurm_ends_fails_its_runs_in_slurm_s_words(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli, word: str, kind: str
) -> None:
    """Where the policy allows one try only, a person sees the class and accounting's word."""
    add_policy(workspace, max_tries=1)
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.1")
    cli("advance")
    (job,) = state_of(workspace).jobs.values()
    assert job.job_id is not None
    cluster.wait(job.job_id, "RUNNING")
    cluster.kill(job.job_id, word, requeue=False)
    cluster.wait(job.job_id)

    done = cli("advance")

    assert done.returncode == 3
    assert f"{kind}: scheduler: {word}" in done.stdout
    assert statuses(workspace, "pilot") == {RunStatus.FAILED}


def test_a_requeued_task_is_queued_again_and_completes(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """After preemption with requeue nothing is failed and nothing is submitted twice."""
    cluster.configure(requeue_delay=0.2)
    edit(workspace, "steps = 3", "steps = 8\nstep_s = 0.1")
    cli("advance")
    (job,) = state_of(workspace).jobs.values()
    assert job.job_id is not None
    cluster.wait(job.job_id, "RUNNING")
    cluster.kill(job.job_id, "PREEMPTED", requeue=True)

    assert cli("advance", "--watch").returncode == 0
    assert {run.tries for run in state_of(workspace).runs.values()} == {1}


def test_without_accounting_results_still_decide(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Where sacct is disabled, finished runs are done all the same."""
    cluster.configure(sacct="disabled")

    assert cli("advance", "--watch").returncode == 0
    assert statuses(workspace, "multiseed") == {RunStatus.DONE}


def test_cancel_ends_the_array(workspace: Workspace, cluster: FakeSlurm, cli: Cli) -> None:
    """After cancel Slurm holds no job of the study."""
    cluster.configure(slots=0)
    cli("advance")

    assert cli("cancel", "--yes").returncode == 0

    assert not [job for job in cluster.jobs() if job.live]
    assert statuses(workspace, "pilot") == {RunStatus.FAILED}


def test_the_sbatch_script_is_what_the_profile_says(slurm_site: Site, cluster: FakeSlurm) -> None:
    """Partition, GPU, memory, time, signal and setup lines reach the script that Slurm gets."""
    setup = 'signal_lead_s = 77\nsetup = ["echo set up"]\n'
    write_profiles(slurm_site.workspace, PROFILES + setup)
    cluster.configure(slots=0)
    advance(open_site(slurm_site.workspace, None))

    (script,) = slurm_site.workspace.logs_dir.glob("*/submission.sh")
    text = script.read_text()
    for line in (
        "--partition=main", "--gres=gpu:a100:1", "--mem=1GB", "--time=30", "--cpus-per-task=1",
        "--signal=USR2@77", "echo set up", sys.executable,
    ):  # fmt: skip
        assert line in text
    assert "wckey" not in text


def test_find_looks_for_the_whole_token(cluster: FakeSlurm, slurm_site: Site) -> None:
    """A job of another submission is not taken for ours."""
    cluster.configure(slots=0)
    state = advance(slurm_site).state
    (token,) = state.jobs
    scheduler = SlurmScheduler()

    found = scheduler.find(token, slurm_site.workspace.root)

    assert found == Submitted(str(cluster.jobs()[0].array_id))
    assert scheduler.find("ffffffffff", slurm_site.workspace.root) is None


def test_a_task_that_accounting_calls_running_is_not_lost(
    slurm_site: Site, cluster: FakeSlurm
) -> None:
    """squeue's silence alone (a controller that lost its jobs) concludes nothing."""
    edit(slurm_site.workspace, "steps = 3", "steps = 1000\nstep_s = 0.1")
    state = advance(open_site(slurm_site.workspace, None)).state
    ((token, job),) = state.jobs.items()
    assert job.job_id is not None
    cluster.wait(job.job_id, "RUNNING")
    old = dataclasses.replace(job, submitted_at="2026-01-01T00:00:00+00:00")
    slurm_site.store.save(dataclasses.replace(state, jobs={token: old}))
    cluster.forget(job.job_id)

    step = advance(open_site(slurm_site.workspace, None))

    assert {run.status for run in step.state.runs_of("pilot").values()} == {RunStatus.RUNNING}


def test_a_plan_that_was_never_submitted_is_not_frozen(
    slurm_site: Site, cluster: FakeSlurm
) -> None:
    """The plan is fixed by the first accepted confirmatory job, not by a try."""
    edit(slurm_site.workspace, "[phases.pilot]\nseeds = [1000]\n", "")
    cluster.configure(slots=0, max_submit=0)
    site = open_site(slurm_site.workspace, None)

    assert advance(site).state.frozen_plan is None
    cluster.configure(max_submit=100)
    assert advance(site).state.frozen_plan == site.study.plan_digest()
