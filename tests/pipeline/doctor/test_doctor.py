"""`pipeline doctor` as a user calls it: on this machine, and on a cluster whose jobs really run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.doctor import deep
from pipeline.doctor.deep import Question, go_deep, judge_report
from pipeline.doctor.files import look_at
from pipeline.doctor.finding import Finding, Level
from pipeline.doctor.node_report import ANSWER, NodeReport, read_report
from pipeline.doctor.torch_probe import TorchFacts, ask_torch
from pipeline.errors import PipelineError
from pipeline.lock import exclusive
from pipeline.profiles import SlurmProfile, load_profile
from pipeline.scheduler.survey import survey
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import Cli, edit

PROFILES = """
[profiles.cluster]
backend = "slurm"
partition = "main"
cpus_per_task = 1
mem_gb = 1
walltime_min = 30
max_submitted = 10
"""

Lines = Callable[["subprocess.CompletedProcess[str]"], dict[str, str]]


@pytest.fixture
def cluster(workspace: Workspace, fake_slurm: FakeSlurm) -> FakeSlurm:
    """A cluster beside a workspace with a profile for it."""
    path = workspace.root / "slurm" / "profiles.toml"
    path.parent.mkdir()
    path.write_text(PROFILES, encoding="utf-8")
    edit(workspace, 'name = "toy"', 'name = "toy"\nprofile = "cluster"')
    return fake_slurm


@pytest.fixture
def profile(workspace: Workspace, cluster: FakeSlurm) -> SlurmProfile:
    """The profile of the cluster."""
    del cluster
    found = load_profile(workspace.profiles_file(), "cluster")
    assert found.backend == "slurm"
    return found


def lines(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """The printed findings by what was looked at: "level  text"."""
    found = {}
    for line in done.stdout.splitlines()[:-1]:
        level, _, rest = line.partition("  ")
        check, _, text = rest.strip().partition("  ")
        found[check] = f"{level.strip()} {text.strip()}"
    return found


def level_of(done: "subprocess.CompletedProcess[str]", check: str) -> str:
    """Level of one line."""
    return lines(done)[check].partition(" ")[0]


@pytest.mark.slow
def test_a_workspace_on_this_machine_is_all_ok(workspace: Workspace, cli: Cli) -> None:
    """The local profile: study, trainer, state, disk, logs, cores, memory, torch."""
    done = cli("doctor")

    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(done)
    assert {"study", "trainer", "state", "python", "disk", "log folder", "torch"} <= set(found)
    assert "torch 2" in found["torch"]
    assert "0 problems" in done.stdout.splitlines()[-1]
    assert sorted(path.name for path in workspace.root.iterdir()) == ["study.toml", "toy.py"]


@pytest.mark.slow
def test_a_broken_workspace_has_a_line_for_everything_that_is_wrong(
    workspace: Workspace, cli: Cli
) -> None:
    """Study, state and torch's absence do not hide each other; the exit code is 2."""
    edit(workspace, "[hypotheses", "[hypothesis")
    workspace.state_dir.mkdir()
    (workspace.state_dir / "pipeline.json").write_text("{", encoding="utf-8")

    done = cli("doctor")

    assert done.returncode == 2
    assert 'did you mean "hypotheses"?' in lines(done)["study"]
    assert "pipeline.json" in lines(done)["state"]
    assert level_of(done, "disk") == "ok"
    assert "Traceback" not in done.stderr


def test_an_unknown_profile_names_the_nearest_and_the_rest_is_still_checked(
    cli: Cli, cluster: FakeSlurm
) -> None:
    """A typo in --profile is a line with exit code 2."""
    del cluster
    done = cli("doctor", "--profile", "clutser")

    assert done.returncode == 2
    assert 'did you mean "cluster"?' in lines(done)["profile"]
    assert level_of(done, "disk") == "ok"


def test_a_profile_that_fits_its_cluster_has_no_problem(cli: Cli, cluster: FakeSlurm) -> None:
    """Every subject of the cluster has its line; nothing is submitted."""
    done = cli("doctor")

    assert done.returncode == 0, done.stdout + done.stderr
    found = lines(done)
    for check in ("commands", "controller", "clock", "accounting", "partition", "account", "qos",
                  "nodes", "array", "walltime", "submitted"):  # fmt: skip
        assert found[check].startswith("ok"), check
    assert found["commands"] == "ok slurm-wlm 22.05.8, all clients present"
    assert found["array"] == "ok MaxArraySize is 1001: indices up to 1000 in one array"
    assert not cluster.jobs()
    assert not cluster.calls("sbatch")
    assert len(cluster.calls()) < 12


def test_what_is_wrong_with_a_profile_is_said_before_sbatch_refuses(
    workspace: Workspace, cli: Cli, cluster: FakeSlurm
) -> None:
    """Partition, gres, time and limits, as the cluster itself tells them."""
    cluster.configure(
        user_limits={"MaxSubmitJobs": "3"},
        partition_settings={"low": {"State": "DRAIN"}},
        clock_skew_s=120,
        drained=[1, 2, 3, 4],
    )
    path = workspace.root / "slurm" / "profiles.toml"
    text = PROFILES.replace('"main"', '["main", "low", "mian"]').replace("= 30", "= 90")
    path.write_text(text, encoding="utf-8")

    done = cli("doctor")

    assert done.returncode == 2
    assert "4 nodes of main would fit a task, but none is in service (drained)" in done.stdout
    assert 'there is no partition "mian" here; did you mean "main"?' in done.stdout
    assert "low takes no new jobs (state DRAIN)" in done.stdout
    assert "partition main allows 60 minutes -> set walltime_min = 60" in done.stdout
    assert "set max_submitted = 3 or less" in done.stdout
    assert level_of(done, "clock") == "warning"
    assert "3 problems to mend first" in done.stderr


def test_a_terminal_shows_colours_and_keeps_remedies_beside_their_findings(
    workspace: Workspace,
) -> None:
    """A level has its colour as in status; a long line goes on in its own column."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "doctor", "--profile", "nosuch"],
        cwd=workspace.root,
        env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "80"},  # a terminal, for rich
        capture_output=True,
        text=True,
        check=False,
    )

    assert "\x1b[32mok" in done.stdout
    assert "\x1b[1;31mproblem" in done.stdout
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", done.stdout)
    (start,) = [i for i, line in enumerate(plain.splitlines()) if line.startswith("problem")]
    assert plain.splitlines()[start + 1].startswith(" " * 20)


def test_json_has_the_same_findings(cli: Cli, cluster: FakeSlurm) -> None:
    """--json prints one object on stdout, with the same exit code."""
    cluster.configure(max_array_size=0)

    done = cli("doctor", "--json")

    assert done.returncode == 2
    data = json.loads(done.stdout)
    (array,) = [item for item in data["findings"] if item["check"] == "array"]
    assert array["level"] == "problem"
    assert array["remedy"]
    assert data["problems"] == 1


@pytest.mark.parametrize("fault", ["unreachable", "frozen"])
def test_a_silent_controller_is_a_problem_with_exit_4(
    cli: Cli, cluster: FakeSlurm, fault: str
) -> None:
    """The other checks are made all the same."""
    cluster.configure(**{fault: True})

    done = cli("doctor", "--deep")

    assert done.returncode == 4
    assert "DOWN" in lines(done)["controller"]
    assert level_of(done, "disk") == "ok"
    assert not cluster.calls("sbatch")


def test_without_slurm_a_slurm_profile_ends_with_exit_4(
    cli: Cli, cluster: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands that are missing are named."""
    del cluster
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))

    done = cli("doctor")

    assert done.returncode == 4
    assert "not on PATH: sbatch, squeue, srun, scancel, scontrol" in done.stdout


@pytest.mark.parametrize("state", ["disabled", "down"])
def test_without_accounting_the_rest_is_checked(cli: Cli, cluster: FakeSlurm, state: str) -> None:
    """Neither a cluster without slurmdbd nor a dead one stops the doctor."""
    cluster.configure(sacct=state)

    done = cli("doctor")

    assert done.returncode == 0, done.stdout
    assert level_of(done, "accounting") == "warning"
    assert level_of(done, "nodes") == "ok"


@pytest.mark.parametrize("client", ["scontrol", "sinfo", "sacctmgr"])
def test_a_client_that_hangs_is_cut_off(cluster: FakeSlurm, client: str) -> None:
    """Every call has a time limit; what is not known is missing, the rest is there."""
    cluster.configure(hang={client: 60})

    facts = survey(timeout_s=1.0)

    assert "gave no answer in 1 s" in facts.silent[client]
    assert facts.answers is (client != "scontrol")
    assert facts.partitions is None if client == "scontrol" else facts.partitions


def test_a_lock_that_is_held_names_its_holder(workspace: Workspace, cli: Cli) -> None:
    """The doctor does not wait for an advance that is at work."""
    with exclusive(workspace.lock_file):
        done = cli("doctor", "--profile", "nosuch")

    assert f"pid {os.getpid()}" in lines(done)["lock"]
    assert "lock" not in lines(cli("doctor", "--profile", "nosuch"))


def test_writing_shows_what_a_folder_can_do(workspace: Workspace) -> None:
    """Time, room, clock and locks are measured on a real file, and nothing stays behind."""
    facts = look_at(workspace, write_mb=1)

    assert facts.error is None
    assert facts.lock_error is None
    assert facts.log_error is None
    assert facts.free_mb is not None
    assert facts.free_mb > 0
    assert facts.clock_skew_s is not None
    assert abs(facts.clock_skew_s) < 1
    assert facts.file_system
    assert not workspace.logs_dir.exists()


def test_a_full_or_missing_file_system_is_an_error_in_words(tmp_path: Path) -> None:
    """What the file system refuses is told, not raised."""
    (tmp_path / "slurm").write_text("in the way of the folder of logs")

    blocked = look_at(Workspace(tmp_path), write_mb=1)
    missing = look_at(Workspace(tmp_path / "gone"), write_mb=1)

    assert blocked.log_error is not None
    assert "slurm/logs" in blocked.log_error
    assert missing.error == "No such file or directory"


# -- --deep ------------------------------------------------------------------------------------


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

    (found,) = go_deep(workspace, profile, "toy:ToyTrainer", 1.0, told.append)

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

    (found,) = go_deep(workspace, broken, None, 60.0, lambda _: None)

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

    (found,) = go_deep(workspace, profile, None, 1.0, lambda _: None)

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
