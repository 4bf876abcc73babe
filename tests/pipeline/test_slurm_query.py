"""What Slurm's programs print of tasks, and what is made of it: real rows, lags, reused ids."""

import subprocess
from collections.abc import Sequence

import pytest

from pipeline.scheduler import TaskStatus
from pipeline.scheduler.slurm import SlurmScheduler
from pipeline.scheduler.slurm_query import (
    CONTRADICTED_S,
    indices,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
    seconds,
)
from pipeline.state import Incarnation, JobRecord, TaskRecord, TaskState
from tests.fakeslurm.control import FakeSlurm

NAME = "toy-pilot-0token0"


def job(job_id: str, tasks: int) -> JobRecord:
    """A submission of so many tasks."""
    return JobRecord(
        phase="pilot",
        profile="cluster",
        backend="slurm",
        job_id=job_id,
        submitted_at="2026-01-01T00:00:00+00:00",
        tasks=tuple(TaskRecord(runs=(f"pilot/r{index}",)) for index in range(tasks)),
    )


def test_squeue_tells_node_start_and_why_a_job_waits() -> None:
    """One line an element; a name is ours by its token; a reason may hold spaces."""
    text = (
        f"12|0|RUNNING|node1|1-02:03:04|{NAME}|None\n"
        f"12|1|PENDING||0:00|{NAME}|ReqNodeNotAvail, UnavailableNodes:node[1-2]\n"
        f"13|N/A|COMPLETING|node2|0:09|{NAME}|None\n"
        f"14|N/A|COMPLETED|node2|0:09|{NAME}|None\n"
        "garbage\n"
    )

    rows = parse_squeue(text)

    assert rows["12", 0].status.elapsed_s == 93_784.0
    assert rows["12", 1].status.reason == "ReqNodeNotAvail, UnavailableNodes:node[1-2]"
    assert rows["13", None].status.state is TaskState.RUNNING
    assert ("14", None) not in rows


def test_sacct_tells_steps_earlier_starts_and_gpus() -> None:
    """A step's OUT_OF_MEMORY, a preempted start before the last one, GPUs from the TRES."""
    tres = "billing=2,cpu=2,gres/gpu=2,mem=16G,node=1"
    text = (
        f"37_0|PREEMPTED|0:0|100|node1|{tres}|{NAME}\n"
        f"37_0.batch|CANCELLED|0:15|101|node1|cpu=2|batch\n"
        f"37_0|FAILED|1:0|50|node2|{tres}|{NAME}\n"
        f"37_0.batch|FAILED|1:0|50|node2|cpu=2|batch\n"
        f"37_0.0|OUT_OF_MEMORY|0:125|49|node2|cpu=2|python\n"
        f"37_[1-2]|CANCELLED by 1000|0:0|0|None assigned||{NAME}\n"
    )

    rows = parse_sacct(text, ["0token0"])

    status = rows["37", 0].status
    assert (status.scheduler_state, status.step_state, status.gpus, status.elapsed_s) == (
        "FAILED", "OUT_OF_MEMORY", 2, 50.0,
    )  # fmt: skip
    assert status.earlier == (
        Incarnation(scheduler_state="PREEMPTED", exit_code="0:0", node="node1", elapsed_s=100.0),
    )
    rest = rows["37", -1].status  # for all that have no row of their own
    assert (rest.state, rest.reason) == (TaskState.ENDED, "by uid 1000")


def test_rows_of_another_job_with_our_id_are_left_out() -> None:
    """After a crash Slurm hands out ids again: the token decides, and its steps go with it."""
    text = (
        f"37|COMPLETED|0:0|5|node1||{NAME}\n"
        "37|FAILED|1:0|9|node2||somebody-elses-job\n"
        "37.0|OUT_OF_MEMORY|0:125|9|node2||python\n"
        "37.0|RUNNING|0:0|9|node2||allocation\n"
    )

    row = parse_sacct(text, ["0token0"])["37", None]

    assert (row.status.scheduler_state, row.status.step_state) == ("COMPLETED", None)


def test_scontrol_tells_what_ended_within_min_job_age() -> None:
    """One line a job; ranges of elements that ended together; what lives is squeue's business."""
    text = (
        f"JobId=38 ArrayJobId=37 ArrayTaskId=0 JobName={NAME} UserId=u(1) JobState=TIMEOUT "
        "Reason=TimeLimit Dependency=(null) ExitCode=0:0 RunTime=00:30:02 "
        "ReqNodeList=(null) ExcNodeList=node9 NodeList=node1 BatchHost=node1\n"
        f"JobId=37 ArrayJobId=37 ArrayTaskId=3-4,7%2 JobName={NAME} JobState=CANCELLED Reason=None "
        "ExitCode=0:0 RunTime=00:00:00 NodeList=(null)\n"
        f"JobId=40 JobName={NAME} JobState=RUNNING Reason=None ExitCode=0:0 NodeList=node1\n"
        "No jobs in the system\n"
    )

    rows = parse_scontrol(text)

    assert rows["37", 0].status == TaskStatus(
        TaskState.ENDED, "TIMEOUT", "0:0", "node1", 1802.0, "TimeLimit"
    )
    assert {index for _, index in rows} == {0, 3, 4, 7}
    assert rows["37", 3].status.node is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[3]", [3]), ("[0,3-5%2]", [0, 3, 4, 5]), ("0-9:4", [0, 4, 8]), ("[x]", []), ("", [])],
)
def test_ranges_are_read_as_slurm_writes_them(text: str, expected: list[int]) -> None:
    """Steps, throttles and single elements; what is no range names nothing."""
    assert list(indices(text)) == expected


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("0:05", 5.0), ("1:00:00", 3600.0), ("2-00:00:01", 172_801.0), ("INVALID", None)],
)
def test_clocks_are_read_as_slurm_writes_them(clock: str, expected: float | None) -> None:
    """With and without hours and days."""
    assert seconds(clock) == expected


def sbatch(*options: str, script: str = "sleep 60") -> str:
    """Submit a script under our name; its job id."""
    command = ["sbatch", "--parsable", f"--job-name={NAME}", "--output=/dev/null", *options]
    done = subprocess.run(
        [*command, f"--wrap={script}"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def asked(cluster: FakeSlurm, job_id: str, tasks: int = 1) -> Sequence[TaskStatus]:
    """What one query makes of a job."""
    cluster.forget_calls()
    return SlurmScheduler().query({"0token0": job(job_id, tasks)})["0token0"]


@pytest.mark.parametrize("sacct", ["disabled", "down", "empty"])
def test_without_accounting_the_controller_is_asked(fake_slurm: FakeSlurm, sacct: str) -> None:
    """A job that ended lately is known with state, exit code and time, by one scontrol."""
    fake_slurm.configure(sacct=sacct)
    job_id = sbatch(script="exit 3")
    fake_slurm.wait(job_id)

    (status,) = asked(fake_slurm, job_id)

    assert (status.state, status.scheduler_state, status.exit_code) == (
        TaskState.ENDED, "FAILED", "3:0",
    )  # fmt: skip
    programs = [call.program for call in fake_slurm.calls()]
    assert programs == ["squeue", "sacct", "scontrol"]


def test_a_job_nobody_knows_is_silent_not_lost(fake_slurm: FakeSlurm) -> None:
    """Purged by the controller, no accounting: nothing is concluded from one look."""
    fake_slurm.configure(sacct="disabled", min_job_age=0.0)
    job_id = sbatch(script="true")
    fake_slurm.wait(job_id)

    (status,) = asked(fake_slurm, job_id)

    assert status.silent_s is not None
    assert status.state is TaskState.QUEUED


def test_accounting_that_calls_a_lost_job_live_is_doubted_for_longer(
    fake_slurm: FakeSlurm,
) -> None:
    """The controller forgot it in a crash; its node may still work on it."""
    job_id = sbatch()
    fake_slurm.wait(job_id, "RUNNING")
    fake_slurm.forget(job_id)

    (status,) = asked(fake_slurm, job_id)

    assert (status.state, status.silent_s) == (TaskState.RUNNING, CONTRADICTED_S)


def test_a_slow_sacct_does_not_revive_what_the_controller_saw_end(fake_slurm: FakeSlurm) -> None:
    """Accounting lags; the controller's own record of the end is taken."""
    fake_slurm.configure(sacct_lag=60.0)
    job_id = sbatch(script="true")
    fake_slurm.wait(job_id)

    assert asked(fake_slurm, job_id)[0].scheduler_state == "COMPLETED"


def test_a_single_element_array_is_found_under_both_names(fake_slurm: FakeSlurm) -> None:
    """Slurm may call the only task of a job 12 or 12_0."""
    fake_slurm.configure(slots=0)
    plain, array = sbatch(), sbatch("--array=0-0")

    assert asked(fake_slurm, plain)[0].scheduler_state == "PENDING"
    assert asked(fake_slurm, array)[0].scheduler_state == "PENDING"
