"""What runs in the job: whatever the trainer does, each run ends with a result or a reason."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.advance import advance
from pipeline.claim import current_folder, grant
from pipeline.plan import pack, plan_phase
from pipeline.results import TaskFile, read_failure, read_result
from pipeline.site import Site, open_site
from pipeline.snapshot import Snapshot, take
from pipeline.state import RunStatus
from pipeline.task_files import task_file
from pipeline.workspace import Workspace
from tests.pipeline.conftest import edit, wait_for

RUN = "import sys; from pipeline.worker import run_task; run_task(sys.argv[1], sys.argv[2])"

OUTCOME = "yield self._outcome(run, first, total)"
"""The line of the toy trainer that says how a run ended."""


def written_task(site: Site, snapshot: Snapshot) -> Path:
    """The task file of the pilot's one stack, as a submission writes it."""
    (task,) = pack(site.study, plan_phase(site.study, "pilot"), 10)
    path = site.workspace.root / "task.json"
    content = task_file(site, "pilot", "t0k3n", 0, task, snapshot).model_copy(
        update={"backend": "slurm"}
    )
    path.write_text(content.model_dump_json())
    return path


def started(site: Site) -> "subprocess.Popen[str]":
    """The worker as a job starts it."""
    snapshot = take(site.workspace, "toy:ToyTrainer")
    code = os.pathsep.join(map(str, snapshot.python_path))
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-c",
            RUN,
            str(site.workspace.root),
            str(written_task(site, snapshot)),
        ],
        env={
            **os.environ,
            "PYTHONPATH": code,
            "SLURM_ARRAY_JOB_ID": "77",
            "SLURM_ARRAY_TASK_ID": "3",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def folders(workspace: Workspace) -> dict[str, Path]:
    """Run folders of the pilot by condition."""
    return {p.name.partition("-")[0]: p for p in (workspace.runs_dir / "pilot").iterdir()}


def attempt_in(run_dir: Path) -> Path:
    """The folder of the current attempt at a run."""
    folder = current_folder(run_dir)
    assert folder is not None
    return folder


def reason(folder: Path) -> str | None:
    """Why a run has no result."""
    failure = read_failure(attempt_in(folder) / "failure.json")
    return failure.message if failure else None


def patched(workspace: Workspace, old: str, new: str) -> Site:
    """The site of a workspace whose trainer misbehaves."""
    path = workspace.root / "toy.py"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return open_site(workspace, None)


def recorded(diagnostics: str, artefacts: str) -> str:
    """The line of a trainer that records more than metrics."""
    more = f"diagnostics={diagnostics}, artefacts={artefacts}"
    return (
        f"outcome = self._outcome(run, first, total); vars(outcome).update({more}); yield outcome"
    )


def test_results_carry_all_that_a_report_traces(site: Site) -> None:
    """Run, config, attempt, code, versions, data and seconds stand in each result."""
    worker = started(site)
    _, errors = worker.communicate(timeout=60)

    assert worker.returncode == 0, errors
    for condition, folder in folders(site.workspace).items():
        assert (folder / "metrics.jsonl").samefile(attempt_in(folder) / "metrics.jsonl")
        found = read_result(folder / "result.json")
        assert found is not None
        result = found[0]
        assert (result.condition, result.seed) == (condition, 1000)
        assert (result.attempt.job_id, result.attempt.array_index) == ("77", 3)
        assert result.attempt.token == "t0k3n"
        assert result.versions["python"]
        assert len(result.code.source_digest) == 64
        assert result.device_s == pytest.approx(result.wall_s / 2)
        assert result.data_digests
        assert result.diagnostics == {}
        assert result.artefacts == {}
        lines = (attempt_in(folder) / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (OUTCOME, 'yield ToyOutcome("other")', "unknown or second outcome"),
        (OUTCOME, "raise SystemExit(3)", "SystemExit: 3"),
        (OUTCOME, "yield from ()", "without an outcome"),
        ('metrics={"loss": value, "other_loss": value}', "metrics={}", "gave no loss"),
        ("ToyMeasurement(1.0 +", "ToyMeasurement(float('nan') +", "finite number"),
        ("standard_error: float = 0.001", "standard_error: float = -1.0", "greater than"),
        (OUTCOME, recorded("{}", '{"features": "gone"}'), "No such file"),
        (OUTCOME, recorded("{}", '{"task": "../../../../../toy.py"}'), "pattern"),
        (OUTCOME, recorded('{"gap": 1e999}', "{}"), "finite number"),
    ],
)
def test_a_trainer_that_misbehaves_fails_its_runs_with_a_reason(
    workspace: Workspace, old: str, new: str, words: str
) -> None:
    """No misbehaviour leaves a run without a word, or with a result."""
    site = patched(workspace, old, new)
    worker = started(site)
    worker.communicate(timeout=60)

    assert worker.returncode != 0
    for folder in folders(workspace).values():
        assert words in (reason(folder) or "")
        assert not (folder / "result.json").exists()


def test_what_a_trainer_records_stands_in_the_result(workspace: Workspace) -> None:
    """Its numbers by name, its files by their digests."""
    write = '(run.directory / "x.npz").write_bytes(b"numbers"); '
    recording = recorded('{"gap": 0.5}', '{"features": "x.npz"}')
    worker = started(patched(workspace, OUTCOME, write + recording))
    _, errors = worker.communicate(timeout=60)

    assert worker.returncode == 0, errors
    for folder in folders(workspace).values():
        found = read_result(folder / "result.json")
        assert found is not None
        assert found[0].diagnostics == {"gap": 0.5}
        (what,) = found[0].artefacts
        artefact = found[0].artefacts[what]
        assert (what, artefact.file) == ("features", "x.npz")
        assert artefact.sha256 == hashlib.sha256(b"numbers").hexdigest()


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_signal_asks_the_trainer_to_stop(workspace: Workspace, number: signal.Signals) -> None:
    """Before its time is up a task is told, returns, and says that it was stopped."""
    edit(workspace, "steps = 3", "steps = 1000\nstep_s = 0.05")
    site = open_site(workspace, None)
    worker = started(site)
    progress = site.workspace.runs_dir / "pilot"
    deadline = time.monotonic() + 60
    while not list(progress.glob("*/attempts/*/metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    worker.send_signal(number)
    _, errors = worker.communicate(timeout=60)

    assert worker.returncode != 0
    assert "asked to stop" in errors
    assert all("stopped before" in (reason(f) or "") for f in folders(workspace).values())


def test_a_task_file_of_another_shape_is_refused(site: Site) -> None:
    """A worker trains only what it understands to the last key."""
    path = written_task(site, take(site.workspace, "toy:ToyTrainer"))
    data = json.loads(path.read_text())
    with pytest.raises(ValueError, match="unknown"):
        TaskFile.model_validate_json(json.dumps({**data, "unknown": 1}))


def test_a_result_of_an_earlier_attempt_does_not_count(site: Site) -> None:
    """Only the current attempt's token makes a run done."""
    worker = started(site)
    worker.communicate(timeout=60)

    step = advance(site)

    assert RunStatus.DONE not in {run.status for run in step.state.runs.values()}


def held(site: Site) -> "subprocess.Popen[str]":
    """A worker that has taken the first step of its first run, and waits there."""
    (site.workspace.root / "hold").touch()
    first = folders_of(site)["baseline"]
    before = set(first.glob("attempts/*"))
    worker = started(site)
    wait_for(lambda: (first / "attempt.json").exists() and attempt_in(first) not in before)
    metrics = attempt_in(first) / "metrics.jsonl"
    wait_for(lambda: metrics.exists() and metrics.read_text())
    return worker


def folders_of(site: Site) -> dict[str, Path]:
    """Run folders of the pilot by condition, before there are any."""
    specs = plan_phase(site.study, "pilot")
    return {spec.condition: site.workspace.run_dir(spec.key) for spec in specs}


def test_an_attempt_whose_runs_were_submitted_again_writes_nothing_more(site: Site) -> None:
    """No report, no result, no failure: what lies in the folders is the next attempt's."""
    worker = held(site)
    first = folders_of(site)["baseline"]
    metrics = attempt_in(first) / "metrics.jsonl"
    for folder in folders_of(site).values():
        grant(folder, "an0ther")
    (site.workspace.root / "hold").unlink()

    _, errors = worker.communicate(timeout=60)

    assert worker.returncode == 0
    assert "superseded" in errors
    assert len(metrics.read_text().splitlines()) == 1
    written = {path.name for path in site.workspace.runs_dir.rglob("*.json")}
    assert not {"result.json", "failure.json"} & written
    late = started(site)  # as when Slurm queues a job again that it had called lost
    assert "submitted again as an0ther" in late.communicate(timeout=60)[1]
    assert not list(first.glob("result.json"))


def test_of_two_starts_of_one_task_the_last_one_writes(site: Site) -> None:
    """Slurm started it anew on another node, and the old one goes on: one result, of the new."""
    old = held(site)
    granted = {f: (f / "attempt.json").read_bytes() for f in folders_of(site).values()}
    new = started(site)
    wait_for(lambda: all((f / "attempt.json").read_bytes() != c for f, c in granted.items()))
    (site.workspace.root / "hold").unlink()

    outputs = [worker.communicate(timeout=60)[1] for worker in (old, new)]

    assert (old.returncode, new.returncode) == (0, 0)
    assert ["superseded" in output for output in outputs] == [True, False]
    assert all((folder / "result.json").exists() for folder in folders_of(site).values())
