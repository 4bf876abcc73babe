"""Valid files of every kind, from a small study that was really run, and what clusters print."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipeline.results import Attempt, FailureFile
from pipeline.workspace import Workspace
from tests.inprocess import Cluster, installed, make_workspace, pipeline
from tests.pipeline.recorded import Planted, arrays_of, file_of, labels_of

TEMPLATE = "templates/RESULTS.md.j2"

SQUEUE = (
    "100|0|RUNNING|n1|1:02|toy-pilot-t0k3n|None\n100|1|PENDING||0:00|toy-pilot-t0k3n|Priority\n"
    "101|N/A|CONFIGURING|n2|1-02:03:04|toy-multiseed-abc|BeginTime\n"
)
SACCT = (
    "100_0|COMPLETED|0:0|62|n1|billing=2,cpu=1,gres/gpu:a100=1,gres/gpu=1,mem=1G|toy-pilot-t0k3n\n"
    "100_0.batch|COMPLETED|0:0|62|n1|cpu=1|batch\n100_0.0|OUT_OF_MEMORY|0:125|60|n1|cpu=1|python\n"
    "100_[1-3%2]|CANCELLED by 1000|0:0|0|None assigned||toy-pilot-t0k3n\n"
)
SCONTROL = (
    "JobId=102 ArrayJobId=100 ArrayTaskId=0-3:2%2 JobName=toy-pilot-t0k3n UserId=a(1) "
    "JobState=COMPLETED Reason=None ExitCode=0:0 RunTime=00:01:02 NodeList=n1\n"
)
CONFIG = (
    "Configuration data as of 2026-01-23T10:00:00\nAccountingStorageEnforce = associations,limits\n"
    "MaxArraySize            = 1001\nSchedulerParameters     = max_array_tasks=500\n"
)
PARTITIONS = (
    "PartitionName=main AllowGroups=ALL AllowAccounts=a,b AllowQos=ALL Default=YES QoS=N/A "
    "MaxTime=1-00:00:00 MaxCPUsPerNode=UNLIMITED MaxMemPerNode=4096 State=UP\n"
)
NODES = (
    "main|idle*|4|8|16000|gpu:a100:2(S:0-1),nvme:1|a100,nvlink\nmain|down|1|8+|1K|(null)|(null)\n"
)
QOS = "normal|1-00:00:00|50||100\nhigh||||\n"
ASSOCIATIONS = "lab|root|me||normal,high|normal|10|20|1:00:00\nlab|root||||||||\n"
SBATCH = "sbatch: note: a word of the site\nSubmitted batch job 123\n"
MOUNTS = (
    "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n37 36 0:1 / / rw - nfs4 a rw\n"
)
LOG = (
    "Starting with JobEnvironment(job_id=1)\nstep 1\nTraceback (most recent call last):\n"
    "RuntimeError: CUDA out of memory\nslurmstepd: error: oom-kill event(s) in step 1.0\n"
)
TORCH = '{"version": "2.6", "cuda": "12.4", "devices": ["NVIDIA A100"], "error": null}'


@dataclass(frozen=True)
class Specimens:
    """A finished study, and a copy of one of each of its files."""

    workspace: Workspace
    run: str
    """Key of a run that is done."""

    @property
    def run_dir(self) -> Path:
        """Its folder."""
        return self.workspace.run_dir(self.run)

    def file(self, pattern: str) -> Path:
        """The first file of the workspace that a pattern names."""
        return sorted(self.workspace.root.glob(pattern))[0]


def collect(folder: Path) -> Specimens:
    """Run the toy study in this process, and add what it did not leave by itself."""
    workspace = make_workspace(folder)
    with installed(Cluster()) as cluster:
        for _ in range(3):
            assert pipeline("advance", "-w", str(folder)).code == 0
            cluster.run()
    run_dir = sorted(workspace.runs_dir.glob("multiseed/*"))[0]
    attempt = Attempt(token="t", task=0, job_id="1", array_index=None, node="n1")
    failure = FailureFile(
        run_id=run_dir.name, attempt=attempt, message="loss is nan", at=datetime.now(UTC)
    )
    (folder / "failure.json").write_text(failure.model_dump_json())
    (folder / "diagnostics.npz").write_bytes(file_of(arrays_of(Planted(), 1), labels_of(Planted())))
    (folder / "process.json").write_text(json.dumps({"pid": 4321}))
    return Specimens(workspace, f"multiseed/{run_dir.name}")
