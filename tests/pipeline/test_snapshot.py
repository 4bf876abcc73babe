"""The code a job runs is the code that was submitted, whatever is edited meanwhile."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import code_tree, snapshot
from pipeline.advance import advance
from pipeline.errors import PipelineError
from pipeline.results import RunResult
from pipeline.site import open_site
from pipeline.snapshot import prune, take
from pipeline.sources import sources_of
from pipeline.state import State
from pipeline.workspace import Workspace
from tests.fakeslurm.control import FakeSlurm
from tests.pipeline.conftest import Cli, edit, make_toy, only_pilot, state_of

ROOT = Path(__file__).parents[2]
TRAINER = "toy:ToyTrainer"


def git(folder: Path, *arguments: str) -> None:
    """Run git as somebody, whatever the machine is set to."""
    someone = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=m"]
    subprocess.run(["git", *someone, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(workspace: Workspace) -> Workspace:
    """The toy workspace as a repository with one commit; its trainer is imported."""
    (workspace.root / ".gitignore").write_text(".state/\nruns/\nslurm/logs/\ndata/\n__pycache__/\n")
    (workspace.root / "data").mkdir()
    (workspace.root / "data" / "large.bin").write_bytes(b"0" * 100)
    git(workspace.root, "init")
    git(workspace.root, "add", ".")
    git(workspace.root, "commit", "-m", "first")
    open_site(workspace, None)
    return workspace


def append(path: Path, text: str) -> None:
    """Add a line to a file."""
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def results(workspace: Workspace, phase: str) -> list[RunResult]:
    """All results of a phase."""
    found = sorted(workspace.runs_dir.glob(f"{phase}/*/result.json"))
    return [RunResult.model_validate_json(path.read_bytes()) for path in found]


def release(workspace: Workspace, cluster: FakeSlurm) -> None:
    """Let what is queued run to its end."""
    cluster.configure(slots=2)
    for job in state_of(workspace).jobs.values():
        assert job.job_id is not None
        cluster.wait(job.job_id, timeout=60)


def test_edits_while_queued_change_nothing(workspace: Workspace, cluster: FakeSlurm) -> None:
    """The queued job trains what was submitted, and its results name that code."""
    (workspace.root / "helper.py").write_text("FLOOR = 1.0\n")
    toy = workspace.root / "toy.py"
    text = toy.read_text().replace("ToyMeasurement(1.0 +", "ToyMeasurement(helper.FLOOR +")
    toy.write_text(text.replace("import hashlib", "import hashlib\nimport helper", 1))
    cluster.configure(slots=0)
    site = open_site(workspace, None)
    state = advance(site).state
    submitted = take(workspace, TRAINER)

    (workspace.root / "helper.py").write_text("FLOOR = 77.0\n")
    toy.write_text("raise SystemExit('this is not what was submitted')\n")
    release(workspace, cluster)

    found = results(workspace, "pilot")
    assert len(found) == 2
    for result in found:
        assert result.metrics["loss"].value < 2
        assert result.code == submitted.code
    assert {job.code for job in state.jobs.values()} == {submitted.digest}


def test_edits_of_the_trainer_while_a_local_task_waits_change_nothing(
    workspace: Workspace, cli: Cli
) -> None:
    """On this machine too a task runs from the snapshot, not from the folder beside study.toml."""
    edit(workspace, "steps = 3", "steps = 3\nstep_s = 0.3")
    cli("advance")
    append(workspace.root / "toy.py", "\nraise SystemExit('edited')\n")
    (job,) = state_of(workspace).jobs.values()
    deadline = time.monotonic() + 60
    while len(results(workspace, "pilot")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert {result.code.snapshot for result in results(workspace, "pilot")} == {job.code}


def test_the_pipeline_itself_runs_from_the_snapshot(
    workspace: Workspace, cluster: FakeSlurm, tmp_path: Path
) -> None:
    """Although this checkout is installed and on PYTHONPATH, a job imports the copy."""
    script = (
        "import pipeline.worker, pathlib, sys\n"
        f"pathlib.Path({str(tmp_path / 'where')!r}).write_text(pipeline.worker.__file__)\n"
    )
    append(workspace.root / "toy.py", script)
    cluster.configure(slots=0)
    advance(open_site(workspace, None))
    release(workspace, cluster)

    (job,) = state_of(workspace).jobs.values()
    copy = workspace.code_dir / str(job.code) / "pipeline" / "pipeline" / "worker.py"
    assert (tmp_path / "where").read_text() == str(copy)


def test_a_job_that_would_run_other_code_fails_and_says_so(
    workspace: Workspace, cluster: FakeSlurm
) -> None:
    """A setup line that puts another folder first, or a snapshot that was edited, is noticed."""
    cluster.configure(slots=0)
    state = advance(open_site(workspace, None)).state
    (job,) = state.jobs.values()
    copy = workspace.code_dir / str(job.code) / "code" / "toy.py"
    copy.chmod(0o644)
    append(copy, "\n# edited\n")
    release(workspace, cluster)

    step = advance(open_site(workspace, None))

    reasons = {run.reason for run in step.state.runs_of("pilot").values()}
    assert all("was changed after the submission" in (reason or "") for reason in reasons)


def test_equal_code_shares_one_snapshot_and_writes_nothing(repository: Workspace) -> None:
    """What is unchanged is not copied again."""
    first = take(repository, TRAINER)
    before = {path: path.lstat().st_mtime_ns for path in repository.code_dir.rglob("*")}

    again = take(repository, TRAINER)

    assert again == first
    assert {path: path.lstat().st_mtime_ns for path in repository.code_dir.rglob("*")} == before


def test_a_snapshot_holds_what_git_tracks_and_new_python_files(repository: Workspace) -> None:
    """Tracked files as they are now, new modules; ignored data are linked, outputs left out."""
    (repository.root / "fresh.py").write_text("x = 1\n")
    (repository.root / "notes.txt").write_text("not code\n")
    (repository.root / "figures").mkdir()
    (repository.root / "figures" / "a.svg").write_text("<svg/>")
    git(repository.root, "add", "figures")

    code = repository.code_dir / take(repository, TRAINER).digest / "code"

    copies = {p.name for p in code.iterdir() if p.is_file() and not p.is_symlink()}
    assert copies == {".gitignore", "toy.py", "study.toml", "fresh.py"}
    assert (code / "data" / "large.bin").read_bytes() == b"0" * 100
    assert (code / "data").is_symlink()
    assert (code / "figures").is_symlink()
    assert not (code / ".state").exists()


def test_large_files_are_linked_not_copied(
    repository: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data that were committed are found where they are looked for, and not dragged along."""
    monkeypatch.setattr(code_tree, "_LARGE_BYTES", 50)
    (repository.root / "weights.bin").write_bytes(b"1" * 51)
    git(repository.root, "add", "weights.bin")

    code = repository.code_dir / take(repository, TRAINER).digest / "code"

    assert (code / "weights.bin").is_symlink()
    assert (code / "weights.bin").read_bytes() == b"1" * 51
    assert not (code / "toy.py").is_symlink()


@pytest.mark.parametrize(("name", "limit"), [("_MAX_BYTES", 100), ("_MAX_FILES", 1)])
def test_too_much_code_is_refused_in_words(
    repository: Workspace, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    """A repository full of data ends with what to do about it, and nothing half-written."""
    monkeypatch.setattr(snapshot, name, limit)

    with pytest.raises(PipelineError, match="keep data out of git"):
        take(repository, TRAINER)
    assert not repository.code_dir.exists()


def test_commit_dirt_and_diff_are_recorded(repository: Workspace) -> None:
    """Clean: the commit says all. Dirty: the difference is kept, new files included."""
    clean = take(repository, TRAINER)
    assert (clean.code.dirty, len(clean.code.commit or "")) == (False, 40)
    assert not (repository.code_dir / f"{clean.digest}.diff").exists()

    append(repository.root / "toy.py", "\nEDITED = 1\n")
    (repository.root / "fresh.py").write_text("NEW = 1")
    dirty = take(repository, TRAINER)

    assert dirty.code.dirty
    assert dirty.code.commit == clean.code.commit
    assert dirty.code.source_digest != clean.code.source_digest
    patch = (repository.code_dir / f"{dirty.digest}.diff").read_text()
    assert "+EDITED = 1" in patch
    assert "+NEW = 1" in patch
    origin = json.loads((repository.code_dir / f"{dirty.digest}.json").read_text())
    assert origin["commit"] == clean.code.commit


def test_a_change_beside_the_trainer_is_no_change_of_the_trainer(repository: Workspace) -> None:
    """A comparison is of one code although study.toml or a script was edited between its runs."""
    before = take(repository, TRAINER)
    append(repository.root / "study.toml", "\n# a note\n")
    (repository.root / "plot.py").write_text("print(1)\n")

    after = take(repository, TRAINER)

    assert after.digest != before.digest
    assert after.code.source_digest == before.code.source_digest
    assert after.code.dirty is False


def test_what_the_trainer_imports_from_beside_it_belongs_to_it(repository: Workspace) -> None:
    """A helper module counts as the trainer's code as soon as something of it imports it."""
    package = repository.root / "tools"
    package.mkdir()
    (package / "__init__.py").write_text("from . import inner\n")
    (package / "inner.py").write_text("import deeper\n")
    (repository.root / "deeper.py").write_text("X = 1\n")
    (repository.root / "unused.py").write_text("X = 1\n")
    append(repository.root / "toy.py", "\nfrom tools import inner, os as os2\n")

    sources = sources_of(TRAINER)

    assert sources.names == ("deeper", "tools", "toy")
    assert [path.name for path in sources.files()] == [
        "deeper.py", "__init__.py", "inner.py", "toy.py"
    ]  # fmt: skip


def test_prune_keeps_what_live_jobs_run_from(workspace: Workspace, cluster: FakeSlurm) -> None:
    """A copy goes when its last job has ended; the record of its origin stays."""
    cluster.configure(slots=0)
    state = advance(open_site(workspace, None)).state
    (job,) = state.jobs.values()
    append(workspace.root / "toy.py", "\n# newer\n")
    newer = take(workspace, TRAINER)

    prune(workspace, state, newer)
    assert {p.name for p in workspace.code_dir.iterdir() if p.is_dir()} == {
        job.code, newer.digest
    }  # fmt: skip

    nothing = State(study="toy", study_digest="", profile="cluster")
    prune(workspace, nothing, newer)
    assert {p.name for p in workspace.code_dir.iterdir() if p.is_dir()} == {newer.digest}
    assert (workspace.code_dir / f"{job.code}.json").exists()


def test_runs_of_one_phase_from_two_codes_are_told_at_submission_and_in_the_report(
    workspace: Workspace, cluster: FakeSlurm, cli: Cli
) -> None:
    """Held-back runs that go in with an edited trainer make a deviation, named in words."""
    only_pilot(workspace)
    edit(workspace, "seeds = [1000]", 'seeds = "1000-1001"')
    cluster.configure(max_submit=1)
    cli("advance")
    append(workspace.root / "toy.py", "\n# edited between two submissions\n")
    cluster.wait("1", timeout=60)
    cluster.configure(max_submit=10)

    told = cli("advance", "--watch")

    assert "the trainer's code was changed since earlier runs of this phase" in told.stdout
    assert "come from 2 versions of the code" in workspace.report_file.read_text()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace whose trainer lies in a package that pip installed, beside another one."""
    place = make_toy(tmp_path / "ws")
    site = tmp_path / "lib" / "site-packages"
    (site / "toypackage").mkdir(parents=True)
    (place.root / "toy.py").rename(site / "toypackage" / "trainer.py")
    (site / "toypackage" / "__init__.py").write_text("import other\n")
    (site / "toypackage" / "table.json").write_text("{}")
    (site / "other.py").write_text("")
    edit(place, "toy:ToyTrainer", "toypackage.trainer:ToyTrainer")
    monkeypatch.syspath_prepend(site)
    yield place
    for name in ("toypackage", "toypackage.trainer", "other"):
        sys.modules.pop(name, None)


def test_of_an_installed_trainer_the_package_alone_is_copied(installed: Workspace) -> None:
    """What else is installed is the environment, whose versions are recorded."""
    open_site(installed, None)

    taken = take(installed, "toypackage.trainer:ToyTrainer")

    code = installed.code_dir / taken.digest / "code"
    assert sorted(p.name for p in code.iterdir()) == ["toypackage"]
    assert sorted(p.name for p in (code / "toypackage").iterdir()) == [
        "__init__.py", "table.json", "trainer.py"
    ]  # fmt: skip
    assert (taken.code.commit, taken.code.dirty) == (None, None)


def test_this_repository_is_one_tree_with_trainer_and_pipeline(tmp_path: Path) -> None:
    """From a checkout, `training` and `pipeline` come from the same copy of the repository."""
    __import__("training.trainer")
    workspace = Workspace(tmp_path)

    taken = take(workspace, "training.trainer:IREDTrainer")

    code = workspace.code_dir / taken.digest / "code"
    assert taken.python_path == (code,)
    assert (code / "pipeline" / "worker.py").is_file()
    assert (code / "training" / "trainer.py").is_file()
    assert taken.sources.names == ("training",)
    assert not (workspace.code_dir / taken.digest / "pipeline").exists()
