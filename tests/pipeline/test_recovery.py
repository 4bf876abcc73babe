"""Failures on a cluster from end to end: what is tried again, with what, and what is not."""

import json
import os
import time

import pytest

from pipeline.failures.kinds import FailureClass
from pipeline.state import JobRecord, RunRecord, RunStatus
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import (
    Cli,
    add_policy,
    edit,
    only_pilot,
    reports_of,
    state_of,
    wait_for,
)

F = FailureClass


def jobs_of(workspace: Workspace) -> list[JobRecord]:
    """All submissions in their order."""
    state = state_of(workspace)
    tokens = dict.fromkeys(token for tried in state.attempts().values() for token, _ in tried)
    return [state.jobs[token] for token in tokens]


def pilot(workspace: Workspace) -> list[RunRecord]:
    """The runs of the pilot."""
    return list(state_of(workspace).runs_of("pilot").values())


def started(workspace: Workspace, steps: int = 1) -> str:
    """The id of the only live job, once its first run has reported so many steps."""
    (job,) = state_of(workspace).live_jobs().values()
    assert job.job_id is not None
    key = job.tasks[0].runs[0]
    wait_for(lambda: reports_of(workspace, key) >= steps)
    return job.job_id


def results(workspace: Workspace) -> dict[str, dict[str, object]]:
    """Details of every result of the pilot, by run id."""
    found = [json.loads(p.read_text()) for p in workspace.runs_dir.glob("pilot/*/result.json")]
    return {result["run_id"]: result["details"] for result in found}


@pytest.mark.usefixtures("cluster")
def test_a_run_out_of_memory_is_tried_again_with_more_and_succeeds(
    workspace: Workspace, cli: Cli
) -> None:
    """1 GB is too little, as the kernel's words in the log show; 2 GB are enough."""
    only_pilot(workspace)
    edit(workspace, "steps = 3", "steps = 3\nneeds_mb = 1500")

    done = cli("advance", "--watch")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "host out of memory: 2 runs tried again with 2 GB" in done.stdout
    assert [job.mem_gb for job in jobs_of(workspace)] == [1, 2]
    (first, *_) = jobs_of(workspace)
    assert "oom-kill" in first.tasks[0].failures[0].evidence


def test_a_time_limit_is_resumed_from_the_checkpoint_to_the_same_result(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Stopped on its way, the run goes on where it was and ends as if it never had been."""
    only_pilot(workspace)
    edit(workspace, "steps = 3", "steps = 30\nstep_s = 0.05")
    add_policy(workspace, max_tries=1)  # it came further, so this is no try
    cli("advance")
    job_id = started(workspace, steps=5)
    cluster.kill(job_id, "TIMEOUT")
    cluster.wait(job_id)

    told = cli("advance")
    assert cli("advance", "--watch").returncode == 0

    assert "time limit: 2 runs resumed with 30 min" in told.stdout
    assert {(run.tries, run.uncounted, run.resumed) for run in pilot(workspace)} <= {
        (2, 1, True), (2, 1, False),
    }  # fmt: skip
    unbroken = sum(1.0 / (1 + step) for step in range(31))
    details = results(workspace)
    assert any(int(str(d["resumed_from_step"])) > 0 for d in details.values())
    assert {d["total"] for d in details.values()} == {unbroken}


def test_a_preempted_run_is_resumed_without_counting_a_try(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Even where the policy allows one try only."""
    only_pilot(workspace)
    edit(workspace, "steps = 3", "steps = 20\nstep_s = 0.1")
    add_policy(workspace, max_tries=1)
    cli("advance")
    job_id = started(workspace, steps=15)  # accounting counts whole seconds
    cluster.kill(job_id, "PREEMPTED", requeue=False)
    cluster.wait(job_id)

    told = cli("advance")

    assert told.returncode == 0
    assert "preempted: 2 runs resumed; this does not count as a try" in told.stdout
    assert {(run.tries, run.uncounted) for run in pilot(workspace)} == {(2, 1)}
    assert cli("advance", "--watch").returncode == 0
    spent = json.loads(cli("status", "--json").stdout)["ledger"]
    assert any(account["preempted"] > 0 for account in spent)


def test_a_failed_node_is_left_out_and_remembered(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """The next sbatch excludes it, and so does every other until its time is over."""
    path = workspace.root / "slurm" / "profiles.toml"
    path.write_text(path.read_text() + 'sbatch = { exclude = "node4" }\n')
    edit(workspace, "steps = 3", "steps = 20\nstep_s = 0.05")
    cli("advance")
    job_id = started(workspace)
    node = cluster.job(job_id).node
    cluster.kill(job_id, "NODE_FAIL", requeue=False)
    cluster.wait(job_id)

    told = cli("advance")

    assert "node failure: 2 runs tried again on another node" in told.stdout
    assert f"{node} is left out until" in told.stdout
    assert state_of(workspace).bad_nodes[node].kind is F.NODE_FAILURE
    assert cluster.jobs()[-1].spec.exclude == ["node4", node]
    assert cli("advance", "--watch").returncode == 0
    assert {tuple(job.spec.exclude) for job in cluster.jobs()[1:]} == {("node4", node)}


def test_a_code_error_stops_the_phase(workspace: Workspace, cluster: FakeSlurm, cli: Cli) -> None:
    """What would strike the others too is not tried on them: exit 3, nothing more goes in."""
    path = workspace.root / "slurm" / "profiles.toml"
    path.write_text(path.read_text() + "max_submitted = 1\n")
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1005"')
    edit(workspace, "steps = 3", "steps = 3\ncrash = true")
    cli("advance")
    (job,) = cluster.jobs()
    cluster.wait(job.array_id)

    stopped = cli("advance")
    again = cli("advance")

    assert stopped.returncode == again.returncode == 3
    assert "code error: RuntimeError: toy crash" in stopped.stdout
    assert "pilot: nothing more is submitted" in again.stdout
    assert len(cluster.jobs()) == 1
    assert "nothing more is submitted" in cli("advance", "--dry-run").stdout
    waits = next(k for k, r in state_of(workspace).runs.items() if r.status is RunStatus.PLANNED)
    assert "not submitted" in cli("why", waits).stdout
    assert cli("retry").returncode == 0  # a person has mended it
    assert "submitted 2 runs" in cli("advance").stdout


def test_a_policy_can_be_overridden_by_hand(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """retry with memory and time asks for these, and counts the tries anew."""
    add_policy(workspace, max_tries=1)
    edit(workspace, "steps = 3", "steps = 3\nneeds_mb = 2500")
    assert cli("advance", "--watch").returncode == 3

    assert cli("retry", "--mem-gb", "3", "--walltime-min", "45").returncode == 0
    cluster.configure(slots=0)
    cli("advance")

    assert (jobs_of(workspace)[-1].mem_gb, jobs_of(workspace)[-1].walltime_min) == (3, 45)
    assert {(run.tries, run.uncounted) for run in pilot(workspace)} == {(2, 1)}
    cluster.configure(slots=2)
    assert cli("advance", "--watch").returncode == 3  # the multiseed phase has 1 GB again


def test_an_undecided_failure_is_no_business_of_a_person_yet(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Between the failure and the next advance, status says who acts next: not the reader."""
    edit(workspace, "steps = 3", "steps = 20\nstep_s = 0.05")
    cli("advance")
    job_id = started(workspace)
    cluster.kill(job_id, "NODE_FAIL", requeue=False)
    cluster.wait(job_id)

    status = cli("status")

    assert status.returncode == 0
    assert "failed since the last advance; the next one acts on it" in status.stdout


def test_cancel_takes_phases_and_runs_and_agrees_with_the_cluster(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """A named run ends with its task alone; when cancel returns, Slurm and the state agree."""
    cluster.configure(slots=0)
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1002"')
    cli("advance")
    state = state_of(workspace)
    key = sorted(state.runs_of("pilot"))[0]
    index = state.runs[key].task

    assert cli("cancel", "nosuch", "--yes").returncode == 2
    one = cli("cancel", key.partition("/")[2], "--yes")

    assert "cancelled 1 job with 2 unfinished runs" in one.stdout
    assert {job.index for job in cluster.jobs() if job.live} == {0, 1, 2} - {index}
    assert cli("cancel", "pilot", "--yes").returncode == 0
    assert not [job for job in cluster.jobs() if job.live]
    assert state_of(workspace).live_jobs() == {}
    assert {run.failure for run in pilot(workspace)} == {F.CANCELLED_BY_USER}
    assert cli("advance").returncode == 3  # stays so, until a person retries


def test_why_tells_class_evidence_attempts_and_remedy(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """A failed run by its log, its numbers, every attempt with what it asked for, and a command."""
    add_policy(workspace, max_tries=2)
    edit(workspace, "steps = 3", "steps = 3\nneeds_mb = 9000")
    assert cli("advance", "--watch").returncode == 3
    key = sorted(state_of(workspace).runs_of("pilot"))[0]

    told = cli("why", key)

    assert told.returncode == 0
    assert "failed: host out of memory" in told.stdout
    assert "log: kernel: oom-kill" in told.stdout
    assert "1 GB, 30 min" in told.stdout
    assert "2 GB, 30 min" in told.stdout
    assert f"pipeline retry {key} --mem-gb 3" in told.stdout
    assert "end of slurm/logs/pilot-" in told.stdout
    assert cli("why", "nosuch").returncode == 2
    cluster.configure(unreachable=True)
    assert cli("why", key).returncode == 0  # nothing of it lives, so nobody is asked


def test_why_puts_the_reason_of_a_waiting_job_in_words(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Slurm's reason code, and what it means for whoever waits."""
    cluster.configure(max_running=0)
    cli("advance")
    key = sorted(state_of(workspace).runs_of("pilot"))[0]
    (job,) = cluster.jobs()
    wait_for(lambda: cluster.job(job.id).reason == "QOSMaxJobsPerUserLimit")

    told = cli("why", key)

    assert "queued as job" in told.stdout
    assert "as many of your jobs run as your limit allows" in told.stdout


def test_the_ledger_says_what_was_useful_and_what_was_lost(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Status, its JSON and RESULTS.md account for the failed attempt beside the useful ones."""
    only_pilot(workspace)
    edit(workspace, "steps = 3", "steps = 20\nstep_s = 0.05")
    cli("advance")
    job_id = started(workspace, steps=20)
    cluster.kill(job_id, "NODE_FAIL", requeue=False)
    cluster.wait(job_id)
    assert cli("advance", "--watch").returncode == 0
    wait_for(lambda: cli("advance").stdout.startswith("- nothing new"))

    accounts = json.loads(cli("status", "--json").stdout)["ledger"]

    (account,) = accounts
    assert account["phase"] == "pilot"
    assert account["failed"] > 0
    assert account["useful"] > 0
    assert "GPU-hours:" in cli("status").stdout
    report = workspace.report_file.read_text(encoding="utf-8")
    assert "| Phase | unit | useful | failed | duplicated | preempted |" in report


def test_a_silent_task_is_named_and_ended_where_the_policy_says_so(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Running, but nothing was written for longer than allowed: attention, why, and the end."""
    edit(workspace, "steps = 3", "steps = 2\nstep_s = 300.0")
    cli("advance")
    make_silent(workspace, cluster, started(workspace))

    status = cli("status")

    assert status.returncode == 3
    assert "has been silent for" in status.stdout
    key = sorted(state_of(workspace).runs_of("pilot"))[0]
    assert "stalled: runs on node" in cli("why", key).stdout
    add_policy(workspace, cancel_stalled=True)
    ended = cli("advance")
    assert "stalled: 2 runs tried again" in ended.stdout
    assert {run.tries for run in pilot(workspace)} == {2}


def make_silent(workspace: Workspace, cluster: FakeSlurm, job_id: str) -> None:
    """Turn the clock of a job back by two hours: its start and all that it wrote."""
    job = cluster.job(job_id)
    job.start_time -= 7200
    cluster.cluster.save(job)
    written = [
        *workspace.logs_dir.glob("*/*_log.out"),
        *workspace.runs_dir.glob("*/*/attempts/*/*"),
    ]
    for path in written:
        os.utime(path, (time.time() - 7200, time.time() - 7200))
