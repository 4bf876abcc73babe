"""submitit on the fake cluster: what the product stands on."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import submitit
from submitit.core.utils import FailedJobError

from tests.fakeslurm.control import ROOT, FakeSlurm


def square(x: int) -> tuple[int, str]:
    """What the tasks compute, and where they think they are."""
    return x * x, os.environ["SLURM_ARRAY_TASK_ID"]


class Patient:
    """Waits to be preempted, and returns at once when it is started again."""

    def __init__(self, resumed: bool = False) -> None:
        self.resumed = resumed

    def __call__(self, flag: str) -> str:
        """Tells the test that it runs, then waits."""
        Path(flag).touch()
        while not self.resumed:
            time.sleep(0.05)
        return "resumed"

    def checkpoint(self, flag: str) -> Any:
        """What submitit calls on USR2."""
        return submitit.helpers.DelayedSubmission(Patient(resumed=True), flag)


@pytest.fixture
def executor(fake_slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> submitit.SlurmExecutor:
    """A SlurmExecutor as the product makes it."""
    tmp_path = fake_slurm.directory.parent
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return submitit.SlurmExecutor(tmp_path / "logs")


def _update(executor: submitit.SlurmExecutor, **parameters: Any) -> None:
    executor.update_parameters(
        **{"time": 30, "additional_parameters": {"comment": "token"}, **parameters}
    )


def test_map_array_returns_results(executor: submitit.SlurmExecutor, fake_slurm: FakeSlurm) -> None:
    """Three tasks go through sbatch, srun and submitit's worker, and their results come back."""
    fake_slurm.configure(slots=3)
    _update(executor, gpus_per_node=1, array_parallelism=3, job_name="squares")
    jobs = executor.map_array(square, [2, 3, 4])
    assert [job.job_id for job in jobs] == ["1_0", "1_1", "1_2"]
    fake_slurm.wait(1, "COMPLETED", timeout=20)
    assert [job.result() for job in jobs] == [(4, "0"), (9, "1"), (16, "2")]
    assert [job.watcher.get_state(job.job_id, mode="force") for job in jobs] == ["COMPLETED"] * 3
    assert fake_slurm.job("1_0").spec.comment == "token"


def test_preempted_task_checkpoints_and_resumes(
    executor: submitit.SlurmExecutor, fake_slurm: FakeSlurm, tmp_path: Path
) -> None:
    """USR2 makes submitit's worker checkpoint and requeue itself through the fake scontrol."""
    _update(executor)
    job: Any = executor.submit(Patient(), str(tmp_path / "up"))
    end = time.monotonic() + 20
    while not (tmp_path / "up").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    job._interrupt()
    fake_slurm.wait(job.job_id, "COMPLETED", timeout=20)
    assert job.result() == "resumed"
    assert fake_slurm.job(job.job_id).restart == 1
    assert "requeue" in fake_slurm.calls("scontrol")[0].argv


def test_a_refusal_reaches_the_caller_word_for_word(
    executor: submitit.SlurmExecutor, fake_slurm: FakeSlurm
) -> None:
    """submitit raises FailedJobError with sbatch's stderr, the same class as for a failed task."""
    fake_slurm.configure(max_submit=2)
    _update(executor)
    with pytest.raises(FailedJobError, match="QOSMaxSubmitJobPerUserLimit"):
        executor.map_array(square, [1, 2, 3])
