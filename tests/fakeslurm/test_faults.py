"""The faults that a test can order."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.fakeslurm.control import FakeSlurm
from tests.fakeslurm.test_fakeslurm import logged, states, submit
from tests.fakeslurm.test_printed import FAILED, POLICY, out, run

NO_CONTACT = "Unable to contact slurm controller (connect failure)"
TIMED_OUT = "Socket timed out on send/recv operation"


def test_submit_limit_counts_array_elements(fake_slurm: FakeSlurm) -> None:
    """An array over the limit is refused as a whole; ended jobs no longer count."""
    fake_slurm.configure(max_submit=3, slots=0)
    done = run("sbatch", "--array=0-3", "--wrap", "true")
    text = f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{FAILED}{POLICY}\n"
    assert (done.returncode, done.stderr) == (1, text)
    submit("--array=0-2")
    assert run("sbatch", "--wrap", "true").stderr == text
    fake_slurm.finish("1_0")
    submit()


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("AssocGrpSubmitJobsLimit", f"sbatch: error: AssocGrpSubmitJobsLimit\n{FAILED}{POLICY}\n"),
        ("Required partition not available (inactive or drain)", None),
    ],
)
def test_any_refusal_can_be_ordered(fake_slurm: FakeSlurm, text: str, printed: str | None) -> None:
    """The next calls fail with the text, the one after them succeeds."""
    fake_slurm.configure(reject=text, reject_next=1)
    assert run("sbatch", "--wrap", "true").stderr == (printed or f"{FAILED}{text}\n")
    assert submit(wrap="true") == "1"


@pytest.mark.usefixtures("fake_slurm")
def test_refused_for_want_of_resources_leaves_a_failed_job() -> None:
    """Slurm keeps a FAILED record of a submission that it refused for its resources."""
    assert run("sbatch", "--gres=gpu:9", "-J", "token", "--wrap", "true").returncode == 1
    form = ("-o", "%j %T %r")
    assert out("squeue", "-h", "-t", "all", *form) == "token FAILED BadConstraints\n"
    assert states("1") == ["1|FAILED|1:0"]


def test_sbatch_may_time_out_and_the_job_exist(fake_slurm: FakeSlurm) -> None:
    """A ghost: status 1, "Socket timed out", and yet the job runs."""
    fake_slurm.configure(sbatch_ghosts=1)
    done = run("sbatch", "-J", "token", "--wrap", "true")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{FAILED}{TIMED_OUT}\n")
    fake_slurm.wait(1, "COMPLETED")
    assert submit(wrap="true") == "2"


def test_dead_controller(fake_slurm: FakeSlurm) -> None:
    """Every client reports no contact in its own way, and only sacct still answers."""
    fake_slurm.wait(submit(), "RUNNING")
    fake_slurm.configure(unreachable=True)
    load = f"slurm_load_jobs error: {NO_CONTACT}\n"
    expected = {
        "sbatch --wrap true": (1, f"{FAILED}{NO_CONTACT}\n"),
        "squeue -h": (1, load),
        "scancel 1": (8, f"scancel: error: Kill job error on job id 1: {NO_CONTACT}\n"),
        "scancel -n x": (1, load),
        "scontrol show job 1": (1, load),
        "scontrol show config": (1, f"slurm_load_ctl_conf error: {NO_CONTACT}\n"),
        "scontrol requeue 1": (1, "Unexpected message received for job 1\n"),
        "sinfo": (1, f"slurm_load_partitions: {NO_CONTACT}\n"),
        "scontrol ping": (1, ""),
        "sacct -n -X -j 1": (0, ""),
    }
    seen = {c: run(*c.split()) for c in expected}
    assert {c: (done.returncode, done.stderr) for c, done in seen.items()} == expected
    assert seen["scontrol ping"].stdout.startswith("Slurmctld(primary) at localhost is DOWN\n")
    fake_slurm.configure(unreachable=False)
    assert out("squeue", "-h", "-o", "%T") == "RUNNING\n"


def test_frozen_controller_takes_the_job_all_the_same(fake_slurm: FakeSlurm) -> None:
    """A stopped slurmctld times out every client, but reads the submission when it goes on."""
    fake_slurm.configure(frozen=True)
    assert run("sbatch", "--wrap", "sleep 60").stderr == f"{FAILED}{TIMED_OUT}\n"
    assert run("squeue").stderr == f"slurm_load_jobs error: {TIMED_OUT}\n"
    assert run("scancel", "1").returncode == 140
    fake_slurm.wait(1, "RUNNING")


def test_accounting_may_be_missing_or_empty(fake_slurm: FakeSlurm) -> None:
    """sacct can be disabled, down, or know nothing."""
    job = submit(wrap="true")
    fake_slurm.wait(job)
    fake_slurm.configure(sacct="disabled")
    done = run("sacct", "-j", job)
    assert (done.returncode, done.stderr) == (1, "Slurm accounting storage is disabled\n")
    fake_slurm.configure(sacct="down")
    done = run("sacct", "-j", job)
    assert done.returncode == 1
    assert done.stderr.startswith("sacct: error: slurm_persist_conn_open_without_init: failed")
    fake_slurm.configure(sacct="empty")
    assert out("sacct", "-P", "-X", "-j", job, "-o", "JobID,State") == "JobID|State\n"


def test_accounting_lags_behind(fake_slurm: FakeSlurm) -> None:
    """For a while sacct has no job, then one that is still PENDING, and squeue knows better."""
    fake_slurm.configure(sacct_lag=3600)
    job = submit("-H")
    out("scontrol", "release", job)
    fake_slurm.wait(job, "RUNNING")
    assert out("squeue", "-h", "-o", "%T") == "RUNNING\n"
    assert states(job) == []
    fake_slurm.finish(job, exit_code=2)
    fake_slurm.configure(sacct_lag=0.8)
    order = ["1|PENDING|0:0", "1|RUNNING|0:0", "1|FAILED|2:0"]
    seen = _changes(job, until="FAILED")
    assert seen == [line for line in order if line in seen]


def _changes(job: str, until: str) -> list[str]:
    """Polls sacct and returns the different first lines it gave."""
    seen: list[str] = []
    end = time.monotonic() + 5
    while not seen or until not in seen[-1]:
        assert time.monotonic() < end, seen
        seen += [line for line in states(job)[:1] if line not in seen]
    return seen


def test_accounting_may_know_the_step_before_the_job(fake_slurm: FakeSlurm) -> None:
    """A step's record that comes first is filed under a raw id, as a PENDING "allocation"."""
    fake_slurm.configure(sacct_lag=60, sacct_allocation_rows=True)
    job = submit("--array=4")
    fake_slurm.wait(job, "RUNNING")
    lines = out("sacct", "-n", "-P", "-j", job, "-o", "JobID,JobName,State").splitlines()
    assert lines == ["1|allocation|PENDING", "1.batch|batch|RUNNING"]


def test_stale_ranges_name_elements_that_left_them(fake_slurm: FakeSlurm) -> None:
    """A cancelled range in sacct may still hold elements that have records of their own."""
    fake_slurm.configure(sacct_stale_s=60, slots=1)
    job = submit("--array=0-4")
    fake_slurm.wait("1_0", "RUNNING")
    out("scancel", "1_2")
    fake_slurm.finish("1_0")
    fake_slurm.wait("1_1", "RUNNING")
    out("scancel", job)
    rows = [line.split("|")[0] for line in states(job) if "batch" not in line]
    assert rows == ["1_0", "1_1", "1_[0-4]"]
    assert out("squeue", "-h", "-t", "CA", "-o", "%i").split()[-1] == "1_[3-4]"


def test_clients_may_hang(fake_slurm: FakeSlurm) -> None:
    """A program told to hang does so until its caller loses patience."""
    fake_slurm.configure(hang={"squeue": 60})
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run(["squeue"], check=False, timeout=0.3)
    assert out("sinfo", "-h")


@pytest.mark.parametrize(
    ("state", "line", "note"),
    [
        ("NODE_FAIL", "1|NODE_FAIL|0:0", "DUE TO NODE FAILURE"),
        ("PREEMPTED", "1|PREEMPTED|0:0", "DUE TO PREEMPTION"),
        ("TIMEOUT", "1|TIMEOUT|0:0", "DUE TO TIME LIMIT"),
        ("OUT_OF_MEMORY", "1|OUT_OF_MEMORY|0:125", ""),
    ],
)
def test_a_job_can_be_given_any_end(
    fake_slurm: FakeSlurm, tmp_path: Path, state: str, line: str, note: str
) -> None:
    """A test ends a running job as it likes; the log has what slurmstepd would write."""
    job = submit("--no-requeue", wrap="echo up; sleep 60", cwd=tmp_path)
    logged(tmp_path / "slurm-1.out", "up")
    fake_slurm.kill(job, state)
    fake_slurm.wait(job)
    assert states(job)[0] == line
    assert note in (tmp_path / "slurm-1.out").read_text()


def test_preempted_and_failed_nodes_requeue_by_themselves(fake_slurm: FakeSlurm) -> None:
    """Without --no-requeue the job waits again, and only -D remembers what happened."""
    job = submit()
    for restart, state in enumerate(["PREEMPTED", "NODE_FAIL"], start=1):
        fake_slurm.wait(job, "RUNNING")
        fake_slurm.kill(job, state)
        end = time.monotonic() + 5
        while fake_slurm.job(job).restart < restart:
            assert time.monotonic() < end
            time.sleep(0.01)
    fake_slurm.wait(job, "RUNNING")
    history = out("sacct", "-D", "-X", "-n", "-P", "-j", job, "-o", "State").split()
    assert history == ["PREEMPTED", "NODE_FAIL", "RUNNING"]


def test_preemption_with_grace_sends_the_jobs_signal_first(
    fake_slurm: FakeSlurm, tmp_path: Path
) -> None:
    """With a grace time the job gets its --signal, then time, then TERM."""
    fake_slurm.configure(preempt_grace=0.3)
    wrap = "trap 'echo warned; wait' USR2; echo up; sleep 60 & wait"
    job = submit("--no-requeue", "--signal=B:USR2@90", "-t", "60", wrap=wrap, cwd=tmp_path)
    logged(tmp_path / "slurm-1.out", "up")
    fake_slurm.kill(job, "PREEMPTED")
    logged(tmp_path / "slurm-1.out", "warned")
    assert fake_slurm.job(job).state == "RUNNING"
    fake_slurm.wait(job, "PREEMPTED")


def test_lost_node_may_leave_a_writer_behind(fake_slurm: FakeSlurm, tmp_path: Path) -> None:
    """After NODE_FAIL the first attempt can go on writing while the second one runs."""
    fake_slurm.configure(slots=2)
    wrap = "while :; do echo ${SLURM_RESTART_COUNT:-0} >> log; sleep .05; done"
    job = submit(wrap=wrap, cwd=tmp_path)
    logged(tmp_path / "log", "0")
    fake_slurm.kill(job, "NODE_FAIL", survive=True)
    logged(tmp_path / "log", "1\n0\n1\n")


def test_memory_kill_inside_srun_is_seen_by_the_step_only(
    fake_slurm: FakeSlurm, tmp_path: Path
) -> None:
    """The step is OUT_OF_MEMORY; the job is what its script makes of it."""
    job = submit(wrap="srun sh -c 'echo up; sleep 60'; exit $?", cwd=tmp_path)
    logged(tmp_path / "slurm-1.out", "up")
    fake_slurm.kill_step(job)
    fake_slurm.wait(job)
    assert states(job) == ["1|FAILED|1:0", "1.batch|FAILED|1:0", "1.0|OUT_OF_MEMORY|0:125"]
    assert "oom_kill event in StepId=1.0" in (tmp_path / "slurm-1.out").read_text()


def test_controller_may_lose_jobs_and_use_their_ids_again(fake_slurm: FakeSlurm) -> None:
    """After a crash an id can mean another job, and sacct still tells of the lost one."""
    job = submit("-J", "first", wrap="true")
    fake_slurm.wait(job)
    fake_slurm.forget(job)
    assert run("squeue", "-j", job).returncode == 1
    assert states(job) == ["1|COMPLETED|0:0", "1.batch|COMPLETED|0:0"]


def test_jobs_can_be_finished_by_hand(fake_slurm: FakeSlurm) -> None:
    """With no slots nothing runs, and the test decides what comes of each element."""
    fake_slurm.configure(slots=0)
    job = submit("--array=0-2")
    fake_slurm.finish("1_0")
    fake_slurm.finish("1_1", exit_code=4)
    assert [line for line in states(job) if "batch" not in line] == [
        "1_0|COMPLETED|0:0",
        "1_1|FAILED|4:0",
        "1_2|PENDING|0:0",
    ]


def test_calls_are_logged(fake_slurm: FakeSlurm) -> None:
    """A test can count what the product asks of the cluster."""
    out("squeue", "-h", "--me")
    out("sacct", "-X")
    assert [(call.program, call.argv) for call in fake_slurm.calls()] == [
        ("squeue", ["-h", "--me"]),
        ("sacct", ["-X"]),
    ]
    assert len(fake_slurm.calls("sacct")) == 1
    fake_slurm.forget_calls()
    assert fake_slurm.calls() == []


def test_unknown_settings_are_refused(fake_slurm: FakeSlurm) -> None:
    """A misspelt fault must not pass for a fault that does nothing."""
    with pytest.raises(TypeError, match="sacct_lagg"):
        fake_slurm.configure(sacct_lagg=1)
