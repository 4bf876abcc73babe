"""The life of jobs on the fake cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakeslurm.control import ROOT, FakeSlurm
from tests.fakeslurm.test_printed import out, run

STATES = ("sacct", "-n", "-P", "-o", "JobID,State,ExitCode", "-j")


def submit(*options: str, wrap: str = "sleep 60", cwd: Path | None = None) -> str:
    """Submits a one-liner and returns its id."""
    done = run("sbatch", "--parsable", *options, "--wrap", wrap, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def states(job: str) -> list[str]:
    """Returns sacct's lines for a job."""
    return out(*STATES, job).splitlines()


def logged(path: Path, text: str) -> str:
    """Waits for a line in a log."""
    end = time.monotonic() + 10
    while not (path.exists() and text in path.read_text()):
        assert time.monotonic() < end, path.read_text() if path.exists() else path
        time.sleep(0.01)
    return path.read_text()


def test_script_runs_with_slurms_environment(fake_slurm: FakeSlurm, tmp_path: Path) -> None:
    """The script's #SBATCH lines count, its arguments arrive, and the variables are set."""
    script = tmp_path / "job.sh"
    script.write_text(
        "#!/bin/bash\n#SBATCH --job-name=env --array=3-4 --gres=gpu:2 -c 2\n"
        "#SBATCH --output=%x-%A_%2a-%j-%N.out\n"
        "echo $SLURM_JOB_ID $SLURM_ARRAY_JOB_ID $SLURM_ARRAY_TASK_ID $SLURM_CPUS_PER_TASK"
        " $CUDA_VISIBLE_DEVICES $SLURM_JOB_NAME $1 [$SLURM_RESTART_COUNT] $PWD\n"
        "#SBATCH --job-name=too-late\n"
    )
    assert run("sbatch", str(script), "argument", cwd=tmp_path).returncode == 0
    fake_slurm.wait(1, "COMPLETED")
    names = sorted(path.name for path in tmp_path.glob("env-*"))
    assert names == ["env-1_03-2-node1.out", "env-1_04-1-node2.out"]
    text = (tmp_path / names[0]).read_text()
    assert text == f"2 1 3 2 0,1 env argument [] {tmp_path}\n"


def test_steps_are_recorded_and_srun_passes_on_their_end(
    fake_slurm: FakeSlurm, tmp_path: Path
) -> None:
    """sacct shows .batch and a numbered step for each srun, with signals as 0:9."""
    job = submit(
        wrap="srun -n 2 sh -c 'echo task $SLURM_PROCID'; srun -o step-%j-%t sh -c 'exit 7';"
        " echo $?; srun sh -c 'kill -9 $$'; exit $?",
        cwd=tmp_path,
    )
    fake_slurm.wait(job, "FAILED")
    assert states(job) == [
        "1|FAILED|9:0",  # sacct takes the shell's 137 for signal 9
        "1.batch|FAILED|9:0",
        "1.0|COMPLETED|0:0",
        "1.1|FAILED|7:0",
        "1.2|CANCELLED|0:9",
    ]
    log = (tmp_path / "slurm-1.out").read_text()
    assert sorted(log.splitlines()[:2]) == ["task 0", "task 1"]
    assert "srun: error: node1: task 0: Exited with exit code 7\n7\n" in log
    assert (tmp_path / "step-1-0").exists()


def test_exit_codes_and_signals(fake_slurm: FakeSlurm, tmp_path: Path) -> None:
    """An exit code is 3:0, a signal 0:9, and a log that cannot be written 0:53, without a log."""
    fake_slurm.configure(slots=4)
    failed, killed = submit(wrap="exit 3", cwd=tmp_path), submit(wrap="kill -9 $$", cwd=tmp_path)
    lost = submit("-o", str(tmp_path / "no" / "dir" / "%j.out"), wrap="echo hi", cwd=tmp_path)
    for job in (failed, killed, lost):
        fake_slurm.wait(job, "FAILED")
    assert states(failed)[0] == "1|FAILED|3:0"
    assert states(killed) == ["2|FAILED|0:9", "2.batch|CANCELLED|0:9"]
    assert states(lost) == ["3|FAILED|0:53", "3.batch|CANCELLED|0:53"]
    assert not (tmp_path / "no").exists()
    assert out("squeue", "-h", "-t", "F", "-o", "%i %r").split("\n")[0] == "1 NonZeroExitCode"


def test_throttle_slots_and_limits_hold_jobs_back(fake_slurm: FakeSlurm) -> None:
    """A pending job says why: throttle, slots taken, the user's limit, or a hold."""
    submit("--array=0-3%1")
    fake_slurm.wait("1_0", "RUNNING")
    runs, first, second = submit(), submit(), submit()
    held = submit("-H")
    fake_slurm.wait(runs, "RUNNING")
    reasons = {job.id: job.reason for job in fake_slurm.jobs() if job.state == "PENDING"}
    assert reasons["1_3"] == "JobArrayTaskLimit"
    assert (reasons[first], reasons[second]) == ("Resources", "Priority")
    assert reasons[held] == "JobHeldUser"
    fake_slurm.configure(max_running=2, slots=9)
    out("scontrol", "release", held)
    end = time.monotonic() + 5
    while fake_slurm.job(held).reason != "QOSMaxJobsPerUserLimit":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_dependencies(fake_slurm: FakeSlurm) -> None:
    """afterok waits for success and says when it can never come; afterany takes any end."""
    fake_slurm.configure(slots=4)
    first = submit("--array=0-1")
    happy = submit(f"-dafterok:{first}", wrap="true")
    either = submit(f"--dependency=afterany:{first}", wrap="true")
    fake_slurm.wait(first, "RUNNING")
    assert out("squeue", "-h", "-j", happy, "-o", "%r %E") == (
        "Dependency afterok:1_*(unfulfilled)\n"
    )
    fake_slurm.finish(f"{first}_0")
    fake_slurm.finish(f"{first}_1", exit_code=1)
    fake_slurm.wait(either, "COMPLETED")
    assert out("squeue", "-h", "-j", happy, "-o", "%r %E") == (
        "DependencyNeverSatisfied afterok:1_*(failed)\n"
    )


def test_scancel_of_waiting_elements_leaves_no_record(fake_slurm: FakeSlurm) -> None:
    """An element cancelled in the queue vanishes; the rest, cancelled as a whole, stays listed."""
    fake_slurm.configure(slots=1)
    job = submit("--array=0-9")
    fake_slurm.wait(f"{job}_0", "RUNNING")
    out("scancel", "1_[3-4]", "1_7")
    assert out("squeue", "-h", "-t", "PD", "-o", "%i") == "1_[1-2,5-6,8-9]\n"
    out("scancel", "1")
    fake_slurm.wait(job)
    uid = os.getuid()
    assert states(job) == [
        f"1_0|CANCELLED by {uid}|0:0",
        "1_0.batch|CANCELLED|0:15",
        f"1_[1-2,5-6,8-9]|CANCELLED by {uid}|0:0",
    ]
    assert out("squeue", "-h") == ""


def test_scancel_sends_term_waits_and_kills(fake_slurm: FakeSlurm, tmp_path: Path) -> None:
    """A job that ignores TERM is COMPLETING until KillWait has passed."""
    fake_slurm.configure(kill_wait=60)
    wrap = "trap 'echo term' TERM; echo up; while :; do sleep .1; done"
    job = submit("-J", "stubborn", wrap=wrap)
    log = tmp_path / "slurm-1.out"
    logged(log, "up")
    out("scancel", "--name=stubborn", "--state=RUNNING")
    assert out("squeue", "-h", "-o", "%i %T") == "1 COMPLETING\n"
    assert states(job)[0].startswith("1|CANCELLED by")
    logged(log, "term")
    fake_slurm.configure(kill_wait=0)
    fake_slurm.wait(job)
    assert "error: *** JOB 1 ON node1 CANCELLED AT 20" in log.read_text()
    assert states(job)[1] == "1.batch|CANCELLED|0:9"


@pytest.mark.usefixtures("fake_slurm")
def test_signals_reach_steps_unless_told_otherwise(tmp_path: Path) -> None:
    """scancel --signal goes to the steps, --batch to the shell, --full to both."""
    script = tmp_path / "job.sh"
    script.write_text(
        "#!/bin/bash\n#SBATCH -o log\ntrap 'echo shell usr1' USR1; trap 'echo shell usr2' USR2\n"
        'srun bash -c \'trap "echo step usr1" USR1; trap "echo step usr2" USR2; echo up;'
        " while :; do sleep .05; done' &\nwhile :; do sleep .05; done\n"
    )
    run("sbatch", str(script), cwd=tmp_path)
    log = tmp_path / "log"
    logged(log, "up")
    out("scancel", "--signal=USR1", "1")
    assert "shell" not in logged(log, "step usr1")
    out("scancel", "--signal", "SIGUSR2", "--batch", "1")
    assert "step usr2" not in logged(log, "shell usr2")
    out("scancel", "1", "-f", "-s", "USR2")
    logged(log, "step usr2")


def test_time_limit_warns_then_ends_the_job(fake_slurm: FakeSlurm, tmp_path: Path) -> None:
    """--signal comes its lead before the limit, in scaled minutes; then the state is TIMEOUT."""
    fake_slurm.configure(seconds_per_minute=0.5)
    wrap = "trap 'echo warned; wait' USR2; echo up; sleep 60 & wait"
    job = submit("-t", "2", "--signal=B:USR2@60", wrap=wrap, cwd=tmp_path)
    fake_slurm.wait(job, "TIMEOUT")
    fake_slurm.wait(job)
    log = (tmp_path / "slurm-1.out").read_text()
    assert log.startswith("up\nwarned\n")
    assert "DUE TO TIME LIMIT ***" in log
    assert states(job) == ["1|TIMEOUT|0:0", "1.batch|CANCELLED|0:15"]
    assert out("squeue", "-h", "-t", "all", "-o", "%R %l") == "(TimeLimit) 2:00\n"


def test_requeue_starts_a_new_attempt(fake_slurm: FakeSlurm, tmp_path: Path) -> None:
    """REQUEUED, PENDING for BeginTime, RUNNING again with SLURM_RESTART_COUNT; -D shows both."""
    fake_slurm.configure(kill_wait=60)
    wrap = "trap '' TERM; echo attempt $SLURM_RESTART_COUNT; sleep 60"
    job = submit("--array=5", "--open-mode=append", "-o", "log", wrap=wrap, cwd=tmp_path)
    logged(tmp_path / "log", "attempt")
    out("scontrol", "requeue", "1_5")
    assert states(job)[0] == "1_5|REQUEUED|0:0"
    assert out("squeue", "-h", "-o", "%i %T") == "1_5 COMPLETING\n"
    fake_slurm.configure(kill_wait=0)
    logged(tmp_path / "log", "attempt 1")
    assert "DUE TO JOB REQUEUE" in (tmp_path / "log").read_text()
    assert states(job)[0] == "1_5|RUNNING|0:0"
    both = out("sacct", "-D", "-X", "-n", "-P", "-j", job, "-o", "State").split()
    assert both == ["REQUEUED", "RUNNING"]
    waiting = submit("-H")
    assert run("scontrol", "requeue", waiting).stderr == (
        f"Job is pending execution for job {waiting}\n"
    )


def test_no_requeue_is_respected(fake_slurm: FakeSlurm) -> None:
    """scontrol cannot requeue a job that forbade it, and says so in two ways."""
    fake_slurm.wait(submit("--no-requeue"), "RUNNING")
    fake_slurm.wait(submit("--no-requeue", "--array=0"), "RUNNING")
    text = "Requested operation is presently disabled"
    assert run("scontrol", "requeue", "1").stderr == f"{text} for job 1\n"
    assert run("scontrol", "requeue", "2_0").stderr == f"2_0: {text}\n"


@pytest.mark.usefixtures("fake_slurm")
def test_outer_arrays_variables_leak_into_nested_jobs(tmp_path: Path) -> None:
    """A job submitted from inside an array element inherits SLURM_ARRAY_*, as on Slurm."""
    inner = "echo inner $SLURM_JOB_ID $SLURM_ARRAY_TASK_ID"
    submit("--array=5", wrap=f"sbatch -o inner --wrap '{inner}'; true", cwd=tmp_path)
    assert logged(tmp_path / "inner", "inner") == "inner 2 5\n"


def test_test_only_submits_nothing(fake_slurm: FakeSlurm) -> None:
    """--test-only prints a forecast to stderr and queues nothing."""
    done = run("sbatch", "--test-only", "--wrap", "true")
    assert done.stderr.startswith("sbatch: Job 1 to start at 20")
    assert done.stderr.endswith("using 1 processors on nodes node1 in partition main\n")
    assert fake_slurm.jobs() == []


def test_concurrent_submissions_get_ids_of_their_own(fake_slurm: FakeSlurm) -> None:
    """Clients at the same time neither collide nor lose jobs."""
    fake_slurm.configure(slots=0)
    command = ["sbatch", "--parsable", "--array=0-1", "--wrap", "true"]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(8)]
    ids = sorted(int(client.communicate()[0]) for client in clients)
    assert ids == list(range(1, 9))
    assert len(fake_slurm.jobs()) == 16


def test_nothing_survives_stop(fake_slurm: FakeSlurm, tmp_path: Path) -> None:
    """stop() kills jobs, also what they sent into sessions of their own, and hanging clients."""
    fake_slurm.configure(hang={"squeue": 60})
    submit(wrap="setsid sleep 61 & echo $! > child; sleep 61", cwd=tmp_path)
    client = subprocess.Popen(["squeue"])
    child = int(logged(tmp_path / "child", "\n"))
    fake_slurm.stop()
    assert client.wait(5) == -signal.SIGKILL
    assert not running(child)


def test_nothing_survives_the_test_process(tmp_path: Path) -> None:
    """Even when the process that made the cluster is killed, its jobs end."""
    code = (
        "import os, subprocess, time\nfrom pathlib import Path\n"
        "from tests.fakeslurm.control import FakeSlurm\n"
        f"fake = FakeSlurm(Path({str(tmp_path / 'slurm')!r}))\n"
        "os.environ |= fake.environment()\n"
        "subprocess.run(['sbatch', '--wrap', 'echo $$; exec sleep 62', '-o', 'pid'])\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=_with_root())
    job = int(logged(tmp_path / "pid", "\n"))
    owner.kill()
    owner.wait()
    end = time.monotonic() + 5
    while running(job):
        assert time.monotonic() < end
        time.sleep(0.02)


def _with_root() -> dict[str, str]:
    return dict(os.environ) | {"PYTHONPATH": str(ROOT)}


def running(pid: int) -> bool:
    """Does the process run, and not as a zombie?"""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
