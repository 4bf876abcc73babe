"""`pipeline doctor --deep`: a job that really runs, its end in every way, and what it reports."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.doctor import deep
from pipeline.doctor.deep import Question, go_deep, judge_report
from pipeline.doctor.finding import Finding, Level
from pipeline.doctor.node_report import ANSWER, NodeReport, read_report
from pipeline.doctor.torch_probe import TorchFacts, ask_torch
from pipeline.errors import PipelineError
from pipeline.profiles import SlurmProfile
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import Cli
from tests.pipeline.doctor.conftest import lines


@pytest.mark.slow
def test_deep_reports_from_a_node(workspace: Workspace, cli: Cli, cluster: FakeSlurm) -> None:
    """A job with the profile's resources reads and writes the workspace and tries torch."""
    done = cli("doctor", "--deep")

    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(done)
    assert "read and wrote the workspace" in found["shared"]
    assert found["node clock"].startswith("ok")
    assert "no GPU asked for" in found["node torch"]
    (job,) = cluster.jobs()
    assert (job.spec.partition, job.spec.cpus, job.spec.memory_mb) == ("main", 1, 1024)
    assert job.spec.minutes <= 5
    assert "submitted job 1" in done.stderr
    assert not list(workspace.logs_dir.glob("doctor-*"))


def test_a_job_that_stays_pending_is_cancelled_when_the_wait_is_over(
    workspace: Workspace, profile: SlurmProfile, cluster: FakeSlurm
) -> None:
    """Waiting is bounded; why the job did not start is said; nothing stays behind."""
    cluster.configure(slots=0)
    told: list[str] = []

    (found,) = go_deep(workspace, "gpu", profile, "toy:ToyTrainer", 1.0, told.append)

    assert found.level is Level.WARNING
    assert "job 1 was pending (" in found.text
    assert "cancelled job 1" in told
    assert cluster.job(1).state == "CANCELLED"
    assert not list(workspace.logs_dir.glob("doctor-*"))


DOCTOR = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test runner may have it ignored
sys.argv = ["pipeline", "doctor", "--deep"]
from pipeline.cli import main
main()
"""


def test_ctrl_c_cancels_the_job(workspace: Workspace, cluster: FakeSlurm) -> None:
    """Whoever stops the doctor leaves no job behind."""
    cluster.configure(slots=0)
    doctor = subprocess.Popen(
        [sys.executable, "-c", DOCTOR],
        cwd=workspace.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not cluster.calls("squeue"):
        assert time.monotonic() < end
        time.sleep(0.05)

    doctor.send_signal(signal.SIGINT)
    _, said = doctor.communicate(timeout=60)

    assert doctor.returncode == 130
    assert "cancelled job 1" in said
    assert "Traceback" not in said
    assert cluster.job(1).state == "CANCELLED"


def test_a_job_that_ends_without_an_answer_shows_the_end_of_its_log(
    workspace: Workspace, profile: SlurmProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setup line that fails is found here, not by the first real task."""
    monkeypatch.setattr(deep, "_ANSWER_LAG_S", 0.5)
    broken = profile.model_copy(update={"setup": ["echo no module python", "exit 3"]})

    (found,) = go_deep(workspace, "gpu", broken, None, 60.0, lambda _: None)

    assert found.level is Level.PROBLEM
    assert "ended without an answer; its log ends: no module python" in found.text
    assert list(workspace.logs_dir.glob("doctor-*/*_log.out"))


@pytest.mark.parametrize(
    ("settings", "level", "words"),
    [
        ({"reject": "Invalid qos specification", "reject_next": 1}, "problem", "Invalid qos"),
        ({"max_submit": 0}, "warning", "QOSMaxSubmitJobPerUserLimit"),
        ({"sbatch_ghosts": 1}, "problem", "Socket timed out"),
    ],
)
def test_a_refused_probe_is_a_finding(
    workspace: Workspace,
    profile: SlurmProfile,
    cluster: FakeSlurm,
    settings: dict[str, object],
    level: str,
    words: str,
) -> None:
    """sbatch's words are passed on; a limit is no mistake."""
    cluster.configure(slots=0, **settings)

    (found,) = go_deep(workspace, "gpu", profile, None, 1.0, lambda _: None)

    assert found.level == level
    assert words in found.text
    assert found.unreachable == (words == "Socket timed out")


QUESTION = Question("right", Path("/ws/slurm/logs/doctor-right"), asked_at=1000.0)
REPORT = NodeReport(
    nonce="right", host="node7", time=1005.0, python=sys.version.split()[0],
    executable="/venv/bin/python", cores=2, free_memory_gb=15.5, trainer_error=None,
    torch=TorchFacts("2.6", "12.4", ("NVIDIA A100-SXM4-80GB",)),
)  # fmt: skip
GPU = SlurmProfile(backend="slurm", gres="gpu:a100:1")


def judged(report: NodeReport, monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    """Findings by check, on a machine whose torch is 2.6."""
    here = {"python": sys.version.split()[0], "torch": "2.6"}
    monkeypatch.setattr(deep, "versions", lambda: here)
    findings = judge_report(report, QUESTION, GPU, now=1010.0, lag_s=None)
    return {finding.check: finding for finding in findings}


def test_a_node_as_it_should_be_is_all_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    """The word came back, the clocks agree, torch computed on the GPU."""
    assert {f.level for f in judged(REPORT, monkeypatch).values()} == {Level.OK}


@pytest.mark.parametrize(
    ("changes", "check", "level", "words"),
    [
        ({"nonce": "stale"}, "shared", "problem", "another content"),
        ({"time": 900.0}, "node clock", "warning", "100 s behind"),
        ({"time": 1100.0}, "node clock", "warning", "90 s ahead"),
        ({"python": "3.9.1"}, "node python", "warning", "3.9.1"),
        ({"trainer_error": "cannot import x"}, "node trainer", "problem", "cannot import x"),
        ({"torch": TorchFacts(error="No module")}, "node torch", "problem", "No module"),
        ({"torch": TorchFacts("2.6", None)}, "node torch", "problem", "without CUDA"),
        ({"torch": TorchFacts("2.6", "12.4", (), "driver is too old")},
         "node torch", "problem", "driver is too old"),
        ({"torch": TorchFacts("2.1+cu118", "11.8", ("A100",))},
         "node torch", "warning", "here torch 2.6"),
    ],
)  # fmt: skip
def test_what_is_wrong_on_a_node_has_its_line(
    changes: dict[str, object], check: str, level: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One thing changed, one line changed."""
    found = judged(REPORT.model_copy(update=changes), monkeypatch)

    assert found[check].level == level
    assert words in found[check].text
    assert [name for name, f in found.items() if f.level is not Level.OK] == [check]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"nonce": 3}', b"\xff\xfe"])
def test_an_answer_that_no_node_of_ours_wrote_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file in that place is input like any other."""
    assert read_report(tmp_path) is None
    (tmp_path / ANSWER).write_bytes(content)

    with pytest.raises(PipelineError, match="cannot be read"):
        read_report(tmp_path)


def test_an_answer_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """The file holds all of the report."""
    (tmp_path / ANSWER).write_text(REPORT.model_dump_json(), encoding="utf-8")

    assert read_report(tmp_path) == REPORT


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo noise; echo '{}'", None),
        ("echo '[1]'", None),
        ("true", "printed nothing"),
        ("echo broken; false", "exit code 1"),
        ("echo why >&2; false", "why"),
        ("sleep 60", "took longer than 1 s"),
    ],
)
def test_a_python_whose_torch_misbehaves_is_an_answer(script: str, words: str | None) -> None:
    """Silence, noise, a crash and an import that never ends are facts, not exceptions."""
    facts = ask_torch(timeout_s=1.0, command=["bash", "-c", f"exec 2>&2; {script}"])

    assert facts.version is None
    assert words is None if facts.error is None else words and words in facts.error
