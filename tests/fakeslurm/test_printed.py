"""What the programs print, against texts taken from Slurm 22.05.8."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

import pytest

from tests.fakeslurm.control import FakeSlurm

FAILED = "sbatch: error: Batch job submission failed: "
ADVICE = 'Try "sbatch --help" for more information\n'
POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
TOO_LONG = "Requested time limit is invalid (missing or exceeds some limit)"
NO_PARTITION = "sbatch: error: invalid partition specified: nosuch\n"
NO_MEMORY = "sbatch: error: Memory specification can not be satisfied\n"
UNKNOWN = "slurm_load_jobs error: Invalid job id specified\n"


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Calls a client as the product does."""
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=20, cwd=cwd)


def out(*command: str) -> str:
    """Returns what a client that must succeed prints."""
    done = run(*command)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ("--array=0-1001", 1, f"{FAILED}Invalid job array specification\n"),
        ("--array=5-2", 1, f"{FAILED}Invalid job array specification\n"),
        ("--array=x", 1, f"{FAILED}Invalid job array specification\n"),
        ("-p nosuch", 1, f"{NO_PARTITION}{FAILED}Invalid partition name specified\n"),
        ("-t 61", 1, f"{FAILED}{TOO_LONG}\n"),
        (
            "-A nosuch",
            1,
            f"{FAILED}Invalid account or account/partition combination specified\n",
        ),
        ("-q nosuch", 1, f"{FAILED}Invalid qos specification\n"),
        ("--gres=gpu:9", 1, f"{FAILED}Requested node configuration is not available\n"),
        ("--gres=gpu:h100:1", 1, f"{FAILED}Requested node configuration is not available\n"),
        ("--gres=tpu:1", 1, "sbatch: error: Invalid generic resource (gres) specification\n"),
        ("--mem=1T", 1, f"{NO_MEMORY}{FAILED}Requested node configuration is not available\n"),
        ("-c 64", 1, f"{FAILED}More processors requested than permitted\n"),
        ("-N 9", 1, f"{FAILED}Node count specification invalid\n"),
        ("--exclude=nosuchnode", 1, f"{FAILED}Invalid node name specified\n"),
        ("-d banana:1", 1, f"{FAILED}Job dependency problem\n"),
        ("-t banana", 255, "sbatch: error: Invalid --time specification\n"),
        ("--mem=banana", 255, "sbatch: error: Invalid --mem specification\n"),
        ("--signal=BANANA@3", 255, "sbatch: error: Invalid --signal specification\n"),
        ("--open-mode=banana", 255, "sbatch: error: Invalid --open-mode specification\n"),
        ("--banana", 255, f"sbatch: unrecognized option '--banana'\n{ADVICE}"),
        ("-y", 255, f"sbatch: invalid option -- 'y'\n{ADVICE}"),
    ],
)
def test_sbatch_refuses_in_slurms_words(
    fake_slurm: FakeSlurm, options: str, code: int, text: str
) -> None:
    """What slurmctld refuses has status 1, what sbatch itself cannot read has 255."""
    done = run("sbatch", *options.split(), "--wrap", "true")
    assert (done.returncode, done.stdout, done.stderr) == (code, "", text)
    assert not [job for job in fake_slurm.jobs() if job.live]


@pytest.mark.usefixtures("fake_slurm")
@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("squeue -h -j 99999", 1, UNKNOWN),
        ("squeue -h -j 99999_1", 1, UNKNOWN),
        ("squeue -h -j 99999,99998", 0, ""),
        ("squeue -h -j abc", 1, "squeue: error: Invalid job id: abc\n"),
        ("sacct -n -X -j 99999", 0, ""),
        ("sacct -n -j abc", 1, "sacct: fatal: Bad job/step specified: abc\n"),
        ("sacct -o Banana", 1, 'sacct: error: Invalid field requested: "Banana"\n'),
        ("sacct --banana", 1, "sacct: unrecognized option '--banana'\n"),
        ("scancel 99999", 0, ""),
        ("scancel -n nosuch", 0, ""),
        ("scancel abc", 1, "scancel: error: Invalid job id abc\n"),
        ("scancel", 1, "scancel: error: No job identification provided\n"),
        (
            "scancel -s USR1 99999",
            1,
            "scancel: error: Kill job error on job id 99999: Invalid job id specified\n",
        ),
        ("scancel -s BANANA 1", 1, "Unknown job signal: BANANA\n"),
        ("scontrol show job 99999", 1, UNKNOWN),
        ("scontrol requeue 99999", 1, "Invalid job id specified for job 99999\n"),
        ("scontrol requeue 9999_1", 1, "9999_1: Invalid job id specified\n"),
        ("scontrol banana", 1, "invalid keyword: banana\n"),
    ],
)
def test_unknown_ids_and_options(command: str, code: int, text: str) -> None:
    """squeue complains of an unknown id, sacct and scancel do not."""
    done = run(*command.split())
    assert (done.returncode, done.stdout, done.stderr) == (code, "", text)


def test_an_array_waits_as_one_line_and_runs_as_many(fake_slurm: FakeSlurm, tmp_path: Path) -> None:
    """Waiting elements share the array's id; a started one has an id of its own."""
    script = tmp_path / "t.sh"
    script.write_text("#!/bin/bash\n#SBATCH -J probe --gres=gpu:1 -t 5\nsleep 60\n")
    assert out("sbatch", "--array=0-9%2", "--comment", "a token", str(script)) == (
        "Submitted batch job 1\n"
    )
    fake_slurm.wait("1_[0-1]", "RUNNING")
    form = "%i|%A|%F|%K|%j|%T|%t|%r|%l|%P|%R|%k|%b"
    assert out("squeue", "-h", "-o", form) == (
        "1_[2-9%2]|1|1|2-9%2|probe|PENDING|PD|JobArrayTaskLimit|5:00|main"
        "|(JobArrayTaskLimit)|a token|gres:gpu:1\n"
        "1_0|2|1|0|probe|RUNNING|R|None|5:00|main|node1|a token|gres:gpu:1\n"
        "1_1|3|1|1|probe|RUNNING|R|None|5:00|main|node2|a token|gres:gpu:1\n"
    )
    assert out("squeue", "-h", "-r", "-o", "%i").split() == [
        f"1_{n}" for n in [*range(2, 10), 0, 1]
    ]
    assert out("squeue", "-h", "-j", "1_0,1_5", "-o", "%i %A") == "1_5 1\n1_0 2\n"
    columns = "JobID,JobIDRaw,State,ExitCode,NodeList"
    assert out("sacct", "-P", "-o", columns, "-j", "1") == (
        "JobID|JobIDRaw|State|ExitCode|NodeList\n"
        "1_0|2|RUNNING|0:0|node1\n"
        "1_0.batch|2.batch|RUNNING|0:0|node1\n"
        "1_1|3|RUNNING|0:0|node2\n"
        "1_1.batch|3.batch|RUNNING|0:0|node2\n"
        "1_[2-9%2]|1|PENDING|0:0|None assigned\n"
    )
    shown = out("scontrol", "-o", "show", "job", "1_1")
    assert shown.startswith("JobId=3 ArrayJobId=1 ArrayTaskId=1 ArrayTaskThrottle=2 JobName=probe")
    assert "JobState=RUNNING Reason=None Dependency=(null)" in shown


def test_plain_tables_have_slurms_columns(fake_slurm: FakeSlurm) -> None:
    """Without a format squeue, sacct and sinfo print aligned tables with headers."""
    fake_slurm.configure(slots=0)
    run("sbatch", "-J", "a-long-job-name", "--wrap", "true")
    fake_slurm.wait(1, "PENDING")
    lines = out("squeue").splitlines()
    title = "             JOBID PARTITION     NAME     USER ST       TIME  NODES NODELIST(REASON)"
    assert lines[0] == title
    assert lines[1].startswith("                 1      main a-long-j ")
    assert out("sacct", "-j", "1").splitlines()[::2] == [
        "JobID           JobName  Partition    Account  AllocCPUS      State ExitCode ",
        "1            a-long-jo+       main        lab          1    PENDING      0:0 ",
    ]
    assert out("sinfo").splitlines()[:2] == [
        "PARTITION AVAIL  TIMELIMIT  NODES  STATE NODELIST",
        "main*        up    1:00:00      4   idle node[1-4]",
    ]


def test_settings_can_be_read_from_scontrol(fake_slurm: FakeSlurm) -> None:
    """`scontrol show config` has the limits in Slurm's form, and `ping` says UP."""
    fake_slurm.configure(max_array_size=501)
    config = out("scontrol", "show", "config").splitlines()
    assert "MaxArraySize            = 501" in config
    assert "ClusterName             = lab" in config
    assert out("scontrol", "ping") == "Slurmctld(primary) at localhost is UP\n"
    assert out("sbatch", "--version") == "slurm-wlm 22.05.8\n"
    assert out("scontrol", "show", "hostnames", "node[1-2,4]") == "node1\nnode2\nnode4\n"


def test_partitions_nodes_and_limits_are_shown_as_slurm_does(fake_slurm: FakeSlurm) -> None:
    """One line per partition from scontrol, per shape of node from sinfo, limits from sacctmgr."""
    fake_slurm.configure(
        partitions={"main": 60},
        drained=[2],
        qos=["normal", "capped"],
        qos_limits={"capped": {"MaxWall": "00:30:00", "MaxSubmitJobsPerUser": "4"}},
        user_limits={"MaxSubmitJobs": "50"},
    )
    assert out("scontrol", "--all", "--oneliner", "show", "partition") == (
        "PartitionName=main AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL"
        " Default=YES QoS=N/A DefaultTime=00:10:00 DisableRootJobs=NO ExclusiveUser=NO GraceTime=0"
        " Hidden=NO MaxNodes=UNLIMITED MaxTime=01:00:00 MinNodes=0 LLN=NO MaxCPUsPerNode=UNLIMITED"
        " Nodes=node[1-4] PriorityJobFactor=1 PriorityTier=10 RootOnly=NO ReqResv=NO"
        " OverSubscribe=NO OverTimeLimit=NONE PreemptMode=OFF State=UP TotalCPUs=16 TotalNodes=4"
        " SelectTypeParameters=NONE JobDefaults=(null) DefMemPerNode=UNLIMITED"
        " MaxMemPerNode=UNLIMITED TRES=cpu=16,mem=16000M,node=4,billing=16,gres/gpu=8\n"
    )
    assert sorted(out("sinfo", "-h", "-a", "-e", "-o", "%R|%T|%D|%c|%m|%G|%f").splitlines()) == [
        "main|drained|1|4|4000|gpu:a100:2|(null)",
        "main|idle|3|4|4000|gpu:a100:2|(null)",
    ]
    columns = "format=Name,MaxWall,MaxSubmitJobsPerUser"
    assert out("sacctmgr", "-P", "show", "qos", columns) == (
        "Name|MaxWall|MaxSubmitPU\nnormal||\ncapped|00:30:00|4\n"
    )
    columns = "format=Account,ParentName,MaxSubmitJobs"
    assert out("sacctmgr", "-nP", "show", "assoc", "where", "user=", columns) == (
        "root||\nlab|root|\n"
    )
    fake_slurm.configure(sacct="disabled")
    done = run("sacctmgr", "-nP", "show", "qos", "format=Name")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "You are not running a supported accounting_storage plugin\n"
        "Only 'accounting_storage/slurmdbd' is supported.\n"
    )


def test_comment_reaches_accounting_with_the_end_of_the_job(fake_slurm: FakeSlurm) -> None:
    """sacct has no comment of a job that still runs: a token belongs in the job's name."""
    run("sbatch", "--comment=token", "-J", "token", "--wrap", "sleep 60")
    fake_slurm.wait(1, "RUNNING")
    command = ("sacct", "-X", "-n", "-P", "-j", "1", "-o", "JobName,State,Comment")
    assert out(*command) == "token|RUNNING|\n"
    fake_slurm.finish(1)
    assert out(*command) == "token|COMPLETED|token\n"


@pytest.mark.usefixtures("fake_slurm")
def test_a_client_starts_quickly() -> None:
    """Polling a fake cluster costs tens of milliseconds, so suites stay short."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(5):
        out("squeue", "-h")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert used / 5 < 0.15
